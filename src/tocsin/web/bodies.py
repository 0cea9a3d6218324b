"""JSON bodies: read whole, checked by their model straight from the octets, described in OpenAPI.

In: a request's body. Out: the model, with the octets it was made from. Refuses other types than JSON, bodies that are
late, too deep or hold the NUL character, fields that do not exist, and numbers written as text.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from tocsin.terms.errors import Refused
from tocsin.web import problems

DEEPEST: Final = 32
"""Levels of objects and lists in a body, at most."""
READ_WITHIN: Final = 30.0
"""Seconds in which the whole body has to arrive."""
SCHEMAS: Final = "#/components/schemas/{model}"

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class Body(BaseModel):
    """What every body is: strict in its types, closed to fields that do not exist, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


M = TypeVar("M", bound=Body)


def json_body(model: type[M], *, accepts: tuple[str, ...] = ("application/json",)) -> Any:
    """The dependency that reads a body: `body: Annotated[Model, json_body(Model)]`.

    `accepts` are the media types it reads. Raises Refused: unsupported_media_type, request_timeout, too_large,
    malformed_json, unknown_field, missing_field, invalid_field or a code that a check of the model names.
    """
    return Depends(_reader(model, accepts))


def _reader(model: type[M], accepts: tuple[str, ...]) -> Callable[[Request], Awaitable[M]]:
    async def read(request: Request) -> M:
        _check_type(request.headers.get("content-type"), accepts)
        return validate(model, await octets(request))

    return read


async def octets(request: Request) -> bytes:
    """The whole body; the doorframe has capped it. Raises Refused (request_timeout, too_large)."""
    try:
        async with asyncio.timeout(READ_WITHIN):
            return await request.body()
    except TimeoutError:
        raise Refused("request_timeout", f"The body was not here after {READ_WITHIN:.0f} seconds.") from None


def validate(model: type[M], raw: bytes) -> M:
    """The model that these octets say, or Refused. Also for single lines of a stream."""
    _check_depth(raw)
    try:
        body = model.model_validate_json(raw)
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_input=False)
        raise problems.from_pydantic(errors, model) from None
    if b"\\u0000" in raw:
        _check_nul(body.model_dump(), ())
    return body


def takes(model: type[BaseModel], *, accepts: tuple[str, ...] = ("application/json",)) -> dict[str, Any]:
    """What OpenAPI says of a body: `@routes.post(…, openapi_extra=takes(Model))`."""
    schema = model.model_json_schema(ref_template=SCHEMAS)
    return {"requestBody": {"required": True, "content": {each: {"schema": schema} for each in accepts}}}


def hoist_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Move the models that `takes` wrote into operations to the components of an OpenAPI document, by their titles.

    Raises ValueError if two models of one title differ.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for operations in document.get("paths", {}).values():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = dict(content["schema"])
                named = schema.pop("$defs", {}) | {schema["title"]: schema}
                for name, model in named.items():
                    if schemas.setdefault(name, model) != model:
                        raise ValueError(f"two models are called {name}")
                content["schema"] = {"$ref": SCHEMAS.format(model=schema["title"])}
    return document


def _check_type(header: str | None, accepts: tuple[str, ...]) -> None:
    """No header is taken for the first type; a charset, if any, has to be UTF-8 (RFC 8259 section 8.1)."""
    if header is None:
        return
    media_type, _, parameters = header.lower().partition(";")
    charset = re.search(r'charset="?([\w-]+)', parameters)
    if media_type.strip() not in accepts or (charset and charset[1] not in ("utf-8", "utf8")):
        raise Refused(
            "unsupported_media_type",
            f"This path does not read {header[:100]!r}.",
            suggestion=f"Send the header Content-Type: {accepts[0]}.",
        )


def _check_depth(raw: bytes) -> None:
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return
    depth = 0
    for token in _TOKENS.finditer(raw):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth > DEEPEST:
                raise Refused("malformed_json", f"The body is nested deeper than {DEEPEST} levels.")
        elif token[0] in (b"]", b"}"):
            depth -= 1


def _check_nul(value: Any, path: tuple[str | int, ...]) -> None:
    """PostgreSQL cannot store U+0000 in text (its manual, section 8.3), so it is refused where it stands."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_nul(key, path)
            _check_nul(inner, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _check_nul(inner, (*path, index))
    elif isinstance(value, str) and "\0" in value:
        raise Refused("invalid_field", "Text may not contain the character U+0000.", problems.pointer(path))
