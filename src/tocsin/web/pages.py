"""What the pages of an app need before their users subscribe: the app's VAPID public key (RFC 8292 section 3.2).

In: an API key, or the id of the app, which a page may know. Out: the public key. It gives away nothing else, so pages
of every origin may ask.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from tocsin.storage import Database
from tocsin.tenants import public_credential
from tocsin.terms import ids
from tocsin.terms.errors import Refused
from tocsin.web.answers import reply
from tocsin.web.auth import Bearer, authenticate
from tocsin.web.frame import door, open_to_pages, preflight

WEB_PUSH: Final = "webpush"


class PublicKey(BaseModel):
    """The key that a page hands to `pushManager.subscribe` as applicationServerKey."""

    public_key: str = Field(description="P-256, uncompressed, base64url without padding.")


def routes(*, database: Database) -> APIRouter:
    """The router of this door."""
    router = door("web push")
    path = "/v1/web-push/public-key"
    preflight(router, path, "GET")

    @router.get(path, response_model=PublicKey, summary="The app's VAPID public key")
    @open_to_pages
    async def get_public_key(
        request: Request,
        bearer: Bearer,
        app: Annotated[str | None, Query(description="The app's id, where no API key may be: in a page.")] = None,
    ) -> Response:
        """Asks for an API key or for the id of the app."""
        if app is None:
            app_id = (await authenticate(request, bearer)).app_id
        else:
            try:
                app_id = ids.read(ids.APP, app)
            except ids.BadId as wrong:
                raise Refused("invalid_parameter", f"The query parameter 'app': {wrong}.") from None
        async with database.scope(app_id) as tx:
            public: Mapping[str, Any] | None = await public_credential(tx, app_id, WEB_PUSH)
        if public is None:
            raise Refused("not_found", "This app has no credential for Web Push.")
        return reply(200, {"public_key": public["public_key"]})

    return router
