"""Lines and breakers over a real database: a refused credential stops its own app's provider, and nothing else."""

import random
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tocsin.dispatch import Lines, send
from tocsin.providers.base import Credential, CredentialFault, DeadToken, Limits, Parcel, RetryFloors, Taken
from tocsin.terms import ids
from tocsin.terms.batches import Attempt, Begun, End, Hold, Retry
from tocsin.terms.handoffs import Learned, Message, Options, Reached, Stopped
from tocsin.terms.outcomes import Class, Mode, OnAmbiguity, State


class Vendor:
    """A provider that gives the verdicts it was told, in two chunks."""

    name = "fcm"

    def __init__(self) -> None:
        self.verdicts: list[Any] = []

    def limits(self, credential):
        return Limits(4096, 3600, RetryFloors(1.0, 0.5))

    async def send(self, credential, parcel):
        half = len(self.verdicts) // 2
        yield list(enumerate(self.verdicts))[:half]
        yield list(enumerate(self.verdicts))[half:]


@pytest.fixture
def begun(demo_app):
    return Begun(
        demo_app.app_id, ids.new(), 1, Class.NOW, 1, 0, 0, [], ids.new(), "fcm", datetime.now(UTC),
        OnAmbiguity.RESEND, 99.0, suspect=False,
    )  # fmt: skip


@pytest.fixture
def lines(begun):
    async def credential(_tx, app_id, credential_id):
        if credential_id != begun.credential_id:
            return None
        return Credential(app_id, credential_id, "fcm", Mode.TEST, 1, {})

    return Lines(cast("Any", {"fcm": Vendor()}), credential)


FAULT = Retry(ids.new(), Attempt("credential_fault", "credential_fault", "401 UNAUTHENTICATED"), 8.0, spent=False)
SENT = End(ids.new(), State.SENT, "accepted")


async def test_a_batch_without_a_usable_credential_is_stopped(database, lines, begun):
    async with database.scope(begun.app_id) as tx:
        stopped = await lines.open(tx, begun._replace(credential_id=ids.new()))
    assert stopped == Stopped(State.FAILED, "no_credential")


async def test_a_refused_credential_holds_what_comes_after_until_one_batch_probes_it(database, lines, begun):
    async with database.scope(begun.app_id) as tx:
        line = await lines.open(tx, begun)
        assert not line.probing
        await lines.note(tx, line, [FAULT])
    async with database.scope(begun.app_id) as tx:
        hold = await lines.open(tx, begun)
    assert isinstance(hold, Hold)
    assert 7 < hold.delay <= 8
    async with database.scope(begun.app_id) as tx:
        await tx.execute("update dispatch.breakers set probe_at = now() - interval '1 s'")
    async with database.scope(begun.app_id) as tx:
        probe = await lines.open(tx, begun)
        other = await lines.open(tx, begun)
    assert (probe.probing, probe.failures) == (True, 1)
    assert isinstance(other, Hold), "one batch probes, the others wait for it"
    async with database.scope(begun.app_id) as tx:
        await lines.note(tx, probe, [FAULT])
        assert await tx.fetchval("select failures from dispatch.breakers") == 2
        await lines.note(tx, probe, [SENT])
        assert await tx.fetchval("select count(*) from dispatch.breakers") == 0


async def test_only_an_end_closes_a_breaker_and_an_unprobed_line_leaves_it_alone(database, lines, begun):
    waits = Retry(ids.new(), Attempt("transient", "provider_unavailable", "503"), 1.0)
    async with database.scope(begun.app_id) as tx:
        line = await lines.open(tx, begun)
        await lines.note(tx, line, [FAULT])
        await lines.note(tx, line, [SENT])
        assert await tx.fetchval("select count(*) from dispatch.breakers") == 1
        await tx.execute("update dispatch.breakers set probe_at = now() - interval '1 s'")
        probe = await lines.open(tx, begun)
        await lines.note(tx, probe, [waits])
        assert await tx.fetchval("select count(*) from dispatch.breakers") == 1


async def test_a_probe_that_somebody_else_took_meanwhile_is_waited_for(database, lines, begun, monkeypatch):
    async def taken(*_):
        return False

    async with database.scope(begun.app_id) as tx:
        await lines.note(tx, await lines.open(tx, begun), [FAULT])
        await tx.execute("update dispatch.breakers set probe_at = now() - interval '1 s'")
        monkeypatch.setattr(lines._breakers, "take_probe", taken)
        assert await lines.open(tx, begun) == Hold(1.0)


async def test_verdicts_become_fates_chunk_by_chunk_and_dead_tokens_are_told(database, lines, begun):
    async with database.scope(begun.app_id) as tx:
        line = await lines.open(tx, begun)
    dead_at = datetime.now(UTC)
    devices = [Reached(ids.new(), "t", version, None) for version in (5, 6, 7, 8)]
    line.provider.verdicts = [
        Taken("a"), DeadToken("UNREGISTERED"), DeadToken("410", dead_at), CredentialFault("401"),
    ]  # fmt: skip
    options = Options(60, "high", None, OnAmbiguity.RESEND, Class.NOW)
    parcel = Parcel(Message(title="x"), options, begun.notification_id, devices, ["d"] * 4, ["r"] * 4, 60)
    random.seed(1)
    chunks = [chunk async for chunk in send(line, begun, parcel)]
    assert [len(chunk.fates) for chunk in chunks] == [2, 2]
    fates = [fate for chunk in chunks for fate in chunk.fates]
    assert [fate.device_id for fate in fates] == [one.device_id for one in devices]
    assert [type(fate) for fate in fates] == [End, End, End, Retry]
    assert [one for chunk in chunks for one in chunk.dead] == [
        Learned(devices[1].device_id, 6, None),
        Learned(devices[2].device_id, 7, dead_at),
    ]
