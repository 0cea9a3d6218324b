"""Octets as they come become lines, in bounded memory.

In: pieces of a stream of any size. Out: its lines without their ends. A line over the limit is not kept: in its place
comes OVERLONG, once, when it ends.
"""

from typing import Final

LONGEST: Final = 64 * 1024
"""Octets of a line without its end, at most."""


class Overlong:
    """Stands for a line that was too long to keep."""


OVERLONG: Final = Overlong()

Line = bytes | Overlong


class Splitter:
    """Cuts one stream into lines at LF; a CR before it is left to JSON, for which it is white space."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._too_long = False

    def feed(self, piece: bytes) -> list[Line]:
        """The lines that end in this piece."""
        if b"\n" not in piece:
            self._keep(piece)
            return []
        first, *whole = piece.split(b"\n")
        self._keep(first)
        rest = whole.pop()
        lines: list[Line] = [self._take()]
        lines += [line if len(line) <= self._longest else OVERLONG for line in whole]
        self._keep(rest)
        return lines

    def end(self) -> list[Line]:
        """The last line, if the stream did not end with a line's end."""
        return [self._take()] if self._rest or self._too_long else []

    def _keep(self, piece: bytes) -> None:
        if self._too_long:
            return
        self._rest += piece
        if len(self._rest) > self._longest:
            self._too_long = True
            self._rest = bytearray()

    def _take(self) -> Line:
        line: Line = OVERLONG if self._too_long else bytes(self._rest)
        self._rest, self._too_long = bytearray(), False
        return line
