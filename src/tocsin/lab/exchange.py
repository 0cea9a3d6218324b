"""What travels between the connections and the simulated providers: a request that arrived whole, and how it ends.

A connection gives a `Request` to a handler and gets a `Reply`; when the reply's delay is over the connection carries
it out. Nothing here knows a protocol version or a provider.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

BODY_LIMIT = 256 * 1024
"""Octets of a request body the lab reads at all; a provider's own limit is far below."""


class Ending(enum.Enum):
    """How the exchange ends for the client."""

    ANSWERED = "answered"
    CUT = "cut"
    """This request loses its answer: RST_STREAM over HTTP/2, a broken connection over HTTP/1.1."""
    CUT_CONNECTION = "cut_connection"
    """The whole connection breaks, and every request on it loses its answer."""
    SILENT = "silent"
    """Nothing ever comes."""
    REFUSED = "refused"
    """RST_STREAM with REFUSED_STREAM (RFC 9113 section 8.7): not processed, safe to send again. HTTP/2 only."""
    GOAWAY = "goaway"
    """A graceful GOAWAY (RFC 9113 section 6.8) whose last stream is before this one: not processed. HTTP/2 only."""


class Answer(NamedTuple):
    """An HTTP response. `headers` are lower-case names; the length is added by the connection."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Reply(NamedTuple):
    """How an exchange ends: `answer` is there if it is answered; `delay` is in seconds."""

    ending: Ending
    answer: Answer | None = None
    delay: float = 0.0


@dataclass(slots=True)
class Request:
    """A request that arrived whole. `connection` names the connection in the ledger; `h2` says it speaks HTTP/2."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    connection: str
    h2: bool

    def header(self, name: bytes) -> str | None:
        """The first field of this lower-case name, or None."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    def every(self, name: bytes) -> list[str]:
        """All fields of this lower-case name, in order."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]


Handler = Callable[[Request], Reply]


class Conversation(Protocol):
    """A connection as the timers see it."""

    def finish(self, stream: int, reply: Reply) -> None:
        """Carry out a reply; nothing is written before `flush`."""
        ...

    def flush(self) -> None:
        """Write what `finish` prepared."""
        ...


def split_target(target: str) -> tuple[str, str]:
    """(path, query) of a request target."""
    path, _, query = target.partition("?")
    return path, query
