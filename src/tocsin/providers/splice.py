"""JSON bodies that differ in a few strings: written once with holes, filled for each device by joining bytes.

In: a function that builds the document from strings. Out: the very bytes that serialising each document would give.
"""

import secrets
from collections.abc import Callable
from typing import Any

import orjson


def quoted(text: str) -> bytes:
    """The text as a JSON string, quotes included; raises TypeError for lone surrogates."""
    return orjson.dumps(text)


class Spliced:
    """A document with holes, in the order in which `build` places its arguments (each exactly once, as a value)."""

    __slots__ = ("_first", "_rest")

    def __init__(self, build: Callable[..., Any], holes: int) -> None:
        marks = [f"{secrets.token_hex(16)}.{place}" for place in range(holes)]
        rest = orjson.dumps(build(*marks))
        pieces = []
        for mark in marks:
            before, found, rest = rest.partition(f'"{mark}"'.encode())
            if not found or mark.encode() in rest:
                raise ValueError("every hole must be a value of the document, once, in the order of the arguments")
            pieces.append(before)
        self._first = tuple(pieces)
        self._rest = rest

    def fill(self, *values: bytes) -> bytes:
        """The document with these values, each as `quoted` gives it."""
        pieces: list[bytes] = []
        for before, value in zip(self._first, values, strict=True):
            pieces += (before, value)
        pieces.append(self._rest)
        return b"".join(pieces)
