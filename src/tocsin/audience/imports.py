"""Imports: devices as a stream of lines, read and answered while it is still being sent, and resumable at any line.

In: NDJSON of any length, a device and its `id` on each line. Out: NDJSON, in the order of the lines, as FORMAT says.
Refuses single lines, never the whole: a bad line is answered with its number and the reason, the good ones are in.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tocsin.audience.answers import Answers
from tocsin.audience.body import ImportLine, Providers, device_name, registration
from tocsin.audience.devices import Registration, register
from tocsin.audience.lines import LONGEST, Line, Overlong
from tocsin.audience.store import SQL
from tocsin.audience.uploads import Upload
from tocsin.storage import Database, LockTimeout, Tx, Unavailable
from tocsin.terms.clock import Clock
from tocsin.terms.errors import Refused, Row, fault, refusal
from tocsin.terms.outcomes import Mode
from tocsin.web.bodies import validate

FORMAT: Final = """One JSON object a line, in the order of the lines that were sent:

- `{"import_id", "lines"}` first: how many lines earlier uploads have done.
- `{"line", "error": {"code", "pointer", "detail", "suggestion"}}` for a line that is refused.
- `{"lines": [first, last], "accepted", "created"}` when all lines from first to last are on disk: accepted devices are
  registered, created ones are new, refused and blank lines are counted. Ranges follow each other without a gap.
- `{"lines": [first, last], "seen": true}` for lines that an earlier upload had done: they are checked, not done again.
- `{"done": true, "import_id", "lines", "accepted", "rejected"}` last, with the counts of the whole import.
- `{"error": {"code", "detail", "suggestion", "retryable"}}` without a line, last, if it cannot go on: resume it.

Ranges are joined while nobody reads them, and up to 1 MiB of refusals waits besides, so that a client may send
everything before it reads; past that the upload is held back, and cut after a minute in which nothing was read.
"""
NDJSON: Final = "application/x-ndjson"
IMPORT_ID: Final = r"^[A-Za-z0-9._:-]{1,100}$"
"""What an import may be called."""
TRIES: Final = 5
"""How often a chunk is tried while others hold its locks."""

_BLANK = re.compile(rb"\s*")


class Import(NamedTuple):
    """How far an import has come: `lines` of its lines are done, blank ones included."""

    import_id: str
    lines: int
    accepted: int
    rejected: int
    finished: bool
    created_at: datetime
    updated_at: datetime


class _Overtaken(Exception):
    """Another upload of the same import has done these lines."""


class _Checked(NamedTuple):
    """A chunk that was looked at: what to register, and which lines are refused for which reason."""

    good: Sequence[Registration]
    bad: Sequence[tuple[int, Refused]]


async def read(tx: Tx, app_id: UUID, import_id: str) -> Import | None:
    """How far the import has come, or None if there is none of this name."""
    row = await tx.fetchrow(SQL.read_import, app_id, import_id)
    return None if row is None else Import(**row)


class Imports:
    """The imports that are being uploaded to this process."""

    def __init__(self, database: Database, providers: Providers, clock: Clock) -> None:
        self._database = database
        self._providers = providers
        self._clock = clock
        self._running: set[tuple[UUID, str]] = set()

    def answer(self, app_id: UUID, mode: Mode, import_id: str, from_line: int) -> "ImportResponse":
        """The response that reads an upload, whose first line is line `from_line` of the import, and answers it."""
        return ImportResponse(self, app_id, mode, import_id, from_line)

    async def run(self, order: "ImportResponse", receive: Receive, send: Send) -> None:
        """Read one upload to its end. Raises Refused before anything is answered: in_progress, invalid_parameter."""
        name = (order.app_id, order.import_id)
        if name in self._running:
            raise Refused(
                "in_progress", f"An upload of the import {order.import_id!r} is still running.", retry_after=2
            )
        self._running.add(name)
        upload = Upload(receive, self._clock)
        try:
            state = await self._open(order)
            await upload.begin()
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            async with Answers(send, self._clock) as answers:
                answers.say({"import_id": order.import_id, "lines": state.lines})
                await self._follow(order, state, upload, answers)
        finally:
            upload.close()
            self._running.discard(name)

    async def _open(self, order: "ImportResponse") -> Import:
        async with self._database.scope(order.app_id) as tx:
            await tx.execute(SQL.open_import, order.app_id, order.import_id)
            state = await read(tx, order.app_id, order.import_id)
            assert state is not None
            if order.from_line > state.lines + 1:
                raise Refused(
                    "invalid_parameter",
                    f"from_line is {order.from_line}, but only {state.lines} lines of this import are done.",
                    suggestion=f"Send from line {state.lines + 1} on.",
                )
        return state

    async def _follow(self, order: "ImportResponse", state: Import, upload: Upload, answers: Answers) -> None:
        """Do the lines as they come, and say so."""
        number = order.from_line
        try:
            async for chunk in upload.chunks():
                seen, fresh = chunk[: max(0, state.lines + 1 - number)], chunk[max(0, state.lines + 1 - number) :]
                if seen:
                    _tell(answers, self._check(order.mode, number, seen))
                    answers.done(number, number + len(seen) - 1, seen=True)
                    number += len(seen)
                if fresh:
                    checked = self._check(order.mode, number, fresh)
                    state, created = await self._commit(order, state, len(fresh), checked)
                    _tell(answers, checked)
                    answers.done(number, state.lines, accepted=len(checked.good), created=created)
                    number += len(fresh)
                await answers.room()
            state, _ = await self._commit(order, state, 0, _Checked((), ()), finished=True)
        except _Overtaken:
            answers.say(_stopped(refusal("in_progress"), "Another upload of this import has gone on from here."))
        except (LockTimeout, Unavailable):
            answers.say(_stopped(fault("database_unavailable"), f"Resume after line {state.lines}."))
        else:
            told = {"import_id": state.import_id, "lines": state.lines}
            answers.say({"done": True, **told, "accepted": state.accepted, "rejected": state.rejected})

    def _check(self, mode: Mode, first: int, lines: Sequence[Line]) -> _Checked:
        """Look at the lines, of which the first has this number."""
        good: list[Registration] = []
        bad: list[tuple[int, Refused]] = []
        for number, line in enumerate(lines, first):
            try:
                if isinstance(line, Overlong):
                    raise Refused("too_large", f"A line has {LONGEST} octets at most.")
                if _BLANK.fullmatch(line):
                    continue
                body = validate(ImportLine, line)
                good.append(registration(device_name(body.id, "/id"), body, self._providers, mode))
            except Refused as refused:
                bad.append((number, refused))
        return _Checked(good, bad)

    async def _commit(
        self, order: "ImportResponse", state: Import, lines: int, checked: _Checked, *, finished: bool = False
    ) -> tuple[Import, int]:
        """Register and count a chunk in one transaction; gives the new state and how many devices are new."""
        tries = 1
        while True:
            try:
                async with self._database.scope(order.app_id) as tx:
                    row = await tx.fetchrow(
                        SQL.advance_import,
                        order.app_id,
                        order.import_id,
                        state.lines,
                        state.lines + lines,
                        len(checked.good),
                        len(checked.bad),
                        finished,
                    )
                    if row is None:
                        raise _Overtaken
                    created = await register(tx, order.app_id, checked.good) if checked.good else {}
            except LockTimeout:  # a second has passed in the wait
                tries += 1
                if tries > TRIES:
                    raise
            else:
                return Import(**row), sum(created.values())


def _tell(answers: Answers, checked: _Checked) -> None:
    for number, refused in checked.bad:
        error = {
            "code": refused.code,
            "pointer": refused.pointer,
            "detail": refused.detail,
            "suggestion": refused.suggestion or refused.row.fix,
        }
        answers.say({"line": number, "error": error})


def _stopped(row: Row, detail: str) -> Mapping[str, Any]:
    return {"error": {"code": row.code, "detail": detail, "suggestion": row.fix, "retryable": row.retryable}}


class ImportResponse(Response):
    """An answer that reads while it is written; a response of the web framework cannot, as it would eat the body.

    `from_line` is the number, in the import, of the first line of this upload.
    """

    def __init__(self, imports: Imports, app_id: UUID, mode: Mode, import_id: str, from_line: int) -> None:
        super().__init__(media_type=NDJSON)
        self._imports = imports
        self.app_id = app_id
        self.mode = mode
        self.import_id = import_id
        self.from_line = from_line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the upload, as an ASGI application."""
        await self._imports.run(self, receive, send)


_HEADERS: Final = [
    (b"content-type", NDJSON.encode()),
    # an upload that was not read to its end cannot be followed by another request
    (b"connection", b"close"),
    # proxies are not to collect answers that are wanted line by line
    (b"x-accel-buffering", b"no"),
]
