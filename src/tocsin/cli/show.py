"""What commands write: tables and sentences for people, one JSON value for programs.

Results go to stdout, everything else to stderr, so that a pipe carries results only. `--json` is the same option on
every command; NO_COLOR and a pipe turn colours off.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

_as_json: ContextVar[bool] = ContextVar("as_json", default=False)


def _choose(value: bool) -> bool:
    _as_json.set(value)
    return value


Json = Annotated[
    bool, typer.Option("--json", callback=_choose, help="Write one JSON value to stdout instead of words.")
]
"""The option `--json`; a command only has to take it."""


def wants_json() -> bool:
    """Whether this command was called with `--json`."""
    return _as_json.get()


def forget_json() -> None:
    """Back to words; `main` calls it before it reads the command line."""
    _as_json.set(False)


def console(*, errors: bool = False) -> "Console":
    """Rich's console on stdout, or on stderr with `errors`."""
    from rich.console import Console

    return Console(stderr=errors, highlight=False, soft_wrap=True)


def line(text: str = "") -> None:
    """One line of result on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line beside the result, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def json_line(value: Any) -> None:
    """One JSON value on one line of stdout."""
    line(json.dumps(value, ensure_ascii=False, default=str))


def result(value: Any, words: Callable[[], None]) -> None:
    """The result of a command: `value` under `--json`, else what `words` writes."""
    if wants_json():
        json_line(value)
    else:
        words()


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Rows as a table of these columns (their names, with spaces, are the headings), or the sentence `empty`."""
    from rich import box
    from rich.table import Table

    listed = list(rows)
    if not listed:
        note(empty)
        return
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        grid.add_column(name.replace("_", " "), overflow="fold")
    for row in listed:
        grid.add_row(*("" if row.get(name) is None else str(row[name]) for name in columns))
    out = console()
    if not out.is_terminal:  # a pipe has no width: nothing is folded there
        out.width = max(out.width, console().measure(grid, options=out.options.update(max_width=9999)).maximum)
    out.print(grid)


def facts(row: Mapping[str, Any]) -> None:
    """One thing, a line for each of its members."""
    width = max((len(name) for name in row), default=0)
    for name, value in row.items():
        if isinstance(value, Mapping | list):
            value = json.dumps(value, ensure_ascii=False)
        line(f"{name.replace('_', ' '):{width}}  {'' if value is None else value}")
