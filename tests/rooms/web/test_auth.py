"""Who calls, without a database."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tocsin.storage import Unavailable
from tocsin.tenants import keys
from tocsin.terms import ids
from tocsin.terms.errors import Refused
from tocsin.terms.outcomes import Mode
from tocsin.web import auth
from tocsin.web.auth import Caller, KeyAuthenticator

KEY = keys.mint(Mode.TEST)


class Clock:
    """A clock that the test turns."""

    time = 100.0

    def monotonic(self):
        return self.time


class Keys:
    """A database that holds one key and counts how often it is asked."""

    def __init__(self):
        self.asked = 0
        self.revoked_at = None
        self.away = False
        self.row = {
            "tenant_id": ids.new(),
            "app_id": ids.new(),
            "mode": "test",
            "hash": keys.digest(KEY.secret),
        }

    @asynccontextmanager
    async def transaction(self):
        if self.away:
            raise Unavailable("gone")
        self.asked += 1
        yield self

    async def execute(self, *_):
        await asyncio.sleep(0)

    async def fetchrow(self, _, key_id):
        return {**self.row, "revoked_at": self.revoked_at} if key_id == KEY.key_id else None


@pytest.fixture
def held():
    return Keys()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def authenticate(held, clock):
    return KeyAuthenticator(held, clock)


async def test_a_key_is_looked_up_once_and_remembered_for_a_few_seconds(held, clock, authenticate):
    expected = Caller(held.row["tenant_id"], held.row["app_id"], Mode.TEST, KEY.key_id)
    assert [await authenticate(KEY.text) for _ in range(5)] == [expected] * 5
    assert held.asked == 1
    clock.time += auth.REMEMBERED
    await authenticate(KEY.text)
    assert held.asked == 2


async def test_a_revoked_key_is_refused_within_five_seconds(held, clock, authenticate):
    await authenticate(KEY.text)
    held.revoked_at = "now"
    clock.time += 4.99
    with pytest.raises(Refused):
        await authenticate(KEY.text)


async def test_unknown_revoked_and_wrong_keys_get_one_and_the_same_answer(held, authenticate):
    held.revoked_at = "now"
    told = set()
    wrong = keys.ApiKey(Mode.TEST, KEY.key_id, "0" * 32)
    for text in (KEY.text, wrong.text, keys.mint(Mode.TEST).text, keys.mint(Mode.LIVE).text, "nonsense", "é"):
        with pytest.raises(Refused) as refused:
            await authenticate(text)
        told.add((refused.value.code, refused.value.detail))
    assert told == {("unauthorized", "The API key is unknown or was revoked.")}


async def test_a_request_without_a_key_is_told_so(authenticate):
    with pytest.raises(Refused, match="no API key"):
        await authenticate(None)


async def test_nonsense_never_reaches_the_database(held, authenticate):
    for text in ("", "x" * 10_000, KEY.text[:-1] + ("0" if KEY.text[-1] != "0" else "1")):
        with pytest.raises(Refused):
            await authenticate(text)
    assert held.asked == 0


async def test_a_wrong_key_is_remembered_too_so_that_guessing_costs_one_query(held, authenticate):
    text = keys.mint(Mode.TEST).text
    for _ in range(3):
        with pytest.raises(Refused):
            await authenticate(text)
    assert held.asked == 1


async def test_a_database_that_is_away_is_not_a_wrong_key(held, authenticate):
    held.away = True
    with pytest.raises(Unavailable):
        await authenticate(KEY.text)


async def test_what_is_remembered_is_bounded(held, clock, authenticate, monkeypatch):
    monkeypatch.setattr(auth, "MOST_REMEMBERED", 3)
    for _ in range(10):
        with pytest.raises(Refused):
            await authenticate(keys.mint(Mode.TEST).text)
    assert len(authenticate._known) == 3
