"""The contract of `Wire`, held against a server that can be told to misbehave."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from tests.contracts.certificates import Authority
from tests.contracts.h2_server import Answer, Cut, H2Server, Raw, Request, Reset, Session, Silence

from tocsin.wire.bounds import Bounds
from tocsin.wire.endings import Ambiguous, Answered, Call, Ending, Origin, Unsent, Wire
from tocsin.wire.engine import Engine
from tocsin.wire.fetch import fetch


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


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


# ------------------------------------------------------------------ answers


async def test_every_call_of_a_batch_is_answered_with_its_own_answer(authority: Authority) -> None:
    def echo(request: Request) -> Answer:
        return Answer(201, [(b"x-path", request.path)], request.body + b"!")

    async with H2Server(authority.context(), echo) as server, engine_for(authority) as engine:
        endings = await endings_of(engine, calls_to(server, 500))
        for number, ending in enumerate(endings):
            assert isinstance(ending, Answered)
            assert (ending.status, ending.body) == (201, b"hello!")
            assert ending.header(b"x-path") == b"/send/%d" % number
            assert ending.header(b"x-absent") is None
        assert set(acted_paths(server).values()) == {1}
        first = server.acted[0]
        assert first.headers[b":authority"] == b"localhost:%d" % server.port
        assert first.headers[b":scheme"] == b"https"
        assert first.headers[b"content-type"] == b"application/json"
        assert {request.headers[b"authorization"] for request in server.acted} == {b"Bearer " + b"x" * 120}


async def test_the_length_of_a_body_is_told_once_and_bodiless_methods_tell_none(authority: Authority) -> None:
    async with H2Server(authority.context()) as server, engine_for(authority) as engine:
        origin = Origin("localhost", server.port)
        await endings_of(
            engine,
            [
                Call(origin, b"POST", b"/a", (), b"four"),
                Call(origin, b"POST", b"/b", ((b"content-length", b"3"),), b"two"),
                Call(origin, b"POST", b"/c", (), b""),
                Call(origin, b"GET", b"/d", (), b""),
            ],
        )
        told = {request.path: request.repeats.get(b"content-length") for request in server.acted}
        assert told == {b"/a": [b"4"], b"/b": [b"3"], b"/c": [b"0"], b"/d": None}


async def test_informational_answers_trailers_and_padding_do_not_disturb_the_answer(authority: Authority) -> None:
    answer = Answer(200, [(b"x-a", b"b")], b"body" * 2000, early=(100, 103), trailers=[(b"x-late", b"1")], pad=200)
    async with H2Server(authority.context(), lambda _: answer) as server, engine_for(authority) as engine:
        for ending in await endings_of(engine, calls_to(server, 5)):
            assert isinstance(ending, Answered)
            assert (ending.status, ending.body, ending.header(b"x-late")) == (200, b"body" * 2000, None)


async def test_a_body_beyond_the_cap_is_cut_and_the_rest_refused(authority: Authority) -> None:
    answer = Answer(500, body=b"z" * 1_000_000)
    async with H2Server(authority.context(), lambda _: answer) as server, engine_for(authority) as engine:
        for ending in await endings_of(engine, calls_to(server, 10)):
            assert isinstance(ending, Answered)
            assert (ending.status, ending.body) == (500, b"z" * 65_536)
        await eventually(lambda: [code for _, code in server.resets] == [ErrorCodes.CANCEL] * 10)
        assert len(server.sessions) == 1


async def test_credit_is_given_back_for_more_answers_than_the_windows_hold(authority: Authority) -> None:
    answer = Answer(body=b"y" * 60_000)
    bounds = {"connection_window": 100_000, "stream_window": 20_000, "connections_per_origin": 1}
    async with H2Server(authority.context(), lambda _: answer) as server, engine_for(authority, **bounds) as engine:
        endings = await endings_of(engine, calls_to(server, 40))
        assert kinds(endings) == {"200": 40}
        assert all(isinstance(ending, Answered) and len(ending.body) == 60_000 for ending in endings)


async def test_a_redirect_is_an_answer_like_any_other(authority: Authority) -> None:
    away = Answer(302, [(b"location", b"https://169.254.169.254/latest/meta-data/")])
    async with H2Server(authority.context(), lambda _: away) as server, engine_for(authority) as engine:
        [ending] = await endings_of(engine, calls_to(server, 1))
        assert isinstance(ending, Answered)
        assert ending.status == 302
        assert len(server.acted) == 1


async def test_fetch_gives_the_one_ending(authority: Authority) -> None:
    async with (
        H2Server(authority.context(), lambda _: Answer(body=b"token")) as server,
        engine_for(authority) as engine,
    ):
        ending = await fetch(engine, calls_to(server, 1)[0])
        assert ending == Answered(200, [], b"token")


async def test_an_empty_batch_gives_no_chunk(authority: Authority) -> None:
    async with engine_for(authority) as engine:
        assert await endings_of(engine, []) == []


async def test_endings_come_in_chunks_while_the_slow_ones_are_waited_for(authority: Authority) -> None:
    def slow_last(request: Request) -> Answer:
        return Answer(after=1.4 if request.path == b"/send/9" else 0.0)

    async with H2Server(authority.context(), slow_last) as server, engine_for(authority) as engine:
        sizes = [len(chunk) async for chunk in engine.submit(calls_to(server, 10))]
        assert sizes == [9, 1]


# ------------------------------------------------------------------ streams and connections


async def test_the_peers_limit_of_streams_is_kept_and_more_connections_are_opened(authority: Authority) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 10}
    slow = Answer(after=0.05)
    async with H2Server(authority.context(), lambda _: slow, settings=settings) as server:
        async with engine_for(authority, connections_per_origin=4) as engine:
            assert kinds(await endings_of(engine, calls_to(server, 200))) == {"200": 200}
        assert server.most_streams <= 10
        assert len(server.sessions) == 4
        assert not server.refused


async def test_one_stream_at_a_time_still_sends_everything(authority: Authority) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    async with H2Server(authority.context(), settings=settings) as server:
        async with engine_for(authority, connections_per_origin=2) as engine:
            assert kinds(await endings_of(engine, calls_to(server, 60))) == {"200": 60}
        assert server.most_streams == 1


async def test_a_limit_that_changes_later_is_read_again(authority: Authority) -> None:
    def lower(request: Request) -> Answer:
        session = server.sessions[request.connection]
        if session.seen == 5:
            session.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
            session.most = 0
        return Answer(after=0.02)

    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 5}
    async with H2Server(authority.context(), lower, settings=settings) as server:
        async with engine_for(authority, connections_per_origin=1) as engine:
            await endings_of(engine, calls_to(server, 5))
            server.sessions[0].most = 0
            assert kinds(await endings_of(engine, calls_to(server, 10))) == {"200": 10}
        assert server.most_streams == 2


async def test_connections_are_used_again_by_the_next_batch(authority: Authority) -> None:
    async with H2Server(authority.context()) as server, engine_for(authority) as engine:
        for _ in range(3):
            await endings_of(engine, calls_to(server, 20))
        assert len(server.sessions) == 1


async def test_an_idle_connection_is_closed_and_the_next_batch_opens_another(authority: Authority) -> None:
    async with H2Server(authority.context()) as server, engine_for(authority, idle_after=0.2) as engine:
        await endings_of(engine, calls_to(server, 2))
        await asyncio.sleep(0.5)
        assert server.open_sessions == 0
        assert kinds(await endings_of(engine, calls_to(server, 2))) == {"200": 2}


async def test_a_connection_whose_stream_identifiers_are_used_up_is_replaced(authority: Authority) -> None:
    async with H2Server(authority.context()) as server, engine_for(authority, highest_stream_id=19) as engine:
        assert kinds(await endings_of(engine, calls_to(server, 35))) == {"200": 35}
        assert all(request.stream <= 19 for request in server.acted)
        assert len(server.sessions) >= 4


async def test_connections_of_all_origins_are_bounded_and_idle_ones_make_room(authority: Authority) -> None:
    async with (
        H2Server(authority.context()) as first,
        H2Server(authority.context()) as second,
        engine_for(authority, connections=1) as engine,
    ):
        assert kinds(await endings_of(engine, calls_to(first, 3))) == {"200": 3}
        assert kinds(await endings_of(engine, calls_to(second, 3))) == {"200": 3}
        both = calls_to(first, 5) + calls_to(second, 5)
        assert kinds(await endings_of(engine, both)) == {"200": 10}
        assert first.open_sessions + second.open_sessions <= 1


async def test_a_ping_is_answered(authority: Authority) -> None:
    def ping_first(request: Request) -> Answer:
        server.sessions[request.connection].h2.ping(b"12345678")
        return Answer(after=0.05)

    async with H2Server(authority.context(), ping_first) as server, engine_for(authority) as engine:
        await endings_of(engine, calls_to(server, 3))
        assert server.sessions[0].pings == 3


# ------------------------------------------------------------------ flow control of what is sent


async def test_bodies_larger_than_the_peers_windows_are_sent_as_credit_comes(authority: Authority) -> None:
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    bodies = [bytes([number]) * 30_000 for number in range(20)]
    async with H2Server(authority.context(), settings=settings) as server, engine_for(authority) as engine:
        origin = Origin("localhost", server.port)
        calls = [Call(origin, b"POST", b"/%d" % number, (), body) for number, body in enumerate(bodies)]
        assert kinds(await endings_of(engine, calls)) == {"200": 20}
        assert sorted(request.body for request in server.acted) == bodies


async def test_a_stalled_window_leaves_no_stream_stuck(authority: Authority) -> None:
    async with (
        H2Server(authority.context(), window=False) as server,
        engine_for(authority, connections_per_origin=1) as engine,
    ):
        calls = calls_to(server, 40, b"b" * 4000)
        endings = await endings_of(engine, calls, write_within=0.4, answer_within=0.8)
        assert set(kinds(endings)) == {"200", "ambiguous timed_out", "unsent late"}
        assert kinds(endings)["200"] == 65_535 // 4000
        paths = acted_paths(server)
        for call, ending in zip(calls, endings, strict=True):
            assert (call.path in paths) == isinstance(ending, Answered)
        server.window = True


async def test_a_window_that_is_opened_by_settings_lets_waiting_bodies_go(authority: Authority) -> None:
    def open_wide(session: Session) -> None:
        async def later() -> None:
            await asyncio.sleep(0.1)
            session.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 50_000})
            session.flush()

        tasks.append(asyncio.ensure_future(later()))

    tasks: list[asyncio.Future[None]] = []
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with H2Server(authority.context(), settings=settings, on_open=open_wide) as server:
        async with engine_for(authority) as engine:
            assert kinds(await endings_of(engine, calls_to(server, 5))) == {"200": 5}
        assert [request.body for request in server.acted] == [b"hello"] * 5
        await asyncio.gather(*tasks)


async def test_an_answer_before_the_whole_body_was_sent_counts_and_frees_the_stream(authority: Authority) -> None:
    def too_large(session: Session) -> None:
        taken = session.take

        def take(event: object) -> None:
            if type(event).__name__ == "RequestReceived":
                session.h2.send_headers(event.stream_id, [(b":status", b"413")], end_stream=True)  # type: ignore[attr-defined]
            taken(event)

        session.take = take  # type: ignore[method-assign]

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 100}
    async with (
        H2Server(authority.context(), settings=settings, window=False, on_open=too_large) as server,
        engine_for(authority) as engine,
    ):
        endings = await endings_of(engine, calls_to(server, 3, b"c" * 5000))
        assert kinds(endings) == {"413": 3}
        await eventually(lambda: [code for _, code in server.resets] == [ErrorCodes.NO_ERROR] * 3)
        assert len(server.sessions) == 1


async def test_a_reset_after_a_finished_answer_harms_no_other_stream(authority: Authority) -> None:
    answer = Answer(then_reset=True)
    async with H2Server(authority.context(), lambda _: answer) as server, engine_for(authority) as engine:
        assert kinds(await endings_of(engine, calls_to(server, 30))) == {"200": 30}
        assert len(server.sessions) == 1


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
