"""What the suites of `Wire` share: engines that close themselves, calls, and endings counted by kind."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.contracts.certificates import Authority
from tests.contracts.h2_server import H2Server

from tocsin.wire.bounds import Bounds
from tocsin.wire.endings import Answered, Call, Ending, Origin, Wire
from tocsin.wire.engine import Engine


@asynccontextmanager
async def engine_for(authority: Authority, **bounds: object) -> AsyncIterator[Engine]:
    engine = Engine(ca_file=authority.ca_file, bounds=replace(Bounds(), **bounds))  # type: ignore[arg-type]
    try:
        yield engine
    finally:
        await engine.close()


def calls_to(server: H2Server, count: int, body: bytes = b"hello") -> list[Call]:
    origin = Origin("localhost", server.port)
    headers = ((b"authorization", b"Bearer " + b"x" * 120), (b"content-type", b"application/json"))
    return [Call(origin, b"POST", b"/send/%d" % number, headers, body) for number in range(count)]


async def endings_of(
    wire: Wire, calls: Sequence[Call], *, write_within: float = 15.0, answer_within: float = 20.0
) -> list[Ending]:
    """All endings in the order of the calls; fails if an index comes twice or not at all."""
    found: dict[int, Ending] = {}
    async for chunk in wire.submit(calls, write_within=write_within, answer_within=answer_within):
        assert chunk, "a chunk has at least one ending"
        for index, ending in chunk:
            assert index not in found, "each index is given once"
            found[index] = ending
    assert sorted(found) == list(range(len(calls)))
    return [found[index] for index in range(len(calls))]


def kinds(endings: Sequence[Ending]) -> Counter[str]:
    return Counter(
        str(ending.status) if isinstance(ending, Answered) else f"{type(ending).__name__.lower()} {ending.code}"
        for ending in endings
    )


def acted_paths(server: H2Server) -> Counter[bytes]:
    return Counter(request.path for request in server.acted)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what the server learns a moment later; fails after two seconds."""
    async with asyncio.timeout(2):
        while not condition():
            await asyncio.sleep(0.005)
