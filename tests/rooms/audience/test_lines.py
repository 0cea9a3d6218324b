"""A stream's octets become its lines, however they are cut up on the way."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tocsin.audience.lines import LONGEST, OVERLONG, Splitter

LIMIT = 8


def cut(octets, places):
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.text("ab\r", max_size=12).map(str.encode)), st.booleans(), st.lists(st.integers(0, 500)))
def test_the_same_lines_come_however_the_stream_is_cut(lines, ended, places):
    octets = b"\n".join(lines) + (b"\n" if ended else b"")
    splitter = Splitter(LIMIT)
    found = [line for piece in cut(octets, places) for line in splitter.feed(piece)] + splitter.end()
    whole = octets.split(b"\n")
    if not whole[-1]:
        whole.pop()
    assert found == [line if len(line) <= LIMIT else OVERLONG for line in whole]
    assert splitter.end() == [], "the last line comes once"


def test_a_line_without_end_takes_no_memory():
    splitter = Splitter()
    for _ in range(100):
        assert splitter.feed(b"x" * LONGEST) == []
        assert len(splitter._rest) <= LONGEST
    assert splitter.feed(b"y\nnext\n") == [OVERLONG, b"next"]
