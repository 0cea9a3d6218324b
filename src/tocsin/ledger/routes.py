"""The ledger's doors: how far a notification is, what became of each device, and what devices report.

In: ids of an app's own notifications and deliveries; receipt tokens. Out: what the ledger says. Refuses ids of other
apps as if they did not exist, and receipts that were not signed here.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tocsin.ledger import reading, receipts
from tocsin.storage import Database, Tx
from tocsin.terms import ids
from tocsin.terms.errors import Refused
from tocsin.terms.outcomes import State, Status
from tocsin.web import Authenticated, Body, door, json_body, reply, takes
from tocsin.web.answers import Answer, answer
from tocsin.web.frame import open_to_pages, preflight
from tocsin.web.idempotency import Idempotent, do_around, do_once
from tocsin.web.paging import Cursor, Limit, page, read_cursor

READS_RECEIPTS = ("application/json", "text/plain")
"""Also the type that a page's sendBeacon gives, which needs no preflight."""

Names = Callable[[Tx, UUID, Collection[UUID]], Awaitable[Mapping[UUID, str]]]
"""(tx, app, device ids): the caller's own id of each device that still is."""
Locate = Callable[[Tx, UUID, str], Awaitable[UUID | None]]
"""(tx, app, the caller's own id): the device, None if there is none."""


class Control(Protocol):
    """What moves a run. Each raises LookupError if there is no such run, Refused (wrong_state) if it cannot be."""

    async def cancel(self, app_id: UUID, notification_id: UUID) -> Status:
        """Stop it for good."""
        ...

    async def pause(self, app_id: UUID, notification_id: UUID) -> Status:
        """Hold it."""
        ...

    async def resume(self, app_id: UUID, notification_id: UUID) -> Status:
        """Go on."""
        ...


class Progress(BaseModel):
    """Devices by where they stand; the ends sum up to `targeted` when the notification has ended."""

    targeted: int
    pending: int
    sent: int
    rejected: int
    expired: int
    cancelled: int
    suppressed: int
    failed: int


class Notification(BaseModel):
    """A notification and how far it is."""

    id: str
    status: Status
    lane_class: Literal["now", "bulk"] = Field(alias="class")
    accepted_at: datetime
    expires_at: datetime
    planned: bool = Field(description="Whether all its devices are known.")
    progress: Progress


class Notifications(BaseModel):
    """A page of notifications, newest first."""

    data: list[Notification]
    next_cursor: str | None


class Moved(BaseModel):
    """Where a notification stands after a move."""

    id: str
    status: Status


class Delivery(BaseModel):
    """One notification on one device."""

    id: str
    device_id: str
    device: str | None = Field(description="Your id of the device; null once it was deleted.")
    state: State | Literal["pending"]
    code: str | None
    provider: str | None
    attempts: int
    settled_at: datetime | None


class Deliveries(BaseModel):
    """A page of deliveries, by device."""

    data: list[Delivery]
    next_cursor: str | None


class Attempt(BaseModel):
    """A try that did not simply succeed."""

    at: datetime
    verdict: str
    code: str
    detail: str | None
    retry_at: datetime | None


class KeptReceipt(BaseModel):
    """What the device reported."""

    kind: str
    at: datetime


class Event(BaseModel):
    """A sentence of the story."""

    at: datetime
    event: str
    text: str


class DeliveryStory(Delivery):
    """A delivery with all that is known of it."""

    notification_id: str
    gloss: str
    provider_ref: str | None
    detail: str | None
    attempt_log: list[Attempt]
    receipts: list[KeptReceipt]
    story: list[Event]


class Receipt(Body):
    """What a device reports of a delivery."""

    model_config = ConfigDict(title="Receipt")

    receipt: Annotated[str, Field(max_length=128, description="The token from the payload, as it came.")]
    kind: Literal["delivered", "opened", "clicked", "dismissed"]


NotificationId = Annotated[str, Path(description="ntf_…")]


def routes(*, database: Database, control: Control, names: Names, locate: Locate, receipt_key: bytes) -> APIRouter:
    """The router of these doors; what other rooms do is handed in."""
    router = door("deliveries")

    @router.get("/v1/notifications", response_model=Notifications, summary="List notifications")
    async def list_notifications(
        caller: Authenticated,
        limit: Limit = 100,
        cursor: Cursor = None,
        status: Annotated[Status | None, Query()] = None,
    ) -> Response:
        """Newest first, each with its progress."""
        listing = f"notifications:{status or ''}"
        place = read_cursor(listing, cursor)
        before = UUID(place[0]) if place else None
        async with database.scope(caller.app_id) as tx:
            rows = await reading.runs(tx, caller.app_id, status, before, limit + 1)
        places = [str(ids.read(ids.NOTIFICATION, row["id"])) for row in rows[:limit]]
        return reply(200, page(listing, rows, limit, places))

    @router.get("/v1/notifications/{notification_id}", response_model=Notification, summary="Read a notification")
    async def get_notification(caller: Authenticated, notification_id: NotificationId) -> Response:
        """Where it stands and how far it is."""
        async with database.scope(caller.app_id) as tx:
            return reply(200, await reading.run(tx, caller.app_id, _notification(notification_id)))

    @router.get("/v1/notifications/{notification_id}/deliveries", response_model=Deliveries, summary="List deliveries")
    async def list_deliveries(
        caller: Authenticated,
        notification_id: NotificationId,
        limit: Limit = 100,
        cursor: Cursor = None,
        state: Annotated[
            State | Literal["pending"] | None,
            Query(description="Only these; `pending` lists those that have not ended."),
        ] = None,
        code: Annotated[str | None, Query(max_length=64, description="Only those that ended with this code.")] = None,
    ) -> Response:
        """What became of each device, by device. Without `state`: all that have ended."""
        found = _notification(notification_id)
        listing = f"deliveries:{found}:{state or ''}:{code or ''}"
        place = read_cursor(listing, cursor)
        after = UUID(place[0]) if place else None
        async with database.scope(caller.app_id) as tx:
            rows = await reading.deliveries(
                tx, caller.app_id, found, state=state, code=code, after=after, most=limit + 1
            )
            called = await names(tx, caller.app_id, [row["device_id"] for row in rows[:limit]])
        shown = [reading.shown_delivery(found, row, called.get(row["device_id"])) for row in rows]
        return reply(200, page(listing, shown, limit, [str(row["device_id"]) for row in rows[:limit]]))

    @router.get("/v1/deliveries", response_model=Deliveries, summary="List a device's deliveries")
    async def list_device_deliveries(
        caller: Authenticated,
        device: Annotated[str, Query(description="Your id of the device.", min_length=1, max_length=200)],
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """What was sent to one device and what became of it, newest first: why did nothing arrive?"""
        async with database.scope(caller.app_id) as tx:
            device_id = await locate(tx, caller.app_id, device)
            if device_id is None:
                raise Refused("not_found", "There is no device of this id in your app.")
            listing = f"device:{device_id}"
            place = read_cursor(listing, cursor)
            before = UUID(place[0]) if place else None
            rows = await reading.of_device(tx, caller.app_id, device_id, before, limit + 1)
        shown = [reading.shown_delivery(row["notification_id"], row, device) for row in rows]
        return reply(200, page(listing, shown, limit, [str(row["notification_id"]) for row in rows[:limit]]))

    @router.get("/v1/deliveries/{delivery_id}", response_model=DeliveryStory, summary="Read a delivery")
    async def get_delivery(caller: Authenticated, delivery_id: Annotated[str, Path(description="dlv_…")]) -> Response:
        """What became of it and why, with every attempt, every receipt and the story in words."""
        try:
            notification_id, device_id = ids.read_delivery(delivery_id)
        except ids.BadId:
            raise reading.absent("delivery") from None
        async with database.scope(caller.app_id) as tx:
            known = await reading.facts(tx, caller.app_id, notification_id, device_id)
            called = await names(tx, caller.app_id, [device_id])
        return reply(200, reading.shown_story(notification_id, device_id, known, called.get(device_id)))

    @router.post("/v1/notifications/{notification_id}/cancel", status_code=202, response_model=Moved, summary="Cancel")
    async def cancel_notification(caller: Authenticated, once: Idempotent, notification_id: NotificationId) -> Response:
        """Stop it for good: no request begins after this; what is on the wire ends within 20 seconds."""
        return await _move(caller.app_id, once, notification_id, 202, control.cancel)

    @router.post("/v1/notifications/{notification_id}/pause", response_model=Moved, summary="Pause")
    async def pause_notification(caller: Authenticated, once: Idempotent, notification_id: NotificationId) -> Response:
        """Hold it until it is resumed; its time to live goes on."""
        return await _move(caller.app_id, once, notification_id, 200, control.pause)

    @router.post("/v1/notifications/{notification_id}/resume", response_model=Moved, summary="Resume")
    async def resume_notification(caller: Authenticated, once: Idempotent, notification_id: NotificationId) -> Response:
        """Go on with a paused notification."""
        return await _move(caller.app_id, once, notification_id, 200, control.resume)

    async def _move(
        app_id: UUID, once: Any, shown_id: str, status: int, move: Callable[[UUID, UUID], Awaitable[Status]]
    ) -> Response:
        notification_id = _notification(shown_id)

        async def act() -> Answer:
            try:
                moved = await move(app_id, notification_id)
            except LookupError:
                raise reading.absent("notification") from None
            return answer(status, {"id": shown_id, "status": moved.value})

        return (await do_around(database, app_id, once, act)).response()

    preflight(router, "/v1/receipts", "POST")

    @router.post(
        "/v1/receipts",
        status_code=204,
        openapi_extra=takes(Receipt, accepts=READS_RECEIPTS),
        summary="Report what became of a delivery",
    )
    @open_to_pages
    async def report_receipt(
        once: Idempotent, body: Annotated[Receipt, json_body(Receipt, accepts=READS_RECEIPTS)]
    ) -> Response:
        """From the device itself: the token of the payload is all the right it needs. Each kind is kept once."""
        try:
            reported = receipts.verify(receipt_key, body.receipt)
        except receipts.BadReceipt as wrong:
            raise Refused("invalid_receipt", f"The field 'receipt': {wrong}.", "/receipt") from None

        async def work(tx: Tx) -> Answer:
            await reading.keep_receipt(tx, *reported, body.kind)
            return Answer(204, b"")

        return (await do_once(database, reported.app_id, once, work)).response()

    return router


def _notification(text: str) -> UUID:
    try:
        return ids.read(ids.NOTIFICATION, text)
    except ids.BadId:
        raise reading.absent("notification") from None
