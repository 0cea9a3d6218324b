"""Header blocks any HPACK decoder reads, however tables change size."""

import pytest
from hpack.hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.wire.header_writer import HeaderWriter

names = st.sampled_from([b":method", b":path", b":status", b"authorization", b"ttl", b"x-a", b"content-length"])
values = st.one_of(st.sampled_from([b"", b"POST", b"/", b"v", b"w" * 900]), st.binary(max_size=300))
lists = st.lists(st.tuples(names, values), max_size=8)


@settings(max_examples=200)
@given(st.lists(st.one_of(lists, st.integers(0, 10_000)), max_size=40))
def test_every_block_decodes_to_what_was_written_whatever_came_before(steps: list[object]) -> None:
    writer, decoder = HeaderWriter(), Decoder()
    for step in steps:
        if isinstance(step, int):
            decoder.max_allowed_table_size = step
            writer.header_table_size = step
        else:
            assert isinstance(step, list)
            assert [tuple(field) for field in decoder.decode(writer.encode(step), raw=True)] == step


def test_what_repeats_becomes_an_index_and_what_comes_once_pushes_nothing_out() -> None:
    writer = HeaderWriter()
    fixed = [(b":method", b"POST"), (b"authorization", b"Bearer " + b"t" * 1000), (b"x-app", b"a")]
    for _ in range(2):
        writer.encode(fixed)
    for number in range(1100):
        block = writer.encode([*fixed, (b":path", b"/send/%d" % number + b"p" * 200)])
        assert len(block) <= 3 + 3 + 220
    assert writer.encode(fixed) == bytes([0x83, 0x80 | 63, 0x80 | 62])


def test_a_field_larger_than_the_table_is_written_out_each_time() -> None:
    writer, decoder = HeaderWriter(), Decoder()
    field = (b"authorization", b"t" * 5000)
    for _ in range(4):
        assert decoder.decode(writer.encode([field]), raw=True) == [field]


def test_the_peers_table_is_never_used_beyond_4096_octets_or_what_it_announced() -> None:
    writer = HeaderWriter()
    writer.header_table_size = 65_536
    assert writer.header_table_size == 4096
    writer.header_table_size = 0
    for _ in range(3):
        block = writer.encode([(b"x-a", b"b")])
    assert block == b"\x00\x03x-a\x01b"


@pytest.mark.parametrize("count", [61, 62, 127, 128, 300])
def test_indexes_of_more_than_one_octet_decode(count: int) -> None:
    writer, decoder = HeaderWriter(), Decoder()
    fields = [(b"n", b"%d" % number) for number in range(count)][-110:]
    for _ in range(3):
        assert decoder.decode(writer.encode(fields), raw=True) == fields
