"""Idempotency keys: a POST sent twice is done once, and its answer comes back byte for byte.

In: a request with the header Idempotency-Key, and the work. Out: the answer, fresh or kept. The key is taken in the
transaction that does the work, so neither is without the other. Refuses the key with another request (422), and a twin
that waited a second for the first one (409).
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from tocsin.storage import Database, LockTimeout, Queries, Tx
from tocsin.terms.errors import Refused
from tocsin.web.answers import Answer
from tocsin.web.bodies import octets

LONGEST: Final = 255
REPLAYED: Final = {"idempotent-replayed": "true"}

SQL = Queries.beside(__file__)

Work = Callable[[Tx], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Once:
    """What makes one request the same as another: the digest of its key (None without one) and of all it says."""

    key_hash: bytes | None
    body_hash: bytes


async def _read_once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(description="Up to 255 characters of your choice: the same request with the same key is done once."),
    ] = None,
) -> Once:
    if idempotency_key is None:
        return Once(None, b"")
    if not 1 <= len(idempotency_key) <= LONGEST or not (idempotency_key.isascii() and idempotency_key.isprintable()):
        raise Refused("invalid_header", f"Idempotency-Key takes 1 to {LONGEST} printable ASCII characters.")
    operation = f"{request.method} {request.scope['route'].path_format}"
    asked = f"{request.url.path}?{request.url.query}\0".encode() + await octets(request)
    return Once(
        hashlib.sha256(f"{operation}\0{idempotency_key}".encode()).digest(),
        hashlib.sha256(asked).digest(),
    )


Idempotent = Annotated[Once, Depends(_read_once)]
"""A POST that has a parameter of this type takes the header Idempotency-Key."""


@dataclass(frozen=True, slots=True)
class Done:
    """The answer, and whether the work was done by this very request."""

    answer: Answer
    fresh: bool

    def response(self) -> Response:
        """The response; a kept one says so in the header Idempotent-Replayed."""
        return self.answer.response(None if self.fresh else REPLAYED)


async def do_once(database: Database, app_id: UUID, once: Once, work: Work) -> Done:
    """Do the work in one transaction of the app, unless its key was used: then give the answer that was kept.

    Raises Refused (idempotency_mismatch, in_progress) and whatever the work raises; then nothing is kept.
    """
    async with database.scope(app_id) as tx:
        if once.key_hash is None:
            return Done(await work(tx), fresh=True)
        if (kept := await _take(tx, app_id, once)) is not None:
            return Done(kept, fresh=False)
        answer = await work(tx)
        await tx.execute(SQL.keep_answer, app_id, once.key_hash, answer.status, answer.body)
    return Done(answer, fresh=True)


async def do_around(database: Database, app_id: UUID, once: Once, act: Callable[[], Awaitable[Answer]]) -> Done:
    """The same for an act that has transactions of its own and may be repeated without harm, such as a cancel.

    Twins may both act; the answer of the first to end is the answer of both.
    """
    if once.key_hash is None:
        return Done(await act(), fresh=True)
    async with database.scope(app_id) as tx:
        kept = await _find(tx, app_id, once)
    if kept is not None:
        return Done(kept, fresh=False)
    try:
        acted = await act()
    except Refused:
        # a twin may have done it meanwhile, which is why it cannot be done now
        async with database.scope(app_id) as tx:
            kept = await _find(tx, app_id, once)
        if kept is None:
            raise
        return Done(kept, fresh=False)

    async def give(_: Tx) -> Answer:
        return acted

    return await do_once(database, app_id, once, give)


async def _take(tx: Tx, app_id: UUID, once: Once) -> Answer | None:
    """Take the key for this transaction, or give the answer kept under it."""
    try:
        taken = await tx.fetchval(SQL.take_key, app_id, once.key_hash, once.body_hash)
    except LockTimeout:
        raise _running() from None
    if taken:
        return None
    kept = await _find(tx, app_id, once)
    if kept is None:
        raise _running()  # the row ended between the two statements
    return kept


async def _find(tx: Tx, app_id: UUID, once: Once) -> Answer | None:
    row = await tx.fetchrow(SQL.find_answer, app_id, once.key_hash)
    if row is None:
        return None
    if row["body_hash"] != once.body_hash:
        raise Refused(
            "idempotency_mismatch",
            "This Idempotency-Key belongs to an earlier request with another path or body.",
        )
    return Answer(row["status"], row["response"])


def _running() -> Refused:
    return Refused("in_progress", "The first request with this Idempotency-Key has not ended yet.", retry_after=1)


async def forget_expired(database: Database) -> None:
    """Delete the answers whose time is over, of all apps: a chore of the keeper, whose role sees no others."""
    async with database.transaction() as tx:
        await tx.execute(SQL.forget_expired)
