"""The door of devices: register, read, list, delete, log out, import.

In: requests of an app's key. Out: devices, which show of their token its last six characters and its SHA-256.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from tocsin.audience import devices, imports
from tocsin.audience.body import DeviceBody, ImportLine, Providers, device_name, registration
from tocsin.storage import Database, LockTimeout, Tx, Unavailable
from tocsin.terms import ids
from tocsin.terms.clock import Clock
from tocsin.terms.errors import Refused
from tocsin.web import Authenticated, door, json_body, reply, streaming, takes
from tocsin.web.answers import Answer, answer, instant
from tocsin.web.idempotency import Idempotent, do_once
from tocsin.web.paging import Cursor, Limit, Page, page, read_cursor

PAGE: Final = 100
"""Devices in a page, unless asked otherwise."""


class DeviceView(BaseModel):
    """A device."""

    id: str = Field(description="Your name for it.")
    device_id: str = Field(description="Our name for it, as in deliveries.")
    provider: str
    environment: str
    token_suffix: str | None = Field(description="The last six characters of its token or endpoint.")
    token_sha256: str | None = Field(description="The SHA-256 of its token or endpoint, to compare with yours.")
    user_id: str | None
    locale: str | None
    timezone: str | None
    attributes: dict[str, Any]
    state: Literal["active", "dead", "superseded", "logged_out"] = Field(
        description="Only active devices are sent to. dead: the provider gave its token up. superseded: another "
        "device registered its token. logged_out: its user has gone. Registering it makes it active."
    )
    created_at: datetime
    updated_at: datetime


class DevicePage(Page):
    """Devices in the order in which they were first registered."""

    data: list[DeviceView]


class ImportView(BaseModel):
    """How far an import has come."""

    import_id: str
    lines: int = Field(description="Lines done, blank ones included: go on after this one.")
    accepted: int
    rejected: int
    finished: bool = Field(description="Whether an upload came to its end.")
    created_at: datetime
    updated_at: datetime


ExternalId = Annotated[str, Path(description="Your name for the device: 1 to 200 printable characters.")]
ImportId = Annotated[str, Path(pattern=imports.IMPORT_ID, description="The id of an import.")]


def view(device: devices.Device) -> Mapping[str, Any]:
    """A device as JSON says it."""
    return {
        "id": device.external_id,
        "device_id": ids.show(ids.DEVICE, device.device_id),
        "provider": device.provider,
        "environment": device.environment,
        "token_suffix": device.token_suffix,
        "token_sha256": None if device.token_hash is None else device.token_hash.hex(),
        "user_id": device.user_id,
        "locale": device.locale,
        "timezone": device.timezone,
        "attributes": device.attributes,
        "state": device.state,
        "created_at": instant(device.created_at),
        "updated_at": instant(device.updated_at),
    }


def _no_device() -> Refused:
    return Refused("not_found", "There is no device of this id in your app.")


@contextmanager
def _in_turn() -> Iterator[None]:
    """What waited too long for other registrations of the app may be tried again: 503 and Retry-After."""
    try:
        yield
    except LockTimeout:
        raise Unavailable("other registrations of the app held its locks for too long") from None


def router(*, database: Database, providers: Providers, clock: Clock) -> APIRouter:
    """The routes under `/v1/devices`. `providers` check tokens, by name."""
    routes = door("devices")
    running = imports.Imports(database, providers, clock)

    @routes.post(
        "/v1/devices/import",
        summary="Import devices",
        openapi_extra=takes(ImportLine, accepts=(imports.NDJSON,)),
        responses={200: {"description": imports.FORMAT, "content": {imports.NDJSON: {}}}},
        response_class=Response,
    )
    @streaming
    async def import_devices(
        request: Request,
        caller: Authenticated,
        import_id: Annotated[
            str | None, Query(pattern=imports.IMPORT_ID, description="Your name for it, to resume it by.")
        ] = None,
        from_line: Annotated[
            int, Query(ge=1, le=1 << 53, description="The number, in the import, of the first line of this upload.")
        ] = 1,
    ) -> Response:
        """A stream of devices, one JSON object a line, read and answered while it is still being sent.

        Sent again with the same `import_id`, it goes on where it stopped: lines that are done are not done again.
        """
        media_type = request.headers.get("content-type", imports.NDJSON).partition(";")[0].strip().lower()
        if media_type != imports.NDJSON:
            raise Refused(
                "unsupported_media_type",
                f"An import does not read {media_type[:100]!r}.",
                suggestion=f"Send the header Content-Type: {imports.NDJSON}.",
            )
        name = import_id or ids.show(ids.IMPORT, ids.new())
        return running.answer(caller.app_id, caller.mode, name, from_line)

    @routes.get("/v1/devices/imports/{import_id}", summary="Read an import", response_model=ImportView)
    async def read_import(caller: Authenticated, import_id: ImportId) -> Response:
        """How many lines are done, accepted and rejected: what to resume after."""
        async with database.scope(caller.app_id) as tx:
            state = await imports.read(tx, caller.app_id, import_id)
        if state is None:
            raise Refused("not_found", "There is no import of this id in your app.")
        times = {"created_at": instant(state.created_at), "updated_at": instant(state.updated_at)}
        return reply(200, state._asdict() | times)

    @routes.get("/v1/devices", summary="List devices", response_model=DevicePage)
    async def list_devices(
        caller: Authenticated,
        user_id: Annotated[str | None, Query(description="Only devices of this user.")] = None,
        provider: Annotated[str | None, Query(description="Only devices of this provider.")] = None,
        state: Annotated[
            Literal["active", "dead", "superseded", "logged_out"] | None, Query(description="Only in this state.")
        ] = None,
        limit: Limit = PAGE,
        cursor: Cursor = None,
    ) -> Response:
        """Devices in the order in which they were first registered."""
        filters = devices.Filters(user_id, provider, state)
        listing = f"devices {filters!r}"
        place = read_cursor(listing, cursor)
        after = None if place is None else UUID(place[0])
        async with database.scope(caller.app_id) as tx:
            found = await devices.listed(tx, caller.app_id, filters, after, limit + 1)
        places = [str(device.device_id) for device in found]
        return reply(200, page(listing, [view(device) for device in found], limit, places))

    @routes.put(
        "/v1/devices/{external_id:path}",
        summary="Register a device",
        response_model=DeviceView,
        responses={201: {"model": DeviceView, "description": "The device is new."}},
        openapi_extra=takes(DeviceBody),
    )
    async def register_device(
        caller: Authenticated, external_id: ExternalId, body: Annotated[DeviceBody, json_body(DeviceBody)]
    ) -> Response:
        """Bring a device to this full state. A token that another device had moves here at once."""
        wanted = registration(device_name(external_id), body, providers, caller.mode)
        with _in_turn():
            async with database.scope(caller.app_id) as tx:
                created = await devices.register(tx, caller.app_id, [wanted])
                device = await devices.get(tx, caller.app_id, external_id)
        assert device is not None
        return reply(201 if created[external_id] else 200, view(device))

    @routes.get("/v1/devices/{external_id:path}", summary="Read a device", response_model=DeviceView)
    async def read_device(caller: Authenticated, external_id: ExternalId) -> Response:
        """The device of this id."""
        async with database.scope(caller.app_id) as tx:
            device = await devices.get(tx, caller.app_id, external_id)
        if device is None:
            raise _no_device()
        return reply(200, view(device))

    @routes.delete(
        "/v1/devices/{external_id:path}", summary="Delete a device", status_code=204, response_class=Response
    )
    async def delete_device(caller: Authenticated, external_id: ExternalId) -> Response:
        """Forget a device and all that is known of it; what was planned for it is not sent."""
        with _in_turn():
            async with database.scope(caller.app_id) as tx:
                if not await devices.delete(tx, caller.app_id, external_id):
                    raise _no_device()
        return Response(status_code=204)

    @routes.post("/v1/devices/{external_id:path}/logout", summary="Log a device out", response_model=DeviceView)
    async def log_out_device(caller: Authenticated, external_id: ExternalId, once: Idempotent) -> Response:
        """Take the user from a device. Until it registers again nothing is sent to it, planned before or not."""

        async def work(tx: Tx) -> Answer:
            device = await devices.logout(tx, caller.app_id, external_id)
            if device is None:
                raise _no_device()
            return answer(200, view(device))

        with _in_turn():
            return (await do_once(database, caller.app_id, once, work)).response()

    return routes
