"""Errors as callers read them."""

import json
import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tocsin.terms.errors import FAULTS, REFUSALS, Refused
from tocsin.web.bodies import Body, hoist_schemas, validate
from tocsin.web.problems import did_you_mean, pointer, problem, refused_problem


class Inner(Body):
    title: str | None = None
    tags: list[int] = Field(default_factory=list)


class Outer(Body):
    name: str
    content: Inner | None = None
    many: list[Inner] = Field(default_factory=list)
    by_key: dict[str, Inner] = Field(default_factory=dict)
    renamed: Annotated[int, Field(alias="class")] = 0

    @model_validator(mode="after")
    def _not_forbidden(self):
        if self.name == "forbidden":
            raise PydanticCustomError("name", "this name is taken", {"code": "unknown_device"})
        return self


def refused(body):
    with pytest.raises(Refused) as caught:
        validate(Outer, body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


@pytest.mark.parametrize("row", [*REFUSALS, *(row for row in FAULTS if row.status)], ids=lambda row: row.code)
def test_every_row_of_the_table_makes_a_whole_problem(row):
    response = problem(row, "req_1", "What is wrong.", pointer="/a")
    body = json.loads(bytes(response.body))
    assert response.status_code == row.status
    assert response.headers["content-type"] == "application/problem+json"
    assert body == {
        "type": f"https://tocsin.dev/errors/{row.code}",
        "title": row.gloss,
        "status": row.status,
        "code": row.code,
        "pointer": "/a",
        "detail": "What is wrong.",
        "suggestion": row.fix,
        "request_id": "req_1",
        "doc_url": f"https://tocsin.dev/docs/reference/errors#{row.code}",
        "retryable": row.retryable,
    }


def test_every_refusal_is_a_row_and_every_row_is_said_somewhere():
    said = set()
    for path in Path("src/tocsin").rglob("*.py"):
        # the table itself says nothing, and a provider's Refused is another thing: an outcome
        if path.name != "errors.py" and path.parent.name not in ("fcm", "webpush"):
            text = path.read_text("utf-8")
            said |= set(re.findall(r'\b(?:Refused|refusal)\(\s*"(\w+)"', text))
    rows = {row.code for row in REFUSALS}
    assert said <= rows
    assert rows - said == set()


def test_two_models_of_one_name_are_a_defect():
    class Twin(Body):
        model_config = ConfigDict(title="Inner")

    def takes_(model):
        return {"requestBody": {"content": {"application/json": {"schema": model.model_json_schema()}}}}

    document = {"paths": {"/a": {"post": takes_(Inner)}, "/b": {"post": takes_(Twin)}}}
    with pytest.raises(ValueError, match="two models are called Inner"):
        hoist_schemas(document)


def test_headers_follow_the_kind_of_refusal():
    assert refused_problem(Refused("in_progress", "x", retry_after=1), "req").headers["retry-after"] == "1"
    assert refused_problem(Refused("unauthorized", "x"), "req").headers["www-authenticate"].startswith("Bearer")
    assert refused_problem(Refused("too_large", "x"), "req").headers["connection"] == "close"
    plain = refused_problem(Refused("not_found", "x"), "req").headers
    assert not {"retry-after", "www-authenticate", "connection"} & set(plain)


@pytest.mark.parametrize(
    ("body", "code", "where", "suggestion"),
    [
        ({"name": "n", "contnt": {}}, "unknown_field", "/contnt", "Did you mean 'content'?"),
        ({"name": "n", "content": {"titel": "x"}}, "unknown_field", "/content/titel", "Did you mean 'title'?"),
        ({"name": "n", "many": [{}, {"tag": []}]}, "unknown_field", "/many/1/tag", "Did you mean 'tags'?"),
        ({"name": "n", "by_key": {"k": {"tytle": ""}}}, "unknown_field", "/by_key/k/tytle", "Did you mean 'title'?"),
        ({"name": "n", "title": "x"}, "unknown_field", "/title", "Did you mean '/content/title'?"),
        ({"name": "n", "klass": 1}, "unknown_field", "/klass", "Did you mean 'class'?"),
        (
            {"name": "n", "qqqq": 1},
            "unknown_field",
            "/qqqq",
            "The fields here are: by_key, class, content, many, name.",
        ),
        ({}, "missing_field", "/name", None),
        ({"name": 5}, "invalid_field", "/name", None),
        ({"name": "n", "content": {"tags": ["5"]}}, "invalid_field", "/content/tags/0", None),
        ({"name": "n", "class": True}, "invalid_field", "/class", None),
        ({"name": "forbidden"}, "unknown_device", "", None),
        ([], "invalid_field", "", None),
        (b'{"name": ', "malformed_json", None, None),
        (b"", "malformed_json", None, None),
        (b'{"name": "\\ud800"}', "malformed_json", None, None),
        (b'{"name": "\xff"}', "malformed_json", None, None),
        (b'{"name": "a\\u0000b"}', "invalid_field", "/name", None),
        (b'{"name": "n", "many": [{"title": "\\u0000"}]}', "invalid_field", "/many/0/title", None),
        (b'{"name": "n", "by_key": {"\\u0000": {}}}', "invalid_field", "/by_key", None),
        (b'{"name": ' + b"[" * 40 + b"]" * 40 + b"}", "malformed_json", None, None),
    ],
)
def test_a_bad_body_names_the_field_and_what_to_do(body, code, where, suggestion):
    found = refused(body)
    assert (found.code, found.pointer, found.suggestion) == (code, where, suggestion)
    assert found.detail.endswith(".")


def test_an_escaped_backslash_before_u0000_is_not_the_nul_character():
    assert validate(Outer, b'{"name": "\\\\u0000"}').name == "\\u0000"


def test_brackets_in_text_are_not_depth():
    assert validate(Outer, json.dumps({"name": "[{" * 100 + '\\"'}).encode()).name == "[{" * 100 + '\\"'
    wide = {"name": "n", "many": [{"tags": [1]}] * 100}
    assert len(validate(Outer, json.dumps(wide).encode()).many) == 100


def test_all_mistakes_of_a_body_are_told_and_names_that_do_not_exist_come_first():
    found = refused({"content": {"title": 1, "bodi": 2}})
    assert found.code == "unknown_field"
    told = json.loads(bytes(refused_problem(found, "req").body))["errors"]
    assert {(each["code"], each["pointer"]) for each in told} == {
        ("unknown_field", "/content/bodi"),
        ("missing_field", "/name"),
        ("invalid_field", "/content/title"),
    }
    assert told[0]["code"] == "unknown_field"


def test_no_more_than_twenty_mistakes_are_told():
    found = refused({"name": "n", "content": {"tags": ["x"] * 50}})
    assert 1 + len(found.others) == 20


def test_what_a_caller_sent_is_not_repeated_in_the_error():
    found = refused({"name": {"secret": "hunter2"}})
    assert "hunter2" not in json.dumps(json.loads(bytes(refused_problem(found, "req").body)))


def test_a_pointer_escapes_as_rfc_6901_says():
    assert pointer(("a/b", "m~n", 0)) == "/a~1b/m~0n/0"
    assert pointer(()) == ""


def test_nothing_is_suggested_where_there_is_nothing():
    assert did_you_mean("x", []) is None
