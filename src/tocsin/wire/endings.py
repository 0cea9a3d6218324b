"""The contract of `wire`: calls go in by the batch, and every call ends in exactly one of three ways."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call goes: always https. Hashable, as connections are pooled by it.

    `guarded` says that a tenant supplied the address: it is resolved once, every answer must be public,
    and the connection is made to the very address that was checked.
    """

    host: str
    port: int = 443
    guarded: bool = False

    @property
    def authority(self) -> str:
        """`host` or `host:port`, as the :authority pseudo-header wants it (RFC 9113 section 8.3.1)."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == 443 else f"{name}:{self.port}"


class Call(NamedTuple):
    """One request. `headers` are lower-case and without pseudo-headers; `path` includes the query.

    The wire adds `content-length` where it is missing.
    """

    origin: Origin
    method: bytes
    path: bytes
    headers: Headers
    body: bytes


class Answered(NamedTuple):
    """The peer answered. The body is cut at 64 KiB."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header (lower-case name), or None."""
        return next((value for key, value in self.headers if key == name), None)


class Unsent(NamedTuple):
    """The peer cannot have acted on it: never written, REFUSED_STREAM, or past the last stream of a GOAWAY.

    `code`: `no_connection` | `refused_stream` | `goaway` | `late` (its time to be written passed) |
    `forbidden_address`. `detail` is for people.
    """

    code: str
    detail: str = ""


class Ambiguous(NamedTuple):
    """It was written and nobody can know what became of it. `code`: `cut_off` | `timed_out`."""

    code: str
    detail: str = ""


Ending = Answered | Unsent | Ambiguous


class Wire(Protocol):
    """What sends."""

    def submit(
        self, calls: Sequence[Call], *, write_within: float = 8.0, answer_within: float = 12.0
    ) -> AsyncIterator[Sequence[tuple[int, Ending]]]:
        """Send a batch of calls; give chunks of (index in `calls`, ending) as they come in.

        A call not written `write_within` seconds after submit ends unsent (`late`); one not answered
        `answer_within` seconds after submit ends ambiguous (`timed_out`). So every call has ended by then:
        each index is given exactly once. Chunks are gathered: one comes at the end, and before that at most
        one each second.
        """
        ...

    async def close(self) -> None:
        """End all connections. What is in flight ends ambiguous."""
        ...
