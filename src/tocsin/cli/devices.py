"""`tocsin devices`: register them by the million, read one or many, log out, delete."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final
from urllib.parse import quote

import typer

from tocsin.cli import show
from tocsin.cli.client import ApiKey, ApiUrl, connect, endpoint, once, run
from tocsin.cli.exits import Exit, Stop
from tocsin.terms import ids

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(no_args_is_help=True, help="The devices of your app.")

SHOWN: Final = 20
"""Refused lines that are written to the screen, at most."""

Id = Annotated[str, typer.Argument(help="Your name for the device.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _path(device: str) -> str:
    return f"/v1/devices/{quote(device, safe='')}"


@app.command()
def get(device: Id, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False) -> None:
    """Say what is known of a device."""
    found = run(once(api_url, api_key, "GET", _path(device)))
    show.result(found, lambda: show.facts(found))


@app.command("list")
def list_(
    user: Annotated[str | None, typer.Option(help="Only devices of this user.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only devices of this provider.")] = None,
    state: Annotated[str | None, typer.Option(help="Only active, dead, superseded or logged_out ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, at most.")] = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """List devices in the order in which they were first registered."""
    asked = {"user_id": user, "provider": provider, "state": state}
    query = {name: value for name, value in asked.items() if value is not None}
    found = run(_list(api_url, api_key, query, limit))
    columns = ["id", "device_id", "provider", "user_id", "state", "updated_at"]
    show.result({"data": found}, lambda: show.table(found, columns, empty="There are no such devices."))


async def _list(url: str | None, key: str | None, query: Mapping[str, str], limit: int) -> list[Any]:
    async with connect(endpoint(url, key)) as api:
        return await api.pages("/v1/devices", query=query, most=limit)


@app.command()
def delete(
    device: Id, yes: Yes = False, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False
) -> None:
    """Forget a device and all that is known of it."""
    if not yes:
        typer.confirm(f"Delete the device {device}?", abort=True, err=True)
    run(once(api_url, api_key, "DELETE", _path(device)))
    show.result({"id": device, "deleted": True}, lambda: show.line(f"{device}  deleted"))


@app.command()
def logout(device: Id, api_url: ApiUrl = None, api_key: ApiKey = None, json: show.Json = False) -> None:
    """Take the user from a device; until it registers again nothing is sent to it."""
    found = run(once(api_url, api_key, "POST", _path(device) + "/logout"))
    show.result(found, lambda: show.line(f"{found['id']}  {found['state']}"))


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="Lines of JSON, a device and its id on each; - reads stdin.")],
    import_id: Annotated[
        str | None, typer.Option("--import-id", "--resume", help="Go on with the import of this name, or begin it.")
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(help="Write the lines that are refused, and why, to this file.")
    ] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds for which the API may be away.")] = 300.0,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    json: show.Json = False,
) -> None:
    """Register devices from a stream of lines, however long; exit code 1 if lines were refused.

    Lines that are done are not done again: an import that was interrupted goes on with --import-id. Under --json every
    answer of the API is written as it comes.
    """
    name = import_id or ids.show(ids.IMPORT, ids.new())
    resuming = import_id is not None
    with _opened(file) as stream, _written(errors, append=resuming) as refusals:
        report = _Report(refusals)
        try:
            last = run(_import(api_url, api_key, name, stream, report, resuming=resuming, patience=patience))
        except KeyboardInterrupt:
            show.note(f"tocsin: interrupted; go on with --import-id {name}")
            raise
        except Stop as stop:
            if report.answered:
                show.note(f"tocsin: the import stopped; go on with --import-id {name}")
            raise stop from None
    if not show.wants_json():
        counts = f"{last['lines']:,} lines, {last['accepted']:,} accepted, {last['rejected']:,} refused"
        show.line(f"{last['import_id']}  {counts}")
    if last["rejected"]:
        raise typer.Exit(Exit.FAILED)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """The stream to read; raises Stop if there is none."""
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb", buffering=0)  # noqa: SIM115 (closed below; only the opening is to be caught)
    except OSError as error:
        raise Stop(Exit.USAGE, f"{file} cannot be read: {error.strerror}.") from None
    with stream:
        yield stream


@contextmanager
def _written(path: Path | None, *, append: bool) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("ab" if append else "wb")
    except OSError as error:
        raise Stop(Exit.USAGE, f"{path} cannot be written: {error.strerror}.") from None
    with file:
        yield file


class _Report:
    """What is said while an import runs: a bar and the first refusals for people, every answer for programs."""

    def __init__(self, refusals: BinaryIO | None) -> None:
        self._refusals = refusals
        self._shown = 0
        self.answered = False

    def __call__(self, answer: Mapping[str, Any]) -> None:
        self.answered = True
        if show.wants_json():
            show.json_line(answer)
        if "line" not in answer:
            return
        if self._refusals is not None:
            import orjson

            self._refusals.write(orjson.dumps(answer) + b"\n")
            self._refusals.flush()
        if not show.wants_json():
            self._show(answer)

    def _show(self, answer: Mapping[str, Any]) -> None:
        self._shown += 1
        error = answer["error"]
        if self._shown <= SHOWN:
            where = f" at {error['pointer']}" if error.get("pointer") else ""
            show.note(f"line {answer['line']}: {error['code']}{where}: {error['detail']}")
        elif self._shown == SHOWN + 1:
            show.note("more lines are refused; --errors FILE keeps them all")


async def _import(
    url: str | None,
    key: str | None,
    name: str,
    stream: BinaryIO,
    report: _Report,
    *,
    resuming: bool,
    patience: float,
) -> Mapping[str, Any]:
    from tocsin.cli.feeding import Feed
    from tocsin.cli.uploading import Uploader

    async with connect(endpoint(url, key)) as api:
        done = 0
        if resuming:
            try:
                done = (await api.call("GET", f"/v1/devices/imports/{name}"))["lines"]
            except Stop as stop:
                if stop.problem is None or stop.problem.get("code") != "not_found":
                    raise
        feed = Feed(stream.fileno(), skip=done)
        uploader = Uploader(api, name, feed, report, done=done, patience=patience)
        with _bar(stream) as bar:
            if bar is None:
                return await uploader.run()
            return await _beside(bar, uploader, feed)


@contextmanager
def _bar(stream: BinaryIO) -> "Iterator[Progress | None]":
    """A bar on stderr, if somebody looks."""
    console = show.console(errors=True)
    if show.wants_json() or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    size = Path(stream.name).stat().st_size if isinstance(stream.name, str) and Path(stream.name).is_file() else None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task("importing", total=size or None)
        yield bar


async def _beside(bar: "Progress", uploader: Any, feed: Any) -> Mapping[str, Any]:
    """Upload, and move the bar meanwhile."""
    import asyncio

    uploading = asyncio.ensure_future(uploader.run())
    task = bar.task_ids[0]
    try:
        while not uploading.done():
            await asyncio.wait({uploading}, timeout=0.25)
            tally = uploader.tally
            words = f"{tally.lines:,} lines done, {tally.rejected:,} refused"
            bar.update(task, completed=feed.octets, description=words)
    finally:
        uploading.cancel()
    last: Mapping[str, Any] = uploading.result()
    return last
