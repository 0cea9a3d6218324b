"""The step `accept`: a checked request becomes a notification with an id, a beginning and an end.

In: an app's open transaction, the request, the time. Out: `Next(Accepted)`. It writes its own table and nothing else.
"""

from datetime import datetime, timedelta
from uuid import UUID

from tocsin.intake import store
from tocsin.intake.request import NotificationRequest
from tocsin.storage import Tx
from tocsin.terms import ids
from tocsin.terms.handoffs import Accepted, Next


async def accept(tx: Tx, app_id: UUID, request: NotificationRequest, *, now: datetime) -> Next:
    """Write the notification, accepted at `now`; its time to live counts from there. Gives `Next(Accepted)`."""
    accepted = Accepted(
        app_id=app_id,
        notification_id=ids.new(),
        target=request.to.target(),
        options=request.chosen(),
        accepted_at=now,
        expires_at=now + timedelta(seconds=request.ttl),
    )
    await store.insert(tx, accepted)
    return Next(accepted)
