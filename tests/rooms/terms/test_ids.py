"""Ids: text at the doors, UUIDv7 inside; they rise, they sort alike, and nothing else is taken for one."""

import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tocsin.terms import ids
from tocsin.terms.ids import BadId, Mint

uuids = some.uuids()


@given(value=uuids)
def test_what_is_shown_is_read_again(value):
    assert ids.read("ntf", ids.show("ntf", value)) == value


@given(notification=uuids, device=uuids)
def test_a_delivery_is_its_notification_and_its_device(notification, device):
    assert ids.read_delivery(ids.show_delivery(notification, device)) == (notification, device)


@given(one=uuids, other=uuids)
def test_text_sorts_as_the_ids_do(one, other):
    assert (ids.show("dev", one) < ids.show("dev", other)) == (one.bytes < other.bytes)


@given(text=some.text(max_size=30))
def test_text_is_read_as_the_very_id_it_shows_or_refused(text):
    try:
        found = ids.read("ntf", "ntf_" + text)
    except BadId:
        return
    assert ids.show("ntf", found) == "ntf_" + text


@pytest.mark.parametrize(
    "text", ["", "ntf", "dev_" + "0" * 26, "ntf_" + "0" * 25, "ntf_" + "z" * 26, "ntf_" + "u" * 26]
)
def test_an_id_of_another_kind_length_alphabet_or_size_is_refused(text):
    with pytest.raises(BadId):
        ids.read("ntf", text)


def test_a_delivery_id_of_another_kind_is_refused():
    with pytest.raises(BadId):
        ids.read_delivery("ntf_" + "0" * 52)


def test_ids_rise_strictly_and_carry_their_time():
    mint, before = Mint(), time.time()
    made = [mint() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert all(one.version == 7 and one.variant == "specified in RFC 4122" for one in made)
    assert before - 0.001 <= ids.instant(made[0]) <= ids.instant(made[-1]) <= time.time() + 0.05


def test_ids_rise_also_when_the_clock_goes_back(monkeypatch):
    mint = Mint()
    first = mint()
    monkeypatch.setattr(time, "time", lambda: ids.instant(first) - 3600)
    assert mint() > first


@given(at=some.floats(0, 2**40 / 1000))
def test_an_id_for_an_instant_carries_that_instant(at):
    made = Mint()(at)
    assert isinstance(made, UUID)
    assert ids.instant(made) == int(at * 1000) / 1000
