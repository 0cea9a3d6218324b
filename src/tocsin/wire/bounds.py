"""The sizes and times the wire keeps to, in one value that a test or a deployment may change.

In: nothing but numbers. Out: the same numbers, by name. Refuses nothing: they are set by code, not by users.
"""

from dataclasses import dataclass
from typing import Final

HIGHEST_STREAM_ID: Final = 2**31 - 1
"""The last identifier a stream may carry (RFC 9113 section 5.1.1)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the wire takes. Times are seconds, sizes octets."""

    connections_per_origin: int = 8
    """Connections open to one origin at most; those that only finish their last answers are not counted."""
    connections: int = 512
    """Connections open in all at most; idle ones make room for new ones."""
    streams_per_connection: int = 256
    """Streams opened on one connection at most, also when the peer would allow more."""
    connect_within: float = 5.0
    """Resolving, connecting, the TLS handshake and the peer's SETTINGS together."""
    idle_after: float = 60.0
    """A connection without a stream for so long is closed."""
    attempts: int = 2
    """Connections that may fail one after the other before the calls waiting for them end unsent."""
    refusals: int = 3
    """How often one call is tried anew after REFUSED_STREAM."""
    body: int = 64 * 1024
    """What is kept of the body of an answer; the rest is refused with RST_STREAM."""
    header_list: int = 64 * 1024
    """The largest header list an answer may have, as announced to the peer (RFC 9113 section 6.5.2)."""
    stream_window: int = 256 * 1024
    """The window for the answer of one stream."""
    connection_window: int = 16 * 1024 * 1024
    """The window for the answers of one connection; more than the 65,535 that HTTP/2 begins with."""
    unread: int = 4 * 1024 * 1024
    """Written octets a peer may leave unread before the connection is given up."""
    highest_stream_id: int = HIGHEST_STREAM_ID
    """The last stream identifier used before a connection is replaced by a new one."""
