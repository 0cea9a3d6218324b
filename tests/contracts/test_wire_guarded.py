"""Guarded origins through the engine: what is forbidden gets no connection, what is pinned gets exactly that one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.certificates import Authority
from tests.contracts.h2_server import H2Server

from tocsin.wire.bounds import Bounds
from tocsin.wire.endings import Answered, Call, Origin, Unsent
from tocsin.wire.engine import Engine
from tocsin.wire.fetch import fetch
from tocsin.wire.guard import resolve

PUSH = Call(Origin("push.example.com", guarded=True), b"POST", b"/x", ((b"ttl", b"60"),), b"body")


class Resolver:
    """Answers by a script, the last answer for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """Every connection the loop is asked for: (address, port, name for TLS); none is made."""
    asked: list[tuple[str, int, str]] = []

    async def refuse(_self: Any, _factory: Any, host: str, port: int, *, ssl: Any, server_hostname: str) -> None:
        asked.append((host, port, server_hostname))
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", refuse)
    return asked


async def test_a_connection_goes_to_the_checked_address_under_the_name(dialled: list[tuple[str, int, str]]) -> None:
    resolver = Resolver(["93.184.215.14", "2606:4700::1111"])
    engine = Engine(resolver=resolver, bounds=Bounds(attempts=1))
    ending = await fetch(engine, PUSH)
    await engine.close()
    assert ending == Unsent("no_connection", "push.example.com refused the connection")
    assert dialled == [
        ("93.184.215.14", 443, "push.example.com"),
        ("2606:4700::1111", 443, "push.example.com"),
    ]
    assert resolver.asked == 1


async def test_a_name_that_flips_to_a_private_address_is_never_dialled_there(
    dialled: list[tuple[str, int, str]],
) -> None:
    resolver = Resolver(["93.184.215.14"], ["169.254.169.254"])
    engine = Engine(resolver=resolver)
    ending = await fetch(engine, PUSH)
    await engine.close()
    assert isinstance(ending, Unsent)
    assert ending.code == "forbidden_address"
    assert dialled == [("93.184.215.14", 443, "push.example.com")]
    assert resolver.asked == 2


@pytest.mark.parametrize(
    "origin",
    [
        Origin("127.0.0.1", guarded=True),
        Origin("localhost", guarded=True),
        Origin("::1", guarded=True),
        Origin("2130706433", guarded=True),
        Origin("push.example.com", 8080, guarded=True),
        Origin("push.example.com", guarded=True),
    ],
)
async def test_a_forbidden_origin_gets_no_connection(origin: Origin, dialled: list[tuple[str, int, str]]) -> None:
    engine = Engine(resolver=Resolver(["10.0.0.1"]))
    endings = [await fetch(engine, PUSH._replace(origin=origin)) for _ in range(2)]
    await engine.close()
    assert all(isinstance(ending, Unsent) and ending.code == "forbidden_address" for ending in endings)
    assert dialled == []


async def test_a_trusted_origin_is_reached_although_it_is_guarded(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    async with H2Server(authority.context()) as server:
        origin = Origin("localhost", server.port, guarded=True)
        trusting = Engine(ca_file=authority.ca_file, trusted=frozenset({("localhost", server.port)}))
        strict = Engine(ca_file=authority.ca_file)
        assert isinstance(await fetch(trusting, PUSH._replace(origin=origin)), Answered)
        refused = await fetch(strict, PUSH._replace(origin=origin))
        assert refused == Unsent("forbidden_address", f"port {server.port} may not be called; only 443 may")
        await trusting.close()
        await strict.close()
        assert len(server.acted) == 1
        assert server.acted[0].headers[b":authority"] == b"localhost:%d" % server.port


async def test_the_system_is_asked_for_the_addresses_of_a_name() -> None:
    assert set(await resolve("localhost", 443)) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        await resolve("", 443)
