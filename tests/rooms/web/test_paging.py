"""Cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.terms.errors import Refused
from tocsin.web.paging import page, read_cursor, write_cursor


@given(st.text(), st.lists(st.text(), min_size=1, max_size=3))
def test_a_cursor_leads_back_to_its_place(listing, place):
    assert read_cursor(listing, write_cursor(listing, *place), parts=len(place)) == place


def test_no_cursor_is_the_beginning():
    assert read_cursor("list", None) is None


@given(st.text(max_size=60))
def test_text_that_no_list_gave_out_is_refused(text):
    with pytest.raises(Refused) as refused:
        read_cursor("list", text)
    assert refused.value.code == "malformed_cursor"


def test_a_cursor_of_another_list_or_filter_is_refused():
    cursor = write_cursor("deliveries:a:sent", "5")
    for listing, parts in (("deliveries:a:failed", 1), ("devices", 1), ("deliveries:a:sent", 2)):
        with pytest.raises(Refused):
            read_cursor(listing, cursor, parts)


def test_a_row_too_many_says_that_more_follow():
    rows = [{"n": 1}, {"n": 2}, {"n": 3}]
    assert page("l", rows, 3, ["1", "2", "3"]) == {"data": rows, "next_cursor": None}
    first = page("l", rows, 2, ["1", "2"])
    assert first["data"] == rows[:2]
    assert read_cursor("l", first["next_cursor"]) == ["2"]
    assert page("l", [], 2, []) == {"data": [], "next_cursor": None}
