"""Pages of a list: how many, where to go on, and the cursor between two pages.

In: `limit` and `cursor` of a query. Out: `{"data": […], "next_cursor": …}`. Refuses a cursor that was not made by the
same list with the same filters; the check is against mistakes, as a cursor opens nothing that its key does not.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import orjson
from fastapi import Query
from pydantic import BaseModel, Field

from tocsin.terms.errors import Refused

MOST: Final = 1000
_CHECK_OCTETS = 6

Limit = Annotated[int, Query(ge=1, le=MOST, description=f"How many to give at most, up to {MOST}.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.", max_length=1000)]


class Page(BaseModel):
    """What every list answers."""

    data: list[Any]
    next_cursor: str | None = Field(description="Where the next page begins; null on the last one.")


def write_cursor(listing: str, *place: str) -> str:
    """The cursor that goes on after `place` in `listing`, a text that names the list and its filters."""
    raw = orjson.dumps(place)
    return base64.urlsafe_b64encode(_check(listing, raw) + raw).rstrip(b"=").decode()


def read_cursor(listing: str, cursor: str | None, parts: int = 1) -> Sequence[str] | None:
    """The place in a cursor (None without one); raises Refused (malformed_cursor)."""
    if cursor is None:
        return None
    try:
        octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, raw = octets[:_CHECK_OCTETS], octets[_CHECK_OCTETS:]
        if check != _check(listing, raw):
            raise ValueError
        place = orjson.loads(raw)
        if len(place) != parts:
            raise ValueError
    except (binascii.Error, ValueError):
        raise Refused("malformed_cursor", "The cursor does not belong to this list with these filters.") from None
    return [str(each) for each in place]


def page(listing: str, rows: Sequence[Mapping[str, Any]], limit: int, places: Sequence[str]) -> Mapping[str, Any]:
    """The body of a page, from up to `limit` + 1 rows and the place of each: the row too many says that more follow."""
    more = len(rows) > limit
    return {
        "data": list(rows[:limit]),
        "next_cursor": write_cursor(listing, places[limit - 1]) if more else None,
    }


def _check(listing: str, raw: bytes) -> bytes:
    return hashlib.sha256(listing.encode() + b"\0" + raw).digest()[:_CHECK_OCTETS]
