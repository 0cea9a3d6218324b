"""The step `accept`: a checked request becomes a notification with an id, a beginning and an end.

In: an app's open transaction, the request, the time. Out: `Accepted`. It writes its own table and nothing else.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tocsin.intake import store
from tocsin.intake.request import NotificationRequest
from tocsin.storage import Tx
from tocsin.terms import ids
from tocsin.terms.handoffs import Accepted

NOW_OR_NEVER: Final = 30
"""Seconds that a ttl of 0 leaves us to reach the provider, which is then told 0."""


async def accept(tx: Tx, app_id: UUID, request: NotificationRequest, *, now: datetime) -> Accepted:
    """Write the notification, accepted at `now`; its time to live counts from there."""
    accepted = Accepted(
        app_id=app_id,
        notification_id=ids.new(),
        target=request.to.target(),
        options=request.chosen(),
        accepted_at=now,
        expires_at=now + timedelta(seconds=request.ttl or NOW_OR_NEVER),
    )
    await store.insert(tx, accepted)
    return accepted
