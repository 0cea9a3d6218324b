"""A stream becomes blocks of whole, numbered lines, in bounded memory."""

import itertools
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.cli.feeding import LONGEST, Cutter, Feed


@given(
    st.lists(st.text("ab", max_size=6).map(str.encode)), st.booleans(), st.lists(st.integers(0, 99)), st.integers(0, 9)
)
def test_the_blocks_hold_every_line_after_the_skipped_ones(lines, ended, places, skip):
    octets = b"\n".join(lines) + (b"\n" if ended else b"")
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    cutter = Cutter(skip)
    pieces = [octets[start:end] for start, end in itertools.pairwise(edges)]
    blocks = [block for block in (*map(cutter.feed, pieces), cutter.end()) if block is not None]
    whole = octets.split(b"\n")
    if not whole[-1]:
        whole.pop()
    assert b"".join(block.octets for block in blocks) == b"".join(line + b"\n" for line in whole[skip:])
    following = skip + 1
    for block in blocks:
        assert block.first == following
        assert block.last - block.first + 1 == block.octets.count(b"\n")
        following = block.last + 1


def test_a_line_that_is_too_long_is_cut_and_stays_too_long():
    cutter = Cutter()
    for _ in range(50):
        assert cutter.feed(b"x" * 10_000) is None
        assert len(cutter._rest) <= LONGEST + 1
    block = cutter.feed(b"y\nnext\n")
    assert block is not None
    assert block.octets == b"x" * (LONGEST + 1) + b"\nnext\n"


async def test_a_pipe_is_read_as_it_fills_and_to_its_end():
    reading, writing = os.pipe()
    feed = Feed(reading)
    os.write(writing, b"one\ntw")
    block = await feed.next()
    assert block is not None
    assert (block.first, block.last, block.octets) == (1, 1, b"one\n")

    def much():
        os.write(writing, b"o\n")
        for _ in range(100):
            os.write(writing, b"more\n" * 1000)
        os.close(writing)

    threading.Thread(target=much).start()
    lines = 1
    while (block := await feed.next()) is not None:
        lines = block.last
    assert lines == 100_002
    assert feed.octets == 8 + 500_000
    assert await feed.next() is None
    os.close(reading)


async def test_a_stream_that_cannot_be_read_says_so(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    feed = Feed(directory)
    with pytest.raises(IsADirectoryError):
        await feed.next()
    assert await feed.next() is None
    os.close(directory)
