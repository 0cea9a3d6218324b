"""Rendering: each device's copy has its own delivery id and receipt, and what is left of the time to live."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.content import Messages, render
from tocsin.terms import ids
from tocsin.terms.batches import Begun
from tocsin.terms.handoffs import Accepted, Message, Options, Reached, Target
from tocsin.terms.outcomes import Class, OnAmbiguity

OPTIONS = Options(600, "high", None, OnAmbiguity.RESEND, Class.NOW)
NOW = datetime.now(UTC)
BEGUN = Begun(
    ids.new(), ids.new(), 1, Class.NOW, 1, 0, 0, [], ids.new(), "fcm", NOW, OnAmbiguity.RESEND, 99.9, suspect=False
)  # fmt: skip


def parcel(options: Options = OPTIONS, begun: Begun = BEGUN):
    devices = [Reached(ids.new(), "token", 1, None) for _ in range(3)]
    return render(Message(title="Hi"), options, begun, devices, lambda app, ntf, dev: f"{app}/{ntf}/{dev}"), devices


def test_every_copy_carries_its_delivery_id_and_a_receipt_of_its_own():
    made, devices = parcel()
    assert [ids.read_delivery(one) for one in made.delivery_ids] == [
        (BEGUN.notification_id, one.device_id) for one in devices
    ]
    assert made.receipts == [f"{BEGUN.app_id}/{BEGUN.notification_id}/{one.device_id}" for one in devices]


def test_the_provider_gets_what_is_left_of_the_ttl():
    assert parcel()[0].ttl == 99
    assert parcel(dataclasses.replace(OPTIONS, ttl=0))[0].ttl == 0, "now or never"


async def test_a_message_is_read_once_and_the_oldest_is_forgotten_first():
    reads = []

    async def message(_tx, _app, notification_id):
        reads.append(notification_id)
        return Message(title=str(notification_id))

    async def accepted(_tx, app_id, notification_id):
        now = datetime.now(UTC)
        return Accepted(app_id, notification_id, Target(all=True), OPTIONS, now, now + timedelta(1))

    messages = Messages(message, accepted)
    first = await messages.open(None, BEGUN)
    assert await messages.open(None, BEGUN) is first
    assert len(reads) == 1
    for _ in range(300):
        await messages.open(None, BEGUN._replace(notification_id=ids.new()))
    await messages.open(None, BEGUN)
    assert reads.count(BEGUN.notification_id) == 2


def test_a_parcel_keeps_the_order_of_its_devices():
    made, devices = parcel()
    assert made.devices == devices
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.ttl = 5
