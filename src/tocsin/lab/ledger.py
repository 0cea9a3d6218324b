"""What reached the lab, on disk: one JSON line for each provider request that arrived whole, append only.

Lines of one turn are written together, before any answer of that turn leaves; they are then the operating system's, so
that the end of this process loses none. A torn last line, left by the end of the machine, is cut off at the next start.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tocsin.terms import ids

_STRIDE = 256


class Line(NamedTuple):
    """A request as the ledger tells it; the names of the members are the names in the file.

    `at` is in seconds since the epoch; `status` is the HTTP status, or how else it ended; `accepted` says that a real
    provider would have taken the message, also where its answer was then lost; `ref` is the provider's name for the
    message; `early` says that the request came before the wait asked for was over.
    """

    at: float
    provider: str
    connection: str
    token: str | None
    delivery: str | None
    body_sha256: str
    status: int | str
    code: str | None
    accepted: bool
    retry_after: int | None
    fault: str | None
    ref: str | None
    early: bool


@lru_cache(maxsize=4096)
def _notification(head: str) -> str | None:
    """The notification of a delivery id, from its first 31 characters: all that the notification's bits reach into."""
    try:
        return ids.show(ids.NOTIFICATION, ids.read_delivery(head.ljust(56, "0"))[0])
    except ids.BadId:
        return None


def notification_of(delivery: str | None) -> str | None:
    """The public id of the notification that a delivery id belongs to; None if there is none, or it is not an id."""
    if delivery is None or len(delivery) != 56:
        return None
    return _notification(delivery[:31])


class Ledger:
    """The file and its index. Belongs to one process at a time."""

    def __init__(self, path: Path, recall: Callable[[dict[str, Any]], None]) -> None:
        """Open `path`, counting what it holds; lines that tell of a fault are given to `recall`."""
        self.path = path
        self.count = 0
        self._offsets = [0]
        self._pending: list[bytes] = []
        self._end = self._read(recall)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._file, self._end)

    def _read(self, recall: Callable[[dict[str, Any]], None]) -> int:
        end = 0
        if not self.path.exists():
            return end
        with self.path.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                end += len(raw)
                self._index(end)
                if b'"fault":null' not in raw:
                    recall(orjson.loads(raw))
        return end

    def _index(self, end: int) -> None:
        self.count += 1
        if self.count % _STRIDE == 0:
            self._offsets.append(end)

    def add(self, line: Line) -> None:
        """Take a line for the next flush."""
        told = {"n": self.count + 1, **line._asdict(), "notification": notification_of(line.delivery)}
        octets = orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
        self._pending.append(octets)
        self._end += len(octets)
        self._index(self._end)

    def flush(self) -> None:
        """Hand what was taken to the operating system. Raises OSError if the disk refuses: an answer must not leave."""
        if not self._pending:
            return
        octets = b"".join(self._pending)
        self._pending.clear()
        while octets:
            octets = octets[os.write(self._file, octets) :]

    def after(self, n: int, limit: int) -> list[bytes]:
        """At most `limit` lines numbered above `n`, as they stand in the file."""
        if n >= self.count:
            return []
        place = n // _STRIDE
        with self.path.open("rb") as file:
            file.seek(self._offsets[place])
            for _ in range(n - place * _STRIDE):
                file.readline()
            lines = (file.readline() for _ in range(min(limit, self.count - n)))
            return [line.rstrip(b"\n") for line in lines]

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        os.close(self._file)
