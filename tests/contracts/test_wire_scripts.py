"""Whatever a peer does, every call ends exactly once, and an ending never claims more than is true."""

import asyncio
import random
from dataclasses import replace

import pytest
import uvloop
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.certificates import Authority
from tests.contracts.h2_server import Answer, Cut, H2Server, Raw, Reaction, Request, Reset, Silence

from tocsin.wire.bounds import Bounds
from tocsin.wire.endings import Ambiguous, Answered, Call, Ending, Origin, Unsent
from tocsin.wire.engine import Engine

REACTIONS = st.sampled_from(
    [
        Answer(),
        Answer(404, body=b"gone" * 500, trailers=[(b"x", b"y")], early=(103,)),
        Answer(after=0.03),
        Answer(after=0.9),
        Answer(body=b"b" * 100_000, pad=9),
        Answer(then_reset=True),
        Silence(),
        Cut(),
        Cut(half=True),
        Reset(ErrorCodes.REFUSED_STREAM),
        Reset(ErrorCodes.INTERNAL_ERROR),
        Reset(ErrorCodes.CANCEL, half=True),
        Raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00short"),
        Raw(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
    ]
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


async def run(
    authority: Authority, reactions: list[Reaction], peer: dict[SettingCodes, int], goaway: int | None, graceful: bool
) -> None:
    dice = random.Random(len(reactions))

    def react(request: Request) -> Reaction:
        return reactions[int(request.path[1:]) % len(reactions)] if dice.random() < 0.7 else Answer()

    server = H2Server(authority.context(), react, settings=peer, goaway_after=goaway, graceful=graceful)
    engine = Engine(ca_file=authority.ca_file, bounds=replace(Bounds(), connections_per_origin=3))
    async with server:
        origin = Origin("localhost", server.port)
        calls = [Call(origin, b"POST", b"/%d" % number, ((b"ttl", b"5"),), b"x" * 3000) for number in range(60)]
        endings: dict[int, Ending] = {}
        async for chunk in engine.submit(calls, write_within=0.3, answer_within=0.5):
            for index, ending in chunk:
                assert index not in endings, "no call ends twice"
                endings[index] = ending
        assert sorted(endings) == list(range(len(calls))), "every call ends"
        await engine.close()
        acted = [int(request.path[1:]) for request in server.acted]
        assert len(acted) == len(set(acted)), "no call is acted on twice"
        for index, ending in endings.items():
            match ending:
                case Answered():
                    assert index in acted
                    assert ending.status in (200, 404)
                case Ambiguous():
                    assert ending.code in ("cut_off", "timed_out")
                case Unsent():
                    assert index not in acted, f"unsent, but the peer acted on it: {ending}"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    reactions=st.lists(REACTIONS, min_size=1, max_size=6),
    streams=st.sampled_from([1, 3, 100]),
    window=st.sampled_from([0, 100, 2999, 65_535]),
    goaway=st.sampled_from([None, 1, 7]),
    graceful=st.booleans(),
    on_uvloop=st.booleans(),
)
def test_every_call_ends_once_and_truthfully_whatever_the_peer_does(
    authority: Authority,
    reactions: list[Reaction],
    streams: int,
    window: int,
    goaway: int | None,
    graceful: bool,
    on_uvloop: bool,
) -> None:
    peer = {SettingCodes.MAX_CONCURRENT_STREAMS: streams, SettingCodes.INITIAL_WINDOW_SIZE: window}
    factory = uvloop.new_event_loop if on_uvloop else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run(authority, reactions, peer, goaway, graceful))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(octets=st.binary(min_size=1, max_size=200), as_frames=st.booleans())
def test_arbitrary_octets_from_the_peer_end_the_call_and_nothing_else(
    authority: Authority, octets: bytes, as_frames: bool
) -> None:
    if as_frames:
        kind, flags, rest = octets[0] % 11, octets[-1], octets[1:]
        octets = len(rest).to_bytes(3, "big") + bytes([kind, flags]) + (3).to_bytes(4, "big") + rest

    async def send() -> None:
        engine = Engine(ca_file=authority.ca_file)
        reactions: list[Reaction] = [Answer(), Raw(octets)]
        async with H2Server(authority.context(), lambda _: reactions.pop(0) if reactions else Silence()) as server:
            calls = [Call(Origin("localhost", server.port), b"GET", b"/", (), b"")]
            assert [pair async for chunk in engine.submit(calls) for pair in chunk] == [(0, Answered(200, [], b""))]
            found = [pair async for chunk in engine.submit(calls, answer_within=0.15) for pair in chunk]
            assert [index for index, _ in found] == [0]
            # Only the two frames that promise it may make a written call unsent.
            assert not isinstance(found[0][1], Unsent) or found[0][1].code in ("refused_stream", "goaway")
            await engine.close()

    uvloop.run(send())
