"""Answers as octets: what is sent is what was stored, byte for byte.

In: values that JSON knows, times and ids included. Out: a response. Times are RFC 3339 in UTC, ending in Z.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response

JSON = "application/json"


class Answer(NamedTuple):
    """An answer that can be kept and sent again: its HTTP status and the octets of its body."""

    status: int
    body: bytes

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The answer on its way out; an empty body (204) has no type."""
        return Response(self.body, self.status, headers, media_type=JSON if self.body else None)


def answer(status: int, value: Any) -> Answer:
    """An answer with this JSON body."""
    return Answer(status, orjson.dumps(value))


def reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A response with this JSON body."""
    return answer(status, value).response(headers)


def instant(at: datetime) -> str:
    """A time as the API writes it: RFC 3339, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
