"""One connection against a peer in memory: what goes where when things happen in the same loop turn."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes

from tocsin.wire.bounds import Bounds
from tocsin.wire.connection import Connection
from tocsin.wire.endings import Ambiguous, Answered, Call, Ending, Origin, Unsent
from tocsin.wire.flights import Batch, Flight

ORIGIN = Origin("push.example")


class Transport:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.unread = 0
        self.ended = ""

    def get_extra_info(self, _name: str) -> Any:
        return SimpleNamespace(selected_alpn_protocol=lambda: "h2")

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.back: list[tuple[Flight, Unsent]] = []
        self.pumped = 0
        self.gone_for: list[Unsent] = []
        self.retired_for: list[Unsent] = []

    def pump(self) -> None:
        self.pumped += 1

    def proved(self) -> None:
        pass

    def come_back(self, flights: Sequence[Flight], why: Unsent) -> None:
        self.back += [(flight, why) for flight in flights]

    def retired(self, connection: Connection, why: Unsent) -> None:
        self.retired_for.append(why)

    def gone(self, connection: Connection, why: Unsent) -> None:
        self.gone_for.append(why)


class Pair:
    """A connection and the server's end of it."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.owner = Owner()
        self.transport = Transport()
        self.connection = Connection(ORIGIN, self.owner, bounds or Bounds())
        self.peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.endings: list[tuple[int, Ending]] = []
        self.peer.initiate_connection()
        self.connection.connection_made(cast("asyncio.BaseTransport", self.transport))
        self.exchange()

    def exchange(self) -> list[Any]:
        """Let the peer read what was written and the connection what the peer said; the peer's events."""
        data = bytes(self.transport.written)
        self.transport.written.clear()
        events = self.peer.receive_data(data) if data else []
        said = self.peer.data_to_send()
        if said:
            self.connection.data_received(said)
        return events

    def flights(self, count: int, body: bytes = b"") -> list[Flight]:
        calls = [Call(ORIGIN, b"POST", b"/%d" % number, (), body) for number in range(count)]
        batch = Batch(calls, 5, 5, lambda _: Unsent("late"), lambda _: None)
        batch.collect = lambda index, ending: self.endings.append((index, ending))  # type: ignore[method-assign]
        for timer in batch._timers:
            timer.cancel()
        return batch.flights


@pytest.fixture
async def pair() -> Pair:
    return Pair()


def _names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_many_streams_leave_in_one_write(pair: Pair) -> None:
    writes: list[bytes] = []
    pair.transport.write = writes.append  # type: ignore[assignment, method-assign]
    flights = pair.flights(50, b"body")
    for flight in flights:
        pair.connection.open(flight)
    assert not any(flight.written for flight in flights)
    assert writes == []
    await asyncio.sleep(0)
    assert len(writes) == 1
    assert all(flight.written for flight in flights)


async def test_a_call_cancelled_before_it_left_is_written_first_and_so_never_called_unsent(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    pair.connection.cancel(flight)
    assert flight.written
    await asyncio.sleep(0)
    assert _names(pair.exchange())[1:4] == ["RequestReceived", "StreamEnded", "StreamReset"]


async def test_a_goaway_before_the_write_brings_unwritten_flights_back_unwritten(pair: Pair) -> None:
    first, second = pair.flights(2)
    pair.connection.open(first)
    await asyncio.sleep(0)
    pair.exchange()
    pair.connection.open(second)
    pair.peer.close_connection(last_stream_id=1)
    pair.exchange()
    assert [flight for flight, _ in pair.owner.back] == [second]
    assert not second.written
    assert pair.connection.busy == 1


async def test_a_loss_before_the_write_brings_flights_back_and_after_it_makes_them_ambiguous(pair: Pair) -> None:
    first, second = pair.flights(2)
    pair.connection.open(first)
    await asyncio.sleep(0)
    pair.connection.open(second)
    pair.transport.abort()
    pair.connection.connection_lost(ConnectionResetError("reset by peer"))
    assert pair.owner.back == [
        (second, Unsent("no_connection", "the connection to push.example was lost: reset by peer"))
    ]
    assert pair.endings == [(0, Ambiguous("cut_off", "the connection to push.example was lost: reset by peer"))]
    await asyncio.sleep(0)
    assert not second.written


async def test_no_stream_is_opened_while_the_peer_does_not_read(pair: Pair) -> None:
    assert pair.connection.room() > 0
    pair.connection.pause_writing()
    assert pair.connection.room() == 0
    before = pair.owner.pumped
    pair.connection.resume_writing()
    assert pair.connection.room() > 0
    assert pair.owner.pumped == before + 1


async def test_a_peer_that_asks_and_does_not_read_is_dropped(pair: Pair) -> None:
    pair.connection.pause_writing()
    pair.transport.unread = Bounds().unread + 1
    pair.peer.ping(b"12345678")
    pair.exchange()
    assert pair.transport.ended == "aborted"
    pair.connection.connection_lost(None)
    assert pair.owner.gone_for == [Unsent("no_connection", "push.example does not read what it is sent")]
    assert pair.connection.fruitless


async def test_what_follows_a_malformed_answer_in_the_same_octets_changes_nothing(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    headers = b"\x00\x00\x05\x01\x04\x00\x00\x00\x01\x08\x03abc"
    reset = b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x02"
    pair.connection.data_received(headers + reset)
    assert pair.endings == [(0, Ambiguous("cut_off", "the answer had no valid status"))]


async def test_an_answer_to_a_stream_beyond_the_goaway_before_it_is_ignored(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    goaway = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(8)
    answer = b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88" + b"\x00\x00\x01\x00\x01\x00\x00\x00\x01x"
    pair.connection.data_received(goaway + answer)
    assert [flight for flight, _ in pair.owner.back] == [flight]
    assert pair.endings == []


async def test_a_waiting_body_of_a_stream_reset_in_the_same_octets_is_not_sent(pair: Pair) -> None:
    [flight] = pair.flights(1, b"b" * 100_000)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    credit = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x01\x00\x00"
    reset = b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x02"
    pair.connection.data_received(credit + reset)
    assert pair.endings == [(0, Ambiguous("cut_off", "push.example reset the stream (INTERNAL_ERROR)"))]
    assert pair.connection.busy == 0


async def test_bodies_that_wait_for_credit_get_it_in_the_order_they_were_sent(pair: Pair) -> None:
    first, second = pair.flights(2, b"b" * 40_000)
    for flight in (first, second):
        pair.connection.open(flight)
    await asyncio.sleep(0)
    assert pair.connection.room() == 0
    pair.exchange()
    third, fourth = pair.flights(2, b"b" * 40_000)
    pair.peer.increment_flow_control_window(30_000)
    assert "StreamEnded" not in _names(pair.exchange())
    assert "StreamEnded" in _names(pair.exchange())
    assert pair.connection.room() > 0
    for flight in (third, fourth):
        pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    pair.peer.increment_flow_control_window(10_000)
    pair.exchange()
    assert (third.rest is None, fourth.rest is None) == (False, False)
    pair.peer.increment_flow_control_window(40_000)
    pair.exchange()
    assert (third.rest is None, fourth.rest is None) == (True, False)


async def test_a_reset_long_after_an_answer_is_ignored(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    pair.peer.send_headers(1, [(b":status", b"200")], end_stream=True)
    pair.exchange()
    pair.connection.data_received(b"\x00\x00\x04\x03\x00\x00\x00\x00\x01" + bytes(4))
    assert pair.endings == [(0, Answered(200, [], b""))]
    assert not pair.transport.ended
    assert pair.connection.room() > 0


async def test_a_reset_with_a_code_of_the_future_is_told_by_its_number(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    pair.connection.data_received(b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x63")
    assert pair.endings == [(0, Ambiguous("cut_off", "push.example reset the stream (error 99)"))]


async def test_a_connection_without_streams_ends_politely_when_it_is_retired(pair: Pair) -> None:
    pair.connection.retire("it was idle")
    pair.connection.retire("once more")
    assert pair.owner.retired_for == [Unsent("no_connection", "it was idle")]
    assert pair.transport.ended == "closed"
    assert "ConnectionTerminated" in _names(pair.exchange())
    assert not pair.connection.fruitless


async def test_octets_after_the_end_of_a_connection_are_harmless(pair: Pair) -> None:
    pair.connection.close()
    pair.connection.close()
    pair.peer.ping(b"12345678")
    pair.connection.data_received(pair.peer.data_to_send())
    assert pair.transport.ended == "closed"


async def test_a_flight_given_up_on_a_closing_connection_is_just_forgotten(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.connection.close()
    pair.connection.cancel(flight)
    assert pair.connection.busy == 0


async def test_aborting_before_the_handshake_is_done_leaves_nothing_behind() -> None:
    connection = Connection(ORIGIN, Owner(), Bounds())
    connection.abort("it did not come to stand")
    connection.connection_lost(None)
    with pytest.raises(ConnectionResetError, match="did not come to stand"):
        await connection.ready


async def test_an_answer_is_taken_when_it_comes_in_single_octets(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    pair.peer.send_headers(1, [(b":status", b"410"), (b"retry-after", b"5")])
    pair.peer.send_data(1, b"gone", end_stream=True)
    for octet in pair.peer.data_to_send():
        pair.connection.data_received(bytes([octet]))
    [(index, ending)] = pair.endings
    assert isinstance(ending, Answered)
    assert (index, ending.status, ending.header(b"retry-after"), ending.body) == (0, 410, b"5", b"gone")


async def test_a_refusal_is_counted_and_told_as_such(pair: Pair) -> None:
    [flight] = pair.flights(1)
    pair.connection.open(flight)
    await asyncio.sleep(0)
    pair.exchange()
    pair.peer.reset_stream(1, ErrorCodes.REFUSED_STREAM)
    pair.exchange()
    assert pair.owner.back == [(flight, Unsent("refused_stream", "push.example refused the stream"))]
    assert flight.refusals == 1
