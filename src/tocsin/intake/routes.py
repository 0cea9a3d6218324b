"""The door of intake: POST /v1/notifications.

In: a request. Out: 202 once the notification, its message and its run are on disk. Refuses unknown devices and content
that can never fit; then nothing of the request remains.
"""

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from tocsin.intake import store
from tocsin.intake.accept import accept
from tocsin.intake.request import NotificationRequest
from tocsin.storage import Database, Tx
from tocsin.terms import ids
from tocsin.terms.errors import Refused
from tocsin.terms.handoffs import Accepted, Message, Options
from tocsin.terms.outcomes import Class, Status
from tocsin.web import Authenticated, door, json_body, takes
from tocsin.web.answers import Answer, answer, instant
from tocsin.web.idempotency import Idempotent, do_once
from tocsin.web.problems import pointer

Check = Callable[[Tx, UUID, Message, Options], Awaitable[None]]
"""(tx, app, message, options): raises Refused (payload_too_large) if the message can never be delivered."""
Unknown = Callable[[Tx, UUID, Sequence[str]], Awaitable[AbstractSet[str]]]
"""(tx, app, external ids): those that are no device of the app."""
Admit = Callable[[Tx, Accepted, Message], Awaitable[None]]
"""Store the message, open the run and put the first hint, in the same transaction."""
Wake = Callable[[], None]
"""Tell the workers, after the commit; it may be lost."""


class AcceptedNotification(BaseModel):
    """A notification that is on disk and will reach one end for each device."""

    id: str = Field(examples=["ntf_06f2q0k1v4x7s8t9w0y1z2a3b4"])
    status: Status
    lane_class: Class = Field(alias="class")
    accepted_at: datetime
    expires_at: datetime


def routes(*, database: Database, check: Check, unknown: Unknown, admit: Admit, wake: Wake) -> APIRouter:
    """The router of this door; what other rooms do is handed in."""
    router = door("notifications")

    @router.post(
        "/v1/notifications",
        status_code=202,
        response_model=AcceptedNotification,
        openapi_extra=takes(NotificationRequest),
        summary="Send a notification",
    )
    async def send_notification(
        caller: Authenticated, once: Idempotent, request: Annotated[NotificationRequest, json_body(NotificationRequest)]
    ) -> Response:
        """Accept a notification to devices, users or everybody. A 2xx means that it is on disk."""

        async def work(tx: Tx) -> Answer:
            message = request.content.message()
            await check(tx, caller.app_id, message, request.chosen())
            await _check_devices(tx, caller.app_id, request)
            accepted = await accept(tx, caller.app_id, request, now=await store.now(tx))
            await admit(tx, accepted, message)
            return answer(202, _shown(accepted))

        done = await do_once(database, caller.app_id, once, work)
        if done.fresh:
            wake()
        return done.response()

    async def _check_devices(tx: Tx, app_id: UUID, request: NotificationRequest) -> None:
        devices = request.to.listed_devices()
        missing = await unknown(tx, app_id, devices) if devices else ()
        refused = [
            Refused("unknown_device", f"There is no device {device!r} in this app.", _place(request, device))
            for device in devices
            if device in missing
        ]
        if refused:
            refused[0].others = refused[1:20]
            raise refused[0]

    return router


def _place(request: NotificationRequest, device: str) -> str:
    """Where in the body a device is named."""
    listed = request.to.devices or []
    return pointer(("to", "device") if device == request.to.device else ("to", "devices", listed.index(device)))


def _shown(accepted: Accepted) -> dict[str, Any]:
    return {
        "id": ids.show(ids.NOTIFICATION, accepted.notification_id),
        "status": Status.ACCEPTED.value,
        "class": accepted.options.lane_class.value,
        "accepted_at": instant(accepted.accepted_at),
        "expires_at": instant(accepted.expires_at),
    }
