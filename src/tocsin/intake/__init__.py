"""Intake: a request becomes an accepted notification, on disk before the caller hears of it.

Enters: POST /v1/notifications. Leaves: `Accepted`, immutable. Refuses: what can never be delivered as asked, with the
field, the reason and what to do.
"""

from tocsin.intake.accept import accept
from tocsin.intake.request import NotificationRequest
from tocsin.intake.routes import routes
from tocsin.intake.store import recall

__all__ = ["NotificationRequest", "accept", "recall", "routes"]
