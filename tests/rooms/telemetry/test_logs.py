"""Log lines carry ids and no secrets, whoever writes them."""

import logging
from typing import Any

import orjson
import pytest
import structlog

from tocsin.telemetry import logs

KEY = "tk_test_0JVSdJh5_5qX96zgI9jqWpOVTtoTfnI1C4wzXB58Q0FAgAJ"


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logging.getLogger(name).level for name in ("alembic", "asyncio", "asyncpg", "hpack", "uvicorn.access")
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_json_line_with_its_ids(capsys):
    logs.configure("info", "json")
    structlog.contextvars.bind_contextvars(request_id="req_1")
    structlog.get_logger("tocsin.x").info("batch.settled", batch=7)
    (line,) = lines(capsys)
    assert line["event"] == "batch.settled"
    assert (line["batch"], line["request_id"], line["level"], line["logger"]) == (7, "req_1", "info", "tocsin.x")
    assert line["timestamp"].endswith("Z")


def test_a_library_speaks_in_the_same_form(capsys):
    logging.getLogger("uvicorn.error").setLevel("ERROR")
    logs.configure("info", "json")
    logging.getLogger("a.library").info("Started %d", 7, extra={"color_message": "\x1b[36m"})
    (line,) = lines(capsys)
    assert line["event"] == "Started 7"
    assert "color_message" not in line


def test_levels_below_are_left_out(capsys):
    logs.configure("warning", "json")
    structlog.get_logger("tocsin.x").info("quiet")
    logging.getLogger("alembic").info("quiet")
    assert lines(capsys) == []


def test_text_is_for_people(capsys):
    logs.configure("info", "text")
    structlog.get_logger("tocsin.x").info("batch.settled", batch=7)
    said = capsys.readouterr().err
    assert "batch.settled" in said
    assert "batch=7" in said


def test_a_trace_is_kept_and_masked(capsys):
    logs.configure("info", "json")
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        structlog.get_logger("tocsin.x").exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: bad key tk_test_[masked]" in line["exception"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "cX9:APA91b"),
        ("push_token", "cX9:APA91b"),
        ("private_key", "-----BEGIN"),
        ("authorization", "Bearer x"),
        ("database_url", "postgresql://"),
        ("password", "x"),
        ("auth", "x"),
    ],
)
def test_what_goes_under_the_name_of_a_secret_is_masked(name: str, value: str):
    assert logs.mask_secrets(None, "info", {name: value, "id": "dev_1"}) == {name: "[masked]", "id": "dev_1"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"GET /x with {KEY}", "GET /x with tk_test_[masked]"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [masked]"),
        ("postgresql://app:secret@/db", "postgresql://app:[masked]@/db"),
        ("a -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----", "a [masked] PRIVATE KEY-----"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_what_has_the_form_of_a_secret_is_masked_wherever_it_stands(text: str, shown: str):
    assert logs.masked(text) == shown
    assert logs.masked({"deep": [text, (text,)]}) == {"deep": [shown, [shown]]}


def test_ids_versions_and_nothing_are_no_secrets():
    event = {"token_version": 3, "key": "0JVSdJh5", "delivery": "dlv_1", "token": None}
    assert logs.mask_secrets(None, "info", dict(event)) == event
