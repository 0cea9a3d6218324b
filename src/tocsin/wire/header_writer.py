"""How request headers are written: an HPACK encoder for many requests that share most of their headers (RFC 7541).

In: lists of headers. Out: header blocks any HPACK decoder reads. What repeats enters the peer's table once and is an
index of a byte or two from then on; what comes once (paths, encryption headers) is written literally and never pushes
out what repeats. Refuses to use more table than the peer announced.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from hpack.hpack import Encoder
from hpack.table import HeaderTable

_STATIC: Final[tuple[tuple[bytes, bytes], ...]] = HeaderTable.STATIC_TABLE
_STATIC_FIELDS: Final = {field: bytes([0x80 | at]) for at, field in enumerate(_STATIC, 1) if field[1]}
_STATIC_NAMES: Final = {name: at for at, (name, _) in reversed(list(enumerate(_STATIC, 1)))}
_ENTRY_OVERHEAD: Final = 32  # RFC 7541 section 4.1
_LARGEST_TABLE: Final = 4096
_REMEMBERED: Final = 512


def _integer(value: int, prefix: int, flags: int) -> bytes:
    """An integer in `prefix` bits under `flags` (RFC 7541 section 5.1)."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([flags | value])
    octets = bytearray([flags | limit])
    value -= limit
    while value >= 128:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


class HeaderWriter(Encoder):
    """Takes the place of the encoder of an `H2Connection`. No Huffman coding: it costs more than it saves."""

    def __init__(self) -> None:
        super().__init__()
        self._room = _LARGEST_TABLE
        self._size_updates: list[int] = []
        self._used = 0
        self._added = 0
        self._entries: deque[tuple[tuple[bytes, bytes], int]] = deque()
        self._serials: dict[tuple[bytes, bytes], int] = {}
        self._once: set[tuple[bytes, bytes]] = set()

    @property
    def header_table_size(self) -> int:
        """Octets of the peer's table in use at most; set from its SETTINGS_HEADER_TABLE_SIZE."""
        return self._room

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        room = min(value, _LARGEST_TABLE)
        if room != self._room:
            self._room = room
            self._size_updates.append(room)
            self._evict(0)

    def encode(self, headers: Iterable[Any] | dict[Any, Any], huffman: bool = False) -> bytes:
        """The header block for `headers`, pairs of bytes in the order given; `huffman` is ignored."""
        out = bytearray()
        if self._size_updates:
            # The smallest size passed through must be told as well as the last (RFC 7541 section 4.2).
            for size in dict.fromkeys((min(self._size_updates), self._size_updates[-1])):
                out += _integer(size, 5, 0x20)
            self._size_updates.clear()
        serials = self._serials
        for field in headers:
            serial = serials.get(field)
            if serial is not None:
                out += _integer(62 + self._added - serial, 7, 0x80)
                continue
            indexed = _STATIC_FIELDS.get(field)
            out += self._literal(field) if indexed is None else indexed
        return bytes(out)

    def _literal(self, field: tuple[bytes, bytes]) -> bytes:
        """A field that stands in no table: entered if it was seen before (section 6.2.1), else not (6.2.2)."""
        name, value = field
        if field in self._once and self._enter(field):
            prefix, flags = 6, 0x40
        else:
            prefix, flags = 4, 0x00
            if len(self._once) >= _REMEMBERED:
                self._once.clear()
            self._once.add(field)
        known = _STATIC_NAMES.get(name)
        if known is None:
            return bytes([flags]) + _integer(len(name), 7, 0) + name + _integer(len(value), 7, 0) + value
        return _integer(known, prefix, flags) + _integer(len(value), 7, 0) + value

    def _enter(self, field: tuple[bytes, bytes]) -> bool:
        """Make room in the table and enter the field; False if it could never fit."""
        size = len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        if size > self._room:
            return False
        self._evict(size)
        self._added += 1
        self._serials[field] = self._added
        self._entries.append((field, size))
        self._used += size
        self._once.discard(field)
        return True

    def _evict(self, needed: int) -> None:
        """Drop the oldest entries until `needed` more octets fit (RFC 7541 section 4.3)."""
        while self._entries and self._used + needed > self._room:
            field, size = self._entries.popleft()
            del self._serials[field]
            self._used -= size
