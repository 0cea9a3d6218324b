"""Magic tokens are well-formed, distinct, and say what happens to them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.lab import make, rows
from tocsin.lab.tokens import (
    ORDINARY,
    SCENARIOS,
    Marker,
    fcm_marker,
    is_fcm_token,
    read_marker,
    write_marker,
)

FCM = [name for name, scenario in SCENARIOS.items() if scenario.fcm]
STRICT = re.compile(r"[A-Za-z0-9_-]{11,22}:APA91b[A-Za-z0-9_-]{134}")


@pytest.mark.parametrize("name", [ORDINARY, *FCM])
def test_every_token_of_a_scenario_passes_a_strict_shape_check(name):
    made = {make(name, n) for n in range(200)}
    assert len(made) == 200
    assert all(STRICT.fullmatch(token) and is_fcm_token(token) for token in made)


@given(st.sampled_from(FCM), st.integers(min_value=0), st.none() | st.integers(0, 9999))
def test_a_token_carries_its_scenario_and_its_seconds(name, n, seconds):
    if seconds is not None and SCENARIOS[name].seconds is None:
        with pytest.raises(ValueError, match="takes no seconds"):
            make(name, n, seconds)
        return
    token = make(name, n, seconds)
    assert STRICT.fullmatch(token)
    assert fcm_marker(token) == Marker(name, SCENARIOS[name].seconds if seconds is None else float(seconds))
    assert make(name, n, seconds) == token


@given(st.integers(min_value=0))
def test_an_ordinary_token_carries_no_marker(n):
    assert fcm_marker(make(ORDINARY, n)) is None


def test_there_are_at_least_eight_for_each_provider_and_each_says_what_happens():
    table = rows()
    for provider in ("fcm", "webpush"):
        mine = [row for row in table if row.provider == provider]
        assert len(mine) >= 8
        assert all(row.happens and read_marker(row.marker, provider) for row in mine)


@pytest.mark.parametrize(
    "text",
    ["lab-", "lab-nothing", "lab-ok-12345", "lab-ok-5", "lab-slow-12345", "lab-ok-x9", "sub", "lab-third-party.x"],
)
def test_what_is_not_in_the_table_is_no_marker(text):
    assert read_marker(text, "webpush") is None


def test_a_scenario_of_the_other_provider_is_no_marker():
    assert read_marker("lab-third-party", "webpush") is None
    assert read_marker("lab-gone", "fcm") is None
    with pytest.raises(ValueError, match="FCM has no scenario 'gone'"):
        make("gone", 1)


def test_an_unknown_scenario_is_refused_with_the_list_of_those_there_are():
    with pytest.raises(ValueError, match="'oops' is not a scenario of the lab; there are: ok, slow"):
        write_marker("oops")
    with pytest.raises(ValueError, match="0 to 9999"):
        write_marker("slow", 10_000)


def test_any_text_of_a_tokens_length_and_alphabet_is_one_and_rubbish_is_not():
    assert is_fcm_token("c" + "x" * 21)
    assert not any(map(is_fcm_token, ["", "abc", "x" * 19, make("ok", 1) + "!", make("ok", 1).replace(":", ";")]))
