"""The frame: ids of requests, faults of ours as problems, health, streams, the log and the API's own description."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from tests.contracts.api import Reply, serving, world

from tocsin.storage import Unavailable
from tocsin.terms import ids
from tocsin.terms.errors import TABLE
from tocsin.terms.outcomes import Mode
from tocsin.web import Caller, create, door, health, streaming
from tocsin.web import bodies as bodies_module
from tocsin.web import doorway as doorway_module
from tocsin.web.bodies import octets

ME = Caller(ids.new(), ids.new(), Mode.TEST, "key1")


async def everybody(_):
    return ME


class Door:
    """Calls what is served, by HTTP or octet by octet."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def __call__(self, method, path, **more):
        async with self.session.request(method, path, **more) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def first_line(self, octets: bytes) -> bytes:
        """Write octets and wait for the first line of the answer."""
        base = self.session._base_url
        assert base is not None
        reader, writer = await asyncio.open_connection(base.host, base.port)
        try:
            writer.write(octets)
            async with asyncio.timeout(5):
                return await reader.readline()
        finally:
            writer.close()
            await writer.wait_closed()

    async def leave(self, octets: bytes) -> None:
        """Write octets and close the connection before any answer."""
        base = self.session._base_url
        assert base is not None
        _, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(octets)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def served(*routers, **options):
    app = create(routers, authenticator=everybody, **options)
    async with serving(app) as url, aiohttp.ClientSession(url) as session:
        yield Door(session)


def room(endpoint, method="POST"):
    router = door("room")
    router.add_api_route("/room", endpoint, methods=[method])
    return router


async def test_a_defect_is_a_problem_that_tells_nothing_of_it():
    async def break_down() -> Response:
        raise RuntimeError("a canary that must never be seen")

    with structlog.testing.capture_logs() as logs:
        async with served(room(break_down, "GET")) as call:
            reply = await call("GET", "/room")
    assert (reply.status, reply.json["code"], reply.json["retryable"]) == (500, "internal", True)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert b"canary" not in reply.body
    failed, request = logs
    assert (failed["log_level"], failed["request_id"], failed["operation"]) == (
        "error",
        reply.json["request_id"],
        "GET /room",
    )
    assert failed["exc_info"]
    assert request["status"] == 500


async def test_a_database_that_is_away_is_503_and_says_when_to_come_again():
    async def ask() -> Response:
        raise Unavailable("connection refused at 10.0.0.1")

    async with served(room(ask, "GET")) as call:
        reply = await call("GET", "/room")
    assert (reply.status, reply.json["code"], reply.json["retryable"]) == (503, "database_unavailable", True)
    assert int(reply.headers["Retry-After"]) > 0
    assert b"10.0.0.1" not in reply.body


async def test_half_an_answer_is_cut_off_so_that_nobody_takes_it_for_a_whole_one():
    async def pieces():
        yield b"half"
        raise RuntimeError("gone")

    async def stream() -> Response:
        return StreamingResponse(pieces(), media_type="text/plain")

    with structlog.testing.capture_logs() as logs:
        async with served(room(stream, "GET")) as call:
            with pytest.raises(aiohttp.ClientError):
                await call("GET", "/room")
    assert [(each["event"], each["log_level"]) for each in logs] == [("request failed", "error"), ("request", "info")]


async def test_a_stream_is_read_beyond_the_cap_in_constant_memory():
    @streaming
    async def count(request: Request) -> Response:
        total, largest = 0, 0
        async for piece in request.stream():
            total, largest = total + len(piece), max(largest, len(piece))
        return Response(json.dumps([total, largest]))

    async def pieces():
        for _ in range(200):
            yield b"x" * 10_000

    async with served(room(count), body_limit=1000) as call:
        total, largest = (await call("POST", "/room", data=pieces())).json
    assert total == 2_000_000
    assert largest <= 256 * 1024


def reader():
    async def read(request: Request) -> Response:
        return Response(str(len(await octets(request))))

    return room(read)


async def test_a_caller_that_waits_to_be_asked_for_a_large_body_is_not_asked():
    async with served(reader(), body_limit=1000) as call:
        line = await call.first_line(
            b"POST /room HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n"
        )
    assert line.startswith(b"HTTP/1.1 413")


async def test_a_body_that_is_far_too_large_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(doorway_module, "DRAINED_WITHIN", 0.1)
    async with served(reader(), body_limit=1000) as call:
        line = await call.first_line(b"POST /room HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nx")
    assert line.startswith(b"HTTP/1.1 413")


async def test_a_body_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr(bodies_module, "READ_WITHIN", 0.05)
    async with served(reader()) as call:
        line = await call.first_line(b"POST /room HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    assert line.startswith(b"HTTP/1.1 408")


async def test_a_caller_that_leaves_is_no_fault_of_ours():
    with structlog.testing.capture_logs() as logs:
        async with served(reader()) as call:
            await call.leave(b"POST /room HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
            async with asyncio.timeout(5):
                while not logs:
                    await asyncio.sleep(0.01)
    (request,) = logs
    assert (request["event"], request["status"], request["log_level"]) == ("request", 499, "info")


async def test_other_scopes_than_http_pass_the_doorway_untouched():
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope["type"])

    async def receive():
        return {}

    async def send(_):
        raise AssertionError("nobody answers here")

    await doorway_module.Doorway(inner, body_limit=1)({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan"]


# ---------------------------------------------------------------------- health


async def test_a_living_process_says_so_and_a_ready_one_lists_its_checks():
    async def well():
        return None

    async with served(health.routes({"database": well, "keeper": well})) as call:
        assert (await call("GET", "/livez")).json == {"status": "ok"}
        reply = await call("GET", "/readyz")
    assert reply.status == 200
    assert reply.json == {
        "status": "ready",
        "checks": [{"name": name, "ok": True, "reason": None} for name in ("database", "keeper")],
    }


async def test_a_process_that_is_not_ready_says_why_and_still_lives(monkeypatch):
    monkeypatch.setattr(health, "PROBE_WITHIN", 0.05)

    async def well():
        return None

    async def late():
        return "the keeper last looked 40 s ago"

    async def broken():
        raise Unavailable("secret address")

    async def hangs():
        await asyncio.sleep(60)

    probes = {"well": well, "keeper": late, "database": broken, "lane": hangs}
    async with served(health.routes(probes)) as call:
        reply = await call("GET", "/readyz")
        assert (await call("GET", "/livez")).status == 200
    assert (reply.status, reply.json["code"]) == (503, "unavailable")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert [check["ok"] for check in reply.json["checks"]] == [True, False, False, False]
    assert "the keeper last looked 40 s ago" in reply.json["detail"]
    assert b"secret address" not in reply.body


# ---------------------------------------------------------------------- log and description


@pytest.fixture
async def api(database, tmp_path):
    async with world(database, tmp_path) as made:
        yield made


async def test_the_log_says_who_what_and_how_long_and_nothing_personal(api):
    with structlog.testing.capture_logs() as logs:
        await api.me.device("a-telling-name", "a-telling-user")
        await api.me.get("/v1/devices/a-telling-name?x=a-telling-query")
        await api.me.get("/v1/nothing/a-telling-path")
    registered, refused, nowhere = logs
    assert registered["operation"] == "PUT /v1/devices/{external_id}"
    assert registered["status"] == 201
    assert registered["app"] == ids.show(ids.APP, api.me.app_id)
    assert registered["ms"] > 0
    assert refused["status"] == 422
    assert (nowhere["operation"], nowhere["status"]) == ("GET -", 404)
    text = json.dumps(logs)
    assert "telling" not in text
    assert api.me.key not in text


async def test_the_api_describes_itself_as_openapi_3_1(api):
    reply = await api.me.get("/openapi.json", headers={"Authorization": None})
    assert reply.status == 200
    document = reply.json
    assert document["openapi"] == "3.1.0"
    seen = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            assert operation["tags"], where
            assert operation["operationId"] not in seen, where
            seen.add(operation["operationId"])
            assert "422" not in operation["responses"], where
            for status in ("4XX", "5XX"):
                content = operation["responses"][status]["content"]
                assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
            if method == "post" and not path.endswith("/import"):
                names = {each["name"].lower() for each in operation.get("parameters", ())}
                assert "idempotency-key" in names, where
    text = json.dumps(document)
    for name in _references(document):
        assert name in document["components"]["schemas"], name
    assert "$defs" not in text
    request = document["components"]["schemas"]["NotificationRequest"]
    assert request["additionalProperties"] is False
    assert request["required"] == ["to", "content"]


def _references(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner.removeprefix("#/components/schemas/")
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_every_row_of_the_table_is_whole():
    for row in TABLE.values():
        assert row.code == row.code.lower()
        assert row.gloss.endswith(".")
        assert row.fix.endswith(".")
        assert row.label == row.code
        assert row.status == 0 or 400 <= row.status < 600
        assert not (row.status in (400, 401, 404, 405, 413, 415, 422) and row.retryable)
