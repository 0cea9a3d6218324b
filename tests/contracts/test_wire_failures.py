"""The contract of `Wire` with peers that misbehave, stay away or fall silent, and with callers that give up."""

import asyncio
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from tests.contracts.certificates import Authority
from tests.contracts.h2_server import Answer, Cut, H2Server, Raw, Request, Reset, Session, Silence
from tests.contracts.wire_calls import acted_paths, calls_to, endings_of, engine_for, eventually, kinds

from tocsin.wire.endings import Ambiguous, Call, Origin, Unsent


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


# ------------------------------------------------------------------ GOAWAY, refusals, resets, cuts


@pytest.mark.parametrize("graceful", [False, True])
async def test_streams_beyond_a_goaway_go_another_way_and_those_below_go_on(
    authority: Authority, graceful: bool
) -> None:
    server = H2Server(authority.context(), lambda _: Answer(after=0.03), goaway_after=40, graceful=graceful)
    async with server, engine_for(authority) as engine:
        assert kinds(await endings_of(engine, calls_to(server, 500))) == {"200": 500}
        assert set(acted_paths(server).values()) == {1}
        assert len(server.sessions) >= 500 // 40


async def test_a_peer_that_only_says_goaway_ends_calls_unsent_before_their_time(authority: Authority) -> None:
    def away(session: Session) -> None:
        session.said_goaway = 0
        asyncio.get_running_loop().call_later(0.02, session.goaway, 0, ErrorCodes.ENHANCE_YOUR_CALM, b"calm\x07down")

    async with H2Server(authority.context(), on_open=away) as server, engine_for(authority) as engine:
        before = asyncio.get_running_loop().time()
        endings = await endings_of(engine, calls_to(server, 50))
        assert kinds(endings) == {"unsent goaway": 50}
        assert endings[0] == Unsent("goaway", f"localhost:{server.port} said GOAWAY (ENHANCE_YOUR_CALM): calmdown")
        assert asyncio.get_running_loop().time() - before < 1.5
        assert not server.acted


async def test_refused_streams_are_sent_again_and_never_called_ambiguous(authority: Authority) -> None:
    refused: set[bytes] = set()

    def first_refuse(request: Request) -> Answer | Reset:
        if request.path in refused:
            return Answer()
        refused.add(request.path)
        return Reset(ErrorCodes.REFUSED_STREAM)

    async with H2Server(authority.context(), first_refuse) as server, engine_for(authority) as engine:
        assert kinds(await endings_of(engine, calls_to(server, 100))) == {"200": 100}
        assert len(server.refused) == 100


async def test_a_call_that_is_always_refused_ends_unsent(authority: Authority) -> None:
    async with (
        H2Server(authority.context(), lambda _: Reset(ErrorCodes.REFUSED_STREAM)) as server,
        engine_for(authority, refusals=3) as engine,
    ):
        assert kinds(await endings_of(engine, calls_to(server, 10))) == {"unsent refused_stream": 10}
        assert len(server.refused) == 40
        assert not server.acted


@pytest.mark.parametrize("half", [False, True])
async def test_any_other_reset_is_ambiguous(authority: Authority, half: bool) -> None:
    def reset(request: Request) -> Answer | Reset:
        return Reset(ErrorCodes.INTERNAL_ERROR, half) if request.path.endswith(b"3") else Answer()

    async with H2Server(authority.context(), reset) as server, engine_for(authority) as engine:
        endings = await endings_of(engine, calls_to(server, 30))
        assert kinds(endings) == {"200": 27, "ambiguous cut_off": 3}
        assert isinstance(endings[3], Ambiguous)
        assert "INTERNAL_ERROR" in endings[3].detail
        assert ("after status 503" in endings[3].detail) == half


@pytest.mark.parametrize("half", [False, True])
async def test_a_connection_cut_after_the_request_makes_what_was_written_ambiguous(
    authority: Authority, half: bool
) -> None:
    def cut_once(request: Request) -> Answer | Cut | Silence:
        if request.connection > 0:
            return Answer()
        return Cut(half) if request.path == b"/send/20" else Silence()

    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 21}
    async with (
        H2Server(authority.context(), cut_once, settings=settings) as server,
        engine_for(authority, connections_per_origin=1) as engine,
    ):
        calls = calls_to(server, 60)
        endings = await endings_of(engine, calls)
        assert kinds(endings) == {"200": 39, "ambiguous cut_off": 21}
        assert set(acted_paths(server).values()) == {1}


async def test_silence_ends_as_timed_out_and_the_stream_is_given_up(authority: Authority) -> None:
    def silent(request: Request) -> Answer | Silence:
        return Silence() if request.path.endswith(b"7") else Answer()

    async with H2Server(authority.context(), silent) as server, engine_for(authority) as engine:
        endings = await endings_of(engine, calls_to(server, 30), answer_within=0.4)
        assert kinds(endings) == {"200": 27, "ambiguous timed_out": 3}
        assert kinds(await endings_of(engine, calls_to(server, 5))) == {"200": 5}
        await eventually(lambda: [code for _, code in server.resets] == [ErrorCodes.CANCEL] * 3)
        assert len(server.sessions) == 1


async def test_an_answer_that_comes_after_its_time_harms_nobody(authority: Authority) -> None:
    def late(request: Request) -> Answer:
        return Answer(body=b"late", after=0.3 if request.path == b"/send/0" else 0.0)

    async with H2Server(authority.context(), late) as server, engine_for(authority) as engine:
        endings = await endings_of(engine, calls_to(server, 2), write_within=0.2, answer_within=0.2)
        assert kinds(endings) == {"200": 1, "ambiguous timed_out": 1}
        await asyncio.sleep(0.2)
        assert kinds(await endings_of(engine, calls_to(server, 2)[1:])) == {"200": 1}
        assert len(server.sessions) == 1


async def test_a_connection_that_stays_dumb_for_a_whole_deadline_is_not_used_again(authority: Authority) -> None:
    def deaf(request: Request) -> Answer | Silence:
        return Answer() if request.connection or request.path == b"/warm" else Silence()

    async with H2Server(authority.context(), deaf) as server, engine_for(authority) as engine:
        await endings_of(engine, [Call(Origin("localhost", server.port), b"GET", b"/warm", (), b"")])
        assert kinds(await endings_of(engine, calls_to(server, 3), answer_within=0.3)) == {"ambiguous timed_out": 3}
        assert kinds(await endings_of(engine, calls_to(server, 3))) == {"200": 3}
        assert len(server.sessions) == 2


async def test_what_finds_no_stream_in_time_ends_unsent_and_was_never_seen(authority: Authority) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    async with (
        H2Server(authority.context(), lambda _: Silence(), settings=settings) as server,
        engine_for(authority, connections_per_origin=1) as engine,
    ):
        endings = await endings_of(engine, calls_to(server, 10), write_within=0.2, answer_within=0.5)
        assert kinds(endings) == {"ambiguous timed_out": 2, "unsent late": 8}
        assert len(server.acted) == 2


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another protocol"),
        pytest.param(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00short", id="a ping of the wrong size"),
        pytest.param(b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff", id="headers that cannot be decoded"),
        pytest.param(b"\x00\x00\x06\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02\x88\x88", id="a pushed stream"),
        pytest.param(b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82", id="an answer without a status"),
    ],
)
async def test_a_peer_that_breaks_the_protocol_makes_what_was_written_ambiguous(
    authority: Authority, octets: bytes
) -> None:
    async with H2Server(authority.context(), lambda _: Raw(octets)) as server, engine_for(authority) as engine:
        [ending] = await endings_of(engine, calls_to(server, 1))
        assert isinstance(ending, Ambiguous)
        assert ending.code == "cut_off"


async def test_an_answer_with_a_status_that_is_no_number_is_ambiguous(authority: Authority) -> None:
    block = b"\x08\x03abc"  # literal :status
    octets = b"\x00\x00\x05\x01\x05\x00\x00\x00\x01" + block
    async with H2Server(authority.context(), lambda _: Raw(octets)) as server, engine_for(authority) as engine:
        [ending] = await endings_of(engine, calls_to(server, 1))
        assert isinstance(ending, Ambiguous)
        assert "status" in ending.detail


async def test_headers_beyond_the_cap_end_the_connection(authority: Authority) -> None:
    answer = Answer(headers=[(b"x-%d" % number, b"v" * 1000) for number in range(80)])
    async with H2Server(authority.context(), lambda _: answer) as server, engine_for(authority) as engine:
        assert kinds(await endings_of(engine, calls_to(server, 1))) == {"ambiguous cut_off": 1}


# ------------------------------------------------------------------ no connection


async def test_a_port_where_nobody_listens_ends_calls_soon_and_says_so(authority: Authority) -> None:
    async with H2Server(authority.context()) as server:
        port = server.port
    async with engine_for(authority) as engine:
        before = asyncio.get_running_loop().time()
        calls = [Call(Origin("127.0.0.1", port), b"POST", b"/", (), b"") for _ in range(20)]
        endings = await endings_of(engine, calls)
        assert kinds(endings) == {"unsent no_connection": 20}
        assert endings[0] == Unsent("no_connection", f"127.0.0.1:{port} refused the connection")
        assert asyncio.get_running_loop().time() - before < 1.0


async def test_calls_wait_for_a_peer_that_comes_back_in_time(authority: Authority) -> None:
    server = H2Server(authority.context())
    async with server:
        pass
    async with engine_for(authority, attempts=50) as engine:
        batch = asyncio.ensure_future(endings_of(engine, calls_to(server, 10)))
        await asyncio.sleep(0.3)
        async with server:
            assert kinds(await batch) == {"200": 10}


async def test_a_peer_that_takes_no_connection_in_time_ends_calls_unsent(authority: Authority) -> None:
    deaf = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    held: list[asyncio.StreamWriter] = []
    port = deaf.sockets[0].getsockname()[1]
    calls = [Call(Origin("127.0.0.1", port), b"GET", b"/", (), b"")]
    async with engine_for(authority) as engine:
        [ending] = await endings_of(engine, calls, write_within=0.2)
        assert ending == Unsent("no_connection", f"127.0.0.1:{port} did not take a connection in time")
    async with engine_for(authority, connect_within=0.1, attempts=1) as engine:
        [ending] = await endings_of(engine, calls)
        assert ending == Unsent("no_connection", f"127.0.0.1:{port} did not take the connection in time")
    for writer in held:
        writer.close()
    deaf.close()


async def test_a_peer_that_never_greets_ends_calls_unsent(authority: Authority) -> None:
    async with (
        H2Server(authority.context(), mute=True) as server,
        engine_for(authority, connect_within=0.1) as engine,
    ):
        assert kinds(await endings_of(engine, calls_to(server, 4))) == {"unsent no_connection": 4}


async def test_a_peer_that_greets_and_hangs_up_ends_calls_unsent(authority: Authority) -> None:
    def hang_up(session: Session) -> None:
        session.flush()
        session.transport.close()

    async with H2Server(authority.context(), on_open=hang_up) as server, engine_for(authority) as engine:
        assert kinds(await endings_of(engine, calls_to(server, 4))) == {"unsent no_connection": 4}
        assert not server.acted


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"alpn": ("http/1.1",)}, "HTTP/2"),
        ({"names": ("elsewhere.example",)}, "certificate"),
        ({"expired": True}, "expired"),
    ],
)
async def test_a_peer_that_cannot_be_mended_by_trying_ends_calls_at_once(
    authority: Authority, fault: dict[str, object], word: str
) -> None:
    async with H2Server(authority.context(**fault)) as server, engine_for(authority) as engine:  # type: ignore[arg-type]
        endings = await endings_of(engine, calls_to(server, 3))
        again = await endings_of(engine, calls_to(server, 1))
        assert kinds(endings + again) == {"unsent no_connection": 4}
        assert word in str(endings[0])
        assert len(server.sessions) <= 1


async def test_a_peer_of_an_unknown_authority_gets_nothing(authority: Authority, tmp_path: Path) -> None:
    other = Authority.make(tmp_path)
    async with H2Server(other.context()) as server, engine_for(authority) as engine:
        [ending] = await endings_of(engine, calls_to(server, 1))
        assert isinstance(ending, Unsent)
        assert "certificate" in ending.detail
        assert not server.acted


async def test_a_name_that_cannot_be_one_ends_its_calls_and_no_others(authority: Authority) -> None:
    async with H2Server(authority.context()) as server, engine_for(authority) as engine:
        calls = [Call(Origin("a" * 70 + ".example"), b"GET", b"/", (), b""), *calls_to(server, 2)]
        assert kinds(await endings_of(engine, calls)) == {"unsent no_connection": 1, "200": 2}


async def test_calls_whose_time_passed_are_not_ended_again_when_the_dial_fails(authority: Authority) -> None:
    async with (
        H2Server(authority.context(), mute=True) as server,
        engine_for(authority, connect_within=0.3, attempts=1) as engine,
    ):
        first = asyncio.ensure_future(endings_of(engine, calls_to(server, 2)))
        second = asyncio.ensure_future(endings_of(engine, calls_to(server, 2), write_within=0.1))
        assert kinds(await first + await second) == {"unsent no_connection": 4}


async def test_a_peer_that_says_goaway_with_its_greeting_ends_calls_unsent(authority: Authority) -> None:
    async with (
        H2Server(authority.context(), on_open=lambda session: session.goaway(0)) as server,
        engine_for(authority) as engine,
    ):
        endings = await endings_of(engine, calls_to(server, 3))
        assert kinds(endings) == {"unsent no_connection": 3}
        assert "sent the connection away at once" in str(endings[0])


# ------------------------------------------------------------------ giving up and closing


async def test_closing_ends_what_is_in_flight_as_ambiguous_and_what_waits_as_unsent(authority: Authority) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 3}
    async with (
        H2Server(authority.context(), lambda _: Silence(), settings=settings) as server,
        engine_for(authority, connections_per_origin=1) as engine,
    ):
        batch = asyncio.ensure_future(endings_of(engine, calls_to(server, 10)))
        while len(server.acted) < 3:
            await asyncio.sleep(0.01)
        await engine.close()
        assert kinds(await batch) == {"ambiguous cut_off": 3, "unsent no_connection": 7}
        after = await endings_of(engine, calls_to(server, 2))
        assert after == [Unsent("no_connection", "the engine was closed")] * 2


async def test_closing_while_dialling_ends_calls_unsent(authority: Authority) -> None:
    async with H2Server(authority.context(), mute=True) as server, engine_for(authority) as engine:
        batch = asyncio.ensure_future(endings_of(engine, calls_to(server, 3)))
        await asyncio.sleep(0.1)
        await engine.close()
        assert kinds(await batch) == {"unsent no_connection": 3}


async def test_a_batch_nobody_listens_to_any_more_sends_nothing_further(authority: Authority) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    async with (
        H2Server(authority.context(), lambda _: Answer(after=0.7), settings=settings) as server,
        engine_for(authority, connections_per_origin=1) as engine,
    ):
        chunks = engine.submit(calls_to(server, 10))
        async for _ in chunks:
            break
        await chunks.aclose()
        sent = len(server.acted)
        await asyncio.sleep(0.8)
        assert len(server.acted) == sent
        assert kinds(await endings_of(engine, calls_to(server, 1))) == {"200": 1}
