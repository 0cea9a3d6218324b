"""Stage `returns`, inside one transaction: what sending learned about devices goes back to the audience."""

from collections.abc import Awaitable, Callable
from typing import Any

from tocsin.lanes.lane import Claimed, Lane
from tocsin.storage import Database
from tocsin.terms.handoffs import ReturnsHint

Forget = Callable[[Any, ReturnsHint], Awaitable[int]]


class Returning:
    """Hands dead tokens to the audience, once."""

    def __init__(self, *, database: Database, returns: Lane, forget: Forget) -> None:
        self._database = database
        self._returns = returns
        self._forget = forget

    async def __call__(self, claimed: Claimed) -> None:
        """Retire what the hint names and acknowledge it, together."""
        hint = claimed.hint
        assert isinstance(hint, ReturnsHint)
        async with self._database.scope(hint.app_id) as tx:
            await self._forget(tx, hint)
            await self._returns.ack(tx, [claimed])
