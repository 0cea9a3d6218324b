"""Commands that call the API: what they send, what they write, and their exit codes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tocsin import __version__
from tocsin.cli import main, watching
from tocsin.cli.client import Endpoint, refused
from tocsin.cli.exits import Exit
from tocsin.cli.running import running, write_private

NOTIFICATION = "ntf_01m83tkd9de01svf977f3fhfdv"
DONE = {
    "targeted": 2,
    "pending": 0,
    "sent": 1,
    "rejected": 1,
    "expired": 0,
    "cancelled": 0,
    "suppressed": 0,
    "failed": 0,
}
HALF = {**DONE, "pending": 1, "sent": 0}


class Fake:
    """An API that answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.answers: list[tuple[int, Any]] = []
        self.url = ""

    def then(self, status: int, body: Any) -> None:
        self.answers.append((status, body))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    fake = Fake()

    class Door(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            fake.asked.append((self.command, self.path, body, dict(self.headers)))
            status, told = fake.answers.pop(0) if len(fake.answers) > 1 else fake.answers[0]
            octets = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(octets)))
            self.send_header("Request-Id", "req_1")
            self.end_headers()
            self.wfile.write(octets)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names the base class looks for

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TOCSIN_API_URL", fake.url)
    monkeypatch.setenv("TOCSIN_API_KEY", "tk_test_x")
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(watching, "EVERY", 0.001)
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def accepted() -> dict[str, Any]:
    return {"id": NOTIFICATION, "status": "accepted"}


def at(status: str, progress: dict[str, int]) -> dict[str, Any]:
    return {"id": NOTIFICATION, "status": status, "progress": progress, "accepted_at": "2026-01-01T00:00:00Z"}


def test_send_says_whom_and_what_and_prints_the_id(api: Fake, capsys):
    api.then(202, accepted())
    assert main(["send", "--user", "u1", "--title", "Hi", "--body", "there", "--data", "a=b=c"]) == Exit.OK
    ((method, path, body, headers),) = api.asked
    assert (method, path) == ("POST", "/v1/notifications")
    assert body == {"to": {"user": "u1"}, "content": {"title": "Hi", "body": "there", "data": {"a": "b=c"}}}
    assert headers["Authorization"] == "Bearer tk_test_x"
    assert headers["Idempotency-Key"]
    out = capsys.readouterr()
    assert out.out == f"{NOTIFICATION}  accepted\n"
    assert "tocsin notifications watch" in out.err


def test_every_option_of_send_has_its_place_in_the_call(api: Fake):
    api.then(202, accepted())
    words = [
        "--user",
        "a",
        "--user",
        "b",
        "--device",
        "p",
        "--device",
        "q",
        "--image",
        "https://i",
        "--link",
        "https://l",
    ]
    more = ["--ttl", "60", "--priority", "normal", "--collapse-key", "k", "--on-ambiguity", "drop", "--class", "bulk"]
    assert main(["send", *words, *more, "--title", "t", "--idempotency-key", "once"]) == Exit.OK
    (_, _, body, headers) = api.asked[0]
    assert body == {
        "to": {"users": ["a", "b"], "devices": ["p", "q"]},
        "content": {"title": "t", "image": "https://i", "link": "https://l"},
        "ttl": 60,
        "priority": "normal",
        "collapse_key": "k",
        "options": {"on_ambiguity": "drop", "class": "bulk"},
    }
    assert headers["Idempotency-Key"] == "once"


def test_send_to_all_needs_no_list(api: Fake):
    api.then(202, accepted())
    assert main(["send", "--all", "--title", "t", "--json"]) == Exit.OK
    assert api.asked[0][2]["to"] == {"all": True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--title", "t"], "not said to whom"),
        (["--all", "--user", "u", "--title", "t"], "everyone already"),
        (["--user", "u"], "nothing to send"),
        (["--user", "u", "--data", "x"], "name=value"),
        (["--user", "u", "--title", "t", "--ttl", "x"], "ttl"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_a_wrong_call_of_send_never_reaches_the_api(api: Fake, capsys, words: list[str], said: str):
    assert main(["send", *words]) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert api.asked == []


def test_send_and_watch_waits_for_every_outcome(api: Fake, capsys):
    api.then(202, accepted())
    api.then(200, at("running", HALF))
    api.then(200, at("completed", DONE))
    assert main(["send", "--user", "u1", "--title", "Hi", "--watch"]) == Exit.OK
    assert capsys.readouterr().out == f"{NOTIFICATION}  completed: 1 sent, 1 rejected\n"


def test_watch_under_json_is_a_line_a_change(api: Fake, capsys):
    for answer in (at("running", HALF), at("running", HALF), at("cancelled", DONE)):
        api.then(200, answer)
    assert main(["notifications", "watch", NOTIFICATION, "--json"]) == Exit.FAILED
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines] == ["running", "cancelled"]


def test_watch_bears_an_api_that_is_started_again(api: Fake, monkeypatch, capsys):
    monkeypatch.setattr(watching, "PATIENCE", 0.2)
    monkeypatch.setenv("TOCSIN_API_URL", "http://127.0.0.1:1")
    assert main(["notifications", "watch", NOTIFICATION]) == Exit.UNREACHABLE
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_a_notification_is_moved_by_its_verb(api: Fake, capsys, verb: str):
    api.then(202, {"id": NOTIFICATION, "status": "paused"})
    assert main(["notifications", verb, NOTIFICATION]) == Exit.OK
    assert api.asked[0][:2] == ("POST", f"/v1/notifications/{NOTIFICATION}/{verb}")
    assert capsys.readouterr().out == f"{NOTIFICATION}  paused\n"


def test_get_says_where_it_stands(api: Fake, capsys):
    api.then(200, at("accepted", dict.fromkeys(DONE, 0)))
    assert main(["notifications", "get", NOTIFICATION]) == Exit.OK
    assert capsys.readouterr().out == f"{NOTIFICATION}  accepted: no device yet\n"


def test_list_follows_the_cursor_as_far_as_it_was_asked(api: Fake, capsys):
    api.then(200, {"data": [at("completed", DONE)] * 100, "next_cursor": "c1"})
    api.then(200, {"data": [at("completed", DONE)] * 20, "next_cursor": "c2"})
    assert main(["notifications", "list", "--limit", "120", "--json"]) == Exit.OK
    assert len(json.loads(capsys.readouterr().out)["data"]) == 120
    assert [path for _, path, _, _ in api.asked] == [
        "/v1/notifications?limit=100",
        "/v1/notifications?limit=20&cursor=c1",
    ]


def test_a_table_in_a_pipe_shows_whole_ids(api: Fake, capsys):
    api.then(200, {"data": [at("completed", DONE)], "next_cursor": None})
    assert main(["notifications", "list"]) == Exit.OK
    assert NOTIFICATION in capsys.readouterr().out


def test_an_empty_list_says_so(api: Fake, capsys):
    api.then(200, {"data": [], "next_cursor": None})
    assert main(["notifications", "list"]) == Exit.OK
    assert capsys.readouterr().err == "Nothing was sent yet.\n"


def test_the_story_of_a_delivery_is_told_line_by_line(api: Fake, capsys):
    told = {"id": "dlv_1", "state": "sent", "code": "accepted", "story": [{"at": "T", "text": "fcm accepted it."}]}
    api.then(200, told)
    assert main(["deliveries", "show", "dlv_1"]) == Exit.OK
    assert capsys.readouterr().out == "dlv_1  sent (accepted)\n  T  fcm accepted it.\n"


def test_the_last_delivery_to_a_device_is_found_by_the_callers_id_of_it(api: Fake, capsys):
    api.then(200, {"data": [{"id": "dlv_9"}], "next_cursor": None})
    api.then(200, {"id": "dlv_9", "state": "sent", "code": "accepted", "story": []})
    assert main(["deliveries", "show", "--device", "phone 1"]) == Exit.OK
    assert [path for _, path, _, _ in api.asked] == [
        "/v1/deliveries?device=phone+1&limit=1",
        "/v1/deliveries/dlv_9",
    ]
    assert capsys.readouterr().out == "dlv_9  sent (accepted)\n"


def test_a_device_to_which_nothing_was_sent_has_no_story(api: Fake, capsys):
    api.then(200, {"data": [], "next_cursor": None})
    assert main(["deliveries", "show", "--device", "phone-1"]) == Exit.FAILED
    assert "Nothing that was sent to phone-1 has ended yet." in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["show"], ["show", "dlv_1", "--device", "d"], ["list"], ["list", "--device", "d", "--state", "sent"]],
)
def test_deliveries_are_asked_for_in_one_way_at_a_time(api: Fake, capsys, words):
    assert main(["deliveries", *words]) == Exit.USAGE
    assert api.asked == []


def test_deliveries_to_a_device_are_listed(api: Fake, capsys):
    row = {"id": "dlv_1", "device_id": "dev_1", "state": "sent", "code": "accepted", "attempts": 1}
    api.then(200, {"data": [row], "next_cursor": None})
    assert main(["deliveries", "list", "--device", "phone-1"]) == Exit.OK
    assert api.asked[0][1] == "/v1/deliveries?device=phone-1&limit=100"


def test_deliveries_are_filtered_by_state(api: Fake, capsys):
    row = {"id": "dlv_1", "device_id": "dev_1", "state": "rejected", "code": "unregistered", "attempts": 1}
    api.then(200, {"data": [row], "next_cursor": None})
    assert main(["deliveries", "list", NOTIFICATION, "--state", "rejected"]) == Exit.OK
    assert api.asked[0][1] == f"/v1/notifications/{NOTIFICATION}/deliveries?state=rejected&limit=100"
    assert "unregistered" in capsys.readouterr().out


PROBLEM = {
    "title": "A field is wrong.",
    "status": 422,
    "code": "invalid_field",
    "pointer": "/ttl",
    "detail": "It takes seconds.",
    "suggestion": "Send a number.",
    "request_id": "req_7",
}


def test_a_refusal_is_told_with_all_that_helps(api: Fake, capsys):
    api.then(422, PROBLEM)
    assert main(["send", "--user", "u", "--title", "t"]) == Exit.REFUSED
    assert capsys.readouterr().err == (
        "tocsin: A field is wrong.\n  It takes seconds.\n  at /ttl\n  request req_7\n  fix: Send a number.\n"
    )


def test_under_json_a_refusal_is_the_apis_own_problem(api: Fake, capsys):
    api.then(422, PROBLEM)
    assert main(["send", "--user", "u", "--title", "t", "--json"]) == Exit.REFUSED
    assert json.loads(capsys.readouterr().out) == PROBLEM


def test_an_answer_that_is_no_problem_is_shown_as_it_is(api: Fake, capsys):
    api.then(502, b"<html>bad gateway")
    assert main(["notifications", "get", NOTIFICATION]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "The API answered 502." in said
    assert "<html>bad gateway" in said
    assert "req_1" in said
    assert refused(500, "[]").problem == {
        "status": 500,
        "title": "The API answered 500.",
        "detail": "[]",
        "request_id": None,
    }


def test_an_api_that_is_not_there_has_an_exit_code_of_its_own(api: Fake, capsys):
    assert main(["notifications", "get", NOTIFICATION, "--api-url", "http://127.0.0.1:1", "--json"]) == Exit.UNREACHABLE
    assert json.loads(capsys.readouterr().out)["code"] == "unreachable"


def test_an_api_that_does_not_answer_is_as_good_as_not_there(api: Fake, monkeypatch, capsys):
    from tocsin.cli import client

    whole = client.connect
    monkeypatch.setattr(client, "connect", lambda where: whole(where, answer_within=0.05))
    with threading_silence() as url:
        assert main(["notifications", "get", NOTIFICATION, "--api-url", url]) == Exit.UNREACHABLE
    assert "cannot be reached" in capsys.readouterr().err


class threading_silence:  # noqa: N801 - reads as a context
    """A port that takes connections and never says a word."""

    def __enter__(self) -> str:
        import socket

        self.door = socket.create_server(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self.door.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.door.close()


def test_without_an_address_the_command_says_what_to_set(monkeypatch, tmp_path: Path, capsys):
    monkeypatch.delenv("TOCSIN_API_URL", raising=False)
    monkeypatch.delenv("TOCSIN_API_KEY", raising=False)
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path))
    assert main(["notifications", "list"]) == Exit.USAGE
    assert "TOCSIN_API_URL and TOCSIN_API_KEY" in capsys.readouterr().err


def test_beside_tocsin_dev_everything_is_known(api: Fake, monkeypatch, tmp_path: Path):
    import os

    monkeypatch.delenv("TOCSIN_API_URL")
    monkeypatch.delenv("TOCSIN_API_KEY")
    facts = {"api_url": api.url, "api_key": "tk_test_dev", "pid": os.getpid()}
    write_private(tmp_path / "dev.json", json.dumps(facts))
    assert (tmp_path / "dev.json").stat().st_mode & 0o777 == 0o600
    api.then(200, at("completed", DONE))
    assert main(["notifications", "get", NOTIFICATION]) == Exit.OK
    assert api.asked[0][3]["Authorization"] == "Bearer tk_test_dev"


@pytest.mark.parametrize("text", ["", "[]", '{"pid": "x"}', '{"pid": 4194399, "api_url": "http://x"}'])
def test_what_a_killed_dev_left_is_as_good_as_nothing(tmp_path: Path, text: str):
    (tmp_path / "dev.json").write_text(text)
    assert running(tmp_path) == {}


def test_a_process_of_somebody_else_is_alive():
    from tocsin.cli.running import alive

    assert alive(1)


def test_the_version_and_the_help_are_quick_to_say(capsys):
    assert main(["--version"]) == Exit.OK
    assert capsys.readouterr().out == f"tocsin {__version__}\n"
    assert main([]) == Exit.USAGE
    said = capsys.readouterr()
    for command in ("dev", "serve", "work", "keep", "lab", "send", "devices", "notifications", "deliveries", "doctor"):
        assert command in said.out + said.err


def test_help_imports_nothing_heavy():
    import subprocess
    import sys

    heavy = "aiohttp", "fastapi", "asyncpg", "uvicorn", "pydantic_settings", "alembic", "cryptography"
    code = f"import sys; from tocsin.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_endpoint_does_not_show_its_key():
    assert repr(Endpoint("http://x", "tk_test_secret")) == "Endpoint(http://x)"
