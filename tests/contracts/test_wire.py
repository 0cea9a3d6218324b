"""The contract of `Wire` with peers that behave: answers, streams, connections, flow control."""

import asyncio

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from tests.contracts.certificates import Authority
from tests.contracts.h2_server import Answer, H2Server, Request, Session
from tests.contracts.wire_calls import acted_paths, calls_to, endings_of, engine_for, eventually, kinds

from tocsin.wire.endings import Answered, Call, Origin
from tocsin.wire.fetch import fetch


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


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
