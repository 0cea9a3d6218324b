"""What a connection does when its client stops reading, gives up or breaks off: judged on the octets alone."""

import asyncio

import h2.connection
import h2.events
import pytest

from tocsin.lab.exchange import Answer, Ending, Reply
from tocsin.lab.over_h1 import OverH1
from tocsin.lab.over_h2 import OverH2
from tocsin.lab.timers import Timers
from tocsin.lab.webpush.socket import BrowserSocket

POST = [(":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", "/p?q=1")]
OK = Reply(Ending.ANSWERED, Answer(200, (), b"yes"))


class Wire(asyncio.Transport):
    """A transport that keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.octets, self.told = b"", []

    def write(self, data):
        self.octets += bytes(data)

    def __getattribute__(self, name):
        if name in ("close", "abort", "pause_reading", "resume_reading"):
            return lambda: self.told.append(name)
        return super().__getattribute__(name)

    def set_protocol(self, protocol):
        self.told.append("set_protocol")


class Side:
    """A connection under test, its wire and a client's h2 state."""

    def __init__(self, kind, reply=OK):
        self.requests, self.settled, self.wire = [], 0, Wire()
        self.timers = Timers(asyncio.get_running_loop())
        self.connection = kind("c-1", self.handle, self.settle, self.timers)
        self.reply = reply
        self.connection.connection_made(self.wire)
        self.client = h2.connection.H2Connection()
        self.client.initiate_connection()

    def handle(self, request):
        self.requests.append(request)
        return self.reply

    def settle(self):
        self.settled += 1

    def post(self, body=b"", end=True):
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, POST, end_stream=end and not body)
        if body:
            self.client.send_data(stream, body, end_stream=end)
        return stream

    def carry(self):
        """Client to lab and back; gives what the client learned."""
        self.connection.data_received(self.client.data_to_send())
        octets, self.wire.octets = self.wire.octets, b""
        return self.client.receive_data(octets)


@pytest.fixture
def h2_side():
    return lambda reply=OK: Side(OverH2, reply)


async def test_a_client_that_does_not_read_is_not_read_from(h2_side):
    side = h2_side()
    side.connection.pause_writing()
    side.connection.resume_writing()
    assert side.wire.told == ["pause_reading", "resume_reading"]


async def test_a_stream_given_up_in_the_same_read_is_harmless_however_it_was_to_end(h2_side):
    for reply in (OK, Reply(Ending.REFUSED), Reply(Ending.GOAWAY)):
        side = h2_side(reply)
        stream = side.post(b"x")
        side.client.reset_stream(stream)
        side.carry()
        await asyncio.sleep(0.01)
        assert len(side.requests) == 1, "it had arrived whole"
        assert side.settled == 1


async def test_the_ledger_is_settled_before_the_answer_is_on_the_wire(h2_side):
    side = h2_side()
    side.post()
    events = side.carry()
    assert side.settled == 1
    assert not any(isinstance(event, h2.events.ResponseReceived) for event in events)
    await asyncio.sleep(0.01)
    events = side.client.receive_data(side.wire.octets)
    assert [event.data for event in events if isinstance(event, h2.events.DataReceived)] == [b"yes"]
    (request,) = side.requests
    assert (request.method, request.path, request.query, request.connection) == ("POST", "/p", "q=1", "c-1")


async def test_an_answer_for_a_client_that_left_is_dropped(h2_side):
    side = h2_side()
    side.post()
    side.carry()
    side.connection.connection_lost(None)
    side.connection.pause_writing()
    side.connection.resume_writing()
    await asyncio.sleep(0.01)
    assert (side.wire.octets, side.wire.told) == (b"", [])


async def test_a_client_that_says_goaway_is_let_go(h2_side):
    side = h2_side()
    side.client.close_connection()
    side.connection.data_received(side.client.data_to_send())
    assert side.wire.told == ["close"]


async def test_after_a_goaway_an_unfinished_earlier_stream_is_served_and_a_later_one_is_not(h2_side):
    side = h2_side(Reply(Ending.ANSWERED, Answer(200, (), b"x" * 100_000)))
    first, unfinished = side.post(), side.post(b"a", end=False)
    side.carry()
    late_first = side.post()
    side.carry()
    side.reply = Reply(Ending.GOAWAY)
    later = side.post()
    half = side.post(b"a", end=False)
    side.connection.data_received(side.client.data_to_send())
    assert b"\x07" in side.wire.octets, "a GOAWAY frame"
    side.reply = OK
    side.client.send_data(half, b"b", end_stream=True)
    side.client.send_data(unfinished, b"b", end_stream=True)
    beyond = side.post()
    side.connection.data_received(side.client.data_to_send())
    assert len(side.requests) == 4, "first, late_first, the one refused, and the one that was under way"
    assert (first, unfinished, late_first, later, half, beyond) == (1, 3, 5, 7, 9, 11)
    assert side.wire.told == [], "answers are still owed"


async def test_a_second_goaway_is_not_said(h2_side):
    side = h2_side(Reply(Ending.GOAWAY))
    side.post()
    side.post()
    side.connection.data_received(side.client.data_to_send())
    await asyncio.sleep(0.01)
    assert side.wire.told == ["close"], "said once, and nothing was owed"


async def test_much_data_opens_the_connections_window_again(h2_side):
    side = h2_side()
    side.carry()
    for _ in range(150):
        side.post(b"x" * 16_000)
        side.post(b"y" * 16_000)
        side.post(b"z" * 16_000)
        side.post(b"z" * 16_000)
        side.carry()
        await asyncio.sleep(0.002)
        side.carry()
    assert len(side.requests) == 600


async def test_over_http_1_1_a_lost_client_gets_nothing_and_no_answer_comes_twice():
    side = Side(OverH1)
    side.connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (len(side.requests), side.settled) == (1, 1)
    side.connection.connection_lost(None)
    side.connection.eof_received()
    side.connection.flush()
    await asyncio.sleep(0.01)
    assert side.wire.octets == b""


async def test_over_http_1_1_what_comes_before_the_answer_waits_its_turn():
    side = Side(OverH1)
    side.connection.data_received(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [request.path for request in side.requests] == ["/1"]
    assert side.wire.told == ["pause_reading"]
    await asyncio.sleep(0.02)
    assert [request.path for request in side.requests] == ["/1", "/2"]
    assert side.wire.octets.count(b"HTTP/1.1 200") == 2


async def test_over_http_1_1_an_end_while_an_answer_is_owed_ends_the_connection():
    side = Side(OverH1)
    side.connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    side.connection.data_received(b"")
    assert side.wire.told == ["close"]


async def test_timers_fire_in_order_and_forget_when_closed():
    side = Side(OverH1)
    for delay in (0.03, 0.01, 0.02):
        side.timers.after(delay, side.connection, 99, OK)
    assert len(side.timers) == 3
    await asyncio.sleep(0.015)
    assert len(side.timers) == 2
    side.timers.close()
    side.timers.close()
    await asyncio.sleep(0.03)
    assert len(side.timers) == 0


async def test_a_socket_that_breaks_the_protocol_is_closed():
    headers = [
        (b"host", b"x"),
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    for rest in (b"\xff\xff\xff\xff", b"\x88\x80\x00\x00\x00\x00"):
        wire = Wire()
        socket = BrowserSocket(None)  # type: ignore[arg-type] # no browser says hello here
        socket.take_over(wire, headers, "/ws", rest)
        assert wire.octets.startswith(b"HTTP/1.1 101")
        assert wire.told == ["set_protocol", "close"]
        octets = wire.octets
        socket.tell({})
        socket.leave()
        socket.connection_lost(None)
        assert wire.octets == octets, "nothing is said after the end"
