"""Errors as callers read them: problem+json (RFC 9457) with code, pointer, detail, suggestion and a page to read.

In: a row of the error table, or what pydantic found wrong with a body. Out: a response, or a `Refused` that names the
field (RFC 6901) and, for a name that does not exist, the one that was probably meant.
"""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails
from starlette.responses import Response

from tocsin.terms.errors import Refused, Row

PROBLEM_JSON = "application/problem+json"
SITE = "https://tocsin.dev"
MOST_TOLD = 20
"""Mistakes of one body that are listed, at most."""


class Mistake(BaseModel):
    """One thing that is wrong with a request."""

    code: str
    pointer: str | None = Field(default=None, description="Where in the body (RFC 6901).")
    detail: str
    suggestion: str | None = None


class Problem(BaseModel):
    """Every error of this API (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="A URL that names the kind of error.")
    title: str = Field(description="What kind of error it is, in a sentence.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="The code of the error table: what programs should read.")
    pointer: str | None = Field(description="Where in the body (RFC 6901), if it is about a field.")
    detail: str = Field(description="What is wrong with this very request.")
    suggestion: str | None = Field(description="What to do instead.")
    request_id: str = Field(description="The id of this request, also in the header Request-Id.")
    doc_url: str = Field(description="The page that explains the code.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    errors: list[Mistake] | None = Field(default=None, description="All mistakes, where a body has several.")


def problem(
    row: Row,
    request_id: str,
    detail: str,
    *,
    pointer: str | None = None,
    suggestion: str | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """The response for a row of the table. `more` are further members of the body."""
    body = {
        "type": f"{SITE}/errors/{row.code}",
        "title": row.gloss,
        "status": row.status,
        "code": row.code,
        "pointer": pointer,
        "detail": detail,
        "suggestion": suggestion or row.fix,
        "request_id": request_id,
        "doc_url": f"{SITE}/docs/reference/errors#{row.code}",
        "retryable": row.retryable,
        **(more or {}),
    }
    return Response(orjson.dumps(body), row.status, headers, media_type=PROBLEM_JSON)


def refused_problem(refused: Refused, request_id: str) -> Response:
    """The response for a refusal, with Retry-After, WWW-Authenticate and the list of mistakes where they belong."""
    headers = {}
    if refused.retry_after is not None:
        headers["retry-after"] = str(refused.retry_after)
    if refused.row.status == 401:
        headers["www-authenticate"] = 'Bearer realm="tocsin"'
    if refused.row.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    more = {"errors": [_mistake(each) for each in (refused, *refused.others)]} if refused.others else None
    return problem(
        refused.row,
        request_id,
        refused.detail,
        pointer=refused.pointer,
        suggestion=refused.suggestion,
        headers=headers,
        more=more,
    )


def _mistake(refused: Refused) -> Mapping[str, Any]:
    return {
        "code": refused.code,
        "pointer": refused.pointer,
        "detail": refused.detail,
        "suggestion": refused.suggestion,
    }


def from_pydantic(errors: Sequence[ErrorDetails], model: type[BaseModel]) -> Refused:
    """What pydantic found in a body, as a refusal: names that do not exist first, as they explain what is missing."""
    found = sorted((_one(error, model) for error in errors[:MOST_TOLD]), key=lambda each: each.code != "unknown_field")
    found[0].others = found[1:]
    return found[0]


def _one(error: ErrorDetails, model: type[BaseModel]) -> Refused:
    # pydantic marks what is wrong with a key of a mapping, not with its value, by a step of its own
    place = error["loc"][:-1] if error["loc"] and error["loc"][-1] == "[key]" else error["loc"]
    where, kind = pointer(place), error["type"]
    if kind == "json_invalid":
        return Refused("malformed_json", f"{error['msg']}.")
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        return Refused(
            "unknown_field",
            f"There is no field {name!r} here.",
            where,
            did_you_mean(name, _names(model, error["loc"][:-1]), dict(reversed([*_places(model, "")]))),
        )
    if kind == "missing":
        return Refused("missing_field", f"The field {error['loc'][-1]!r} is required.", where)
    # a check of ours that raised a refusal's code speaks for itself
    context = error.get("ctx", {})
    return Refused(
        context.get("code", "invalid_field"), _sentence(error["msg"]), where, suggestion=context.get("suggestion")
    )


def pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901 section 3) from the steps of a path; the whole document is the empty text."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def did_you_mean(name: str, names: Sequence[str], places: Mapping[str, str] | None = None) -> str | None:
    """What was probably meant: a field of that very name elsewhere (`places`: name → pointer), or one of `names`."""
    if places and name in places:
        return f"Did you mean {places[name]!r}?"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"The fields here are: {', '.join(sorted(names))}." if names else None


def _sentence(text: str) -> str:
    text = text.removeprefix("Value error, ").removesuffix(".")
    return text[:1].upper() + text[1:] + "."


def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside an annotation: itself, or those of a union, list or mapping."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _names(model: type[BaseModel], path: Sequence[str | int]) -> Sequence[str]:
    """The names of the fields at a path of the model."""
    here = [model]
    for step in path:
        if isinstance(step, str):
            inner = [found for each in here for found in _models(_fields(each).get(step))]
            here = inner or here
    return [name for each in here for name in _fields(each)]


def _places(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Every field of the model and of the models within, as (name, pointer); lists and mappings are left out."""
    for name, annotation in _fields(model).items():
        yield name, f"{prefix}/{name}"
        if typing.get_origin(annotation) not in (list, dict):
            for inner in _models(annotation):
                yield from _places(inner, f"{prefix}/{name}")
