"""The frame around every route: a FastAPI application whose every error is problem+json and every request has an id.

In: the rooms' routers and what tells who calls. Out: the application. Refuses bodies over 256 KiB (but to routes that
stream), parameters a route does not have, and paths with the NUL character.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin import __version__
from tocsin.storage import Unavailable
from tocsin.terms.errors import Refused, fault
from tocsin.web.answers import reply
from tocsin.web.auth import Authenticator
from tocsin.web.bodies import SCHEMAS, hoist_schemas
from tocsin.web.doorway import Doorway
from tocsin.web.problems import PROBLEM_JSON, Problem, did_you_mean, problem, refused_problem

BODY_LIMIT: Final = 256 * 1024
"""Octets of a body, at most; routes that stream are read line by line and have none."""
RETRY_AFTER: Final = 2
"""Seconds after which to try again while the database is away."""

E = TypeVar("E", bound=Callable[..., Any])


def streaming(endpoint: E) -> E:
    """Mark an endpoint that reads its body as a stream, in constant memory: the cap on bodies is not for it."""
    endpoint.__dict__["streams"] = True
    return endpoint


def open_to_pages(endpoint: E) -> E:
    """Mark an endpoint that pages of every origin may call: it asks for no cookie (Fetch Standard, CORS protocol)."""
    endpoint.__dict__["open_to_pages"] = True
    return endpoint


def preflight(router: APIRouter, path: str, methods: str) -> None:
    """Answer the question a browser asks before it lets a page of another origin call `path`."""

    @router.options(path, include_in_schema=False)
    @open_to_pages
    async def allow() -> Response:
        return Response(
            status_code=204,
            headers={
                "access-control-allow-methods": methods,
                "access-control-allow-headers": "authorization, content-type, idempotency-key",
                "access-control-max-age": "86400",
            },
        )


def door(tag: str) -> APIRouter:
    """A room's router: its routes refuse query parameters that do not exist."""
    return APIRouter(tags=[tag], dependencies=[Depends(_known_parameters)])


def create(routers: Sequence[APIRouter], *, authenticator: Authenticator, body_limit: int = BODY_LIMIT) -> FastAPI:
    """The application: the routers behind one doorway, and `/openapi.json`."""
    app = FastAPI(
        title="Tocsin",
        summary="One call in, every device reached, every outcome readable.",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.authenticator = authenticator
    for router in routers:
        app.include_router(router)
    app.add_route("/openapi.json", _document, include_in_schema=False)
    app.add_middleware(Doorway, body_limit=body_limit)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)
    app.add_exception_handler(Unavailable, _unavailable)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # the hook that FastAPI's manual names
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, openapi_version="3.1.0", summary=app.summary, routes=app.routes
        )
        schema = Problem.model_json_schema(ref_template=SCHEMAS)
        hoist_schemas(document)["components"]["schemas"].update(schema.pop("$defs"), Problem=schema)
        told = {
            "description": "A problem (RFC 9457).",
            "content": {PROBLEM_JSON: {"schema": {"$ref": SCHEMAS.format(model="Problem")}}},
        }
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"].update({"4XX": told, "5XX": told})
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema


async def _document(request: Request) -> Response:
    return reply(200, request.app.openapi())


async def _known_parameters(request: Request) -> None:
    """Refuse query parameters that the operation does not have: a filter with a typing error must not be ignored."""
    if not request.scope["query_string"]:
        return
    path = request.scope["route"].path_format
    operation = request.app.openapi()["paths"].get(path, {}).get(request.method.lower(), {})
    names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    for name in request.query_params:
        if name not in names:
            raise Refused(
                "unknown_parameter",
                f"There is no query parameter {name!r} here.",
                suggestion=did_you_mean(name, names) or "This path takes no query parameters.",
            )


def _id(request: Request) -> str:
    return str(request.scope["tocsin.request_id"])


async def _refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return refused_problem(refused, _id(request))


async def _unrouted(request: Request, refused: Exception) -> Response:
    """No such path, or no such method of it."""
    assert isinstance(refused, HTTPException)
    if refused.status_code == 405:
        allowed = (refused.headers or {}).get("Allow", "")
        row = Refused("method_not_allowed", f"{request.method} is not possible here; it takes {allowed}.")
        response = refused_problem(row, _id(request))
        response.headers["allow"] = allowed
        return response
    return refused_problem(Refused("not_found", "There is nothing at this path."), _id(request))


async def _invalid_parameter(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, RequestValidationError)
    error = refused.errors()[0]
    where, name = error["loc"][0], error["loc"][-1]
    code = "invalid_header" if where == "header" else "invalid_parameter"
    return refused_problem(Refused(code, f"The {where} parameter {name!r}: {error['msg']}."), _id(request))


async def _unavailable(request: Request, _: Exception) -> Response:
    row = fault("database_unavailable")
    return problem(
        row, _id(request), "The database does not answer at the moment.", headers={"retry-after": str(RETRY_AFTER)}
    )
