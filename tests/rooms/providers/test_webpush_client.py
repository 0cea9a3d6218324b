"""Batches through Web Push: encrypted for each browser, vouched for once an origin, never the other mode's place."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest
from tests.rooms.providers.browser import LAB_ENDPOINT, b64, browser, decrypt, unb64, vapid_account
from tests.rooms.providers.stand_ins import LAB, FakeWire, HandClock, answer, credential, gather, header, parcel, same

from tocsin.providers.base import (
    ANSWER_WITHIN,
    WRITE_WITHIN,
    CredentialFault,
    DeadToken,
    NotSent,
    Refused,
    Taken,
    Unknown,
    Verdict,
)
from tocsin.providers.webpush import WebPush, WebPushSettings
from tocsin.providers.webpush import client as adapter
from tocsin.providers.webpush.vapid import VapidKeys
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import Message
from tocsin.terms.outcomes import Mode
from tocsin.wire.endings import Ambiguous, Call, Ending, Unsent

MOZILLA = "https://updates.push.services.mozilla.com/wpush/v2/"
GOOGLE = "https://fcm.googleapis.com/fcm/send/"


def sender(
    reply: Callable[[Call], Ending], mode: Mode = Mode.LIVE, chunk: int = 500
) -> tuple[FakeWire, Callable[..., Any]]:
    wire, clock = FakeWire(reply, chunk), HandClock()
    push = WebPush(WebPushSettings(lab=LAB), {mode: wire}, clock)

    def send(*endpoints: Any, version: int = 1, **more: Any) -> Any:
        devices = [browser(one) if isinstance(one, str) else one for one in endpoints]
        return gather(push.send(credential("webpush", vapid_account(), mode, version), parcel(devices, **more)))

    send.__dict__["clock"] = clock
    return wire, send


async def test_a_batch_is_sent_and_every_browser_has_its_verdict() -> None:
    endings: dict[bytes, Ending] = {
        b"/wpush/v2/good": answer(201, None, (b"location", b"/m/1")),
        b"/wpush/v2/dead": answer(410),
        b"/wpush/v2/lost": Ambiguous("timed_out"),
        b"/wpush/v2/left": Unsent("goaway"),
        b"/wpush/v2/inside": Unsent("forbidden_address", "10.0.0.1 is private"),
    }
    _, send = sender(lambda call: endings[call.path], chunk=2)
    said = await send(*(MOZILLA + name for name in ("good", "dead", "lost", "left", "inside")))
    expected: list[Verdict] = [
        Taken("/m/1"),
        DeadToken("410"),
        Unknown("timed_out"),
        NotSent("goaway"),
        Refused("endpoint_forbidden", "10.0.0.1 is private"),
    ]
    assert len(said) == 5
    assert all(same(said[index], verdict) for index, verdict in enumerate(expected))


async def test_each_browser_can_read_its_own_copy() -> None:
    wire, send = sender(lambda call: answer(201))
    await send(MOZILLA + "a", GOOGLE + "b", message=Message(title="Hi", data={"k": "🎉"}), receipts=['r"1', "r2"])
    texts = [json.loads(decrypt(call.body)) for call in wire.calls]
    assert texts == [
        {"title": "Hi", "data": {"k": "🎉"}, "tocsin": {"delivery": "dlv_" + "0" * 52, "receipt": 'r"1'}},
        {"title": "Hi", "data": {"k": "🎉"}, "tocsin": {"delivery": "dlv_" + "0" * 51 + "1", "receipt": "r2"}},
    ]
    first, second = wire.calls
    assert (first.method, first.path, first.origin.host) == (
        b"POST",
        b"/wpush/v2/a",
        "updates.push.services.mozilla.com",
    )
    assert (second.path, second.origin.host) == (b"/fcm/send/b", "fcm.googleapis.com")
    assert first.origin.guarded
    assert second.origin.guarded


async def test_an_origin_is_vouched_for_once_and_its_calls_share_their_headers() -> None:
    wire, send = sender(lambda call: answer(201))
    await send(MOZILLA + "a", GOOGLE + "b", MOZILLA + "c")
    await send(MOZILLA + "d")
    one, other, same_origin, later = wire.calls
    assert one.headers is same_origin.headers
    words = [header(call.headers, b"authorization") for call in (one, other, later)]
    assert words[0] == words[2] != words[1]
    audiences = [json.loads(unb64((word or b"").decode().split(".")[1]))["aud"] for word in words]
    assert audiences[:2] == ["https://updates.push.services.mozilla.com", "https://fcm.googleapis.com"]
    assert [name for name, _ in one.headers] == [
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"ttl",
        b"urgency",
    ]
    assert header(one.headers, b"ttl") == b"3600"


async def test_the_audience_of_the_lab_names_its_port() -> None:
    wire, send = sender(lambda call: answer(201), Mode.TEST)
    await send(LAB_ENDPOINT)
    (call,) = wire.calls
    assert call.origin == LAB
    word = (header(call.headers, b"authorization") or b"").decode()
    assert json.loads(unb64(word.split(".")[1]))["aud"] == "https://localhost:9443"


async def test_one_text_over_the_limit_is_refused_and_the_others_are_sent() -> None:
    wire, send = sender(lambda call: answer(201))
    said = await send(MOZILLA + "a", MOZILLA + "b", message=Message(body="x" * 3800), receipts=["r", "r" * 200])
    assert isinstance(said[0], Taken)
    assert same(said[1], Refused("payload_too_large", "over 3993 octets"))
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    "device",
    [
        browser(MOZILLA + "a")._replace(keys=None),
        browser(MOZILLA + "a")._replace(keys={}),
        browser(MOZILLA + "a", p256dh="!"),
        browser(MOZILLA + "a", p256dh=b64(b"\x04" + b"\x01" * 64)),
    ],
)
async def test_keys_that_cannot_encrypt_are_one_devices_end(device: Any) -> None:
    wire, send = sender(lambda call: answer(201))
    said = await send(device)
    assert same(said[0], Refused("invalid_token", "the subscription's keys cannot encrypt"))
    assert wire.calls == []


@pytest.mark.parametrize(
    ("mode", "endpoint"),
    [
        (Mode.LIVE, LAB_ENDPOINT),
        (Mode.LIVE, "https://10.0.0.1/"),
        (Mode.LIVE, "https://[fd00::1]/"),
        (Mode.LIVE, "no url"),
        (Mode.TEST, MOZILLA + "a"),
        (Mode.TEST, "https://localhost:9444/"),
        (Mode.TEST, "https://localhost/"),
        (Mode.TEST, "https://127.0.0.1:9443/"),
    ],
)
async def test_no_call_of_an_app_ever_leaves_for_the_other_modes_place(mode: Mode, endpoint: str) -> None:
    wire, send = sender(lambda call: answer(201), mode)
    said = await send(endpoint)
    assert isinstance(said[0], Refused)
    assert said[0].code == "endpoint_forbidden"
    assert wire.calls == []


async def test_without_a_lab_a_test_apps_batch_waits_for_its_credential() -> None:
    push = WebPush(WebPushSettings(), {}, HandClock())
    said = await gather(push.send(credential("webpush", vapid_account()), parcel([browser(), browser()])))
    assert len(said) == 2
    assert all(isinstance(one, CredentialFault) and "no lab" in one.detail for one in said.values())


async def test_a_credential_that_cannot_work_is_a_fault_of_the_credential() -> None:
    push = WebPush(WebPushSettings(lab=LAB), {}, HandClock())
    said = await gather(push.send(credential("webpush", vapid_account(subject=None)), parcel([browser()])))
    assert isinstance(said[0], CredentialFault)
    assert "subject" in said[0].detail


MISMATCH = answer(401, {"errno": 109})


def by_path(**endings: Ending) -> Callable[[Call], Ending]:
    return lambda call: endings[call.path.rsplit(b"/", 1)[1].decode()]


async def test_a_credential_that_nobody_took_is_at_fault() -> None:
    _, send = sender(by_path(a=MISMATCH, b=MISMATCH, c=answer(410)))
    said = await send(MOZILLA + "a", MOZILLA + "b", MOZILLA + "c")
    assert [type(said[index]) for index in range(3)] == [CredentialFault, CredentialFault, DeadToken]


async def test_a_credential_that_the_same_service_just_took_is_not_at_fault_for_one_subscription() -> None:
    _, send = sender(by_path(a=MISMATCH, b=answer(201)), chunk=1)
    said = await send(MOZILLA + "a", MOZILLA + "b")
    assert same(said[0], Refused("sender_mismatch", "401 errno 109"))
    assert isinstance(said[1], Taken)


async def test_another_services_word_acquits_nobody() -> None:
    _, send = sender(by_path(a=MISMATCH, b=answer(201)))
    said = await send(MOZILLA + "a", GOOGLE + "b")
    assert isinstance(said[0], CredentialFault)


async def test_the_lab_may_blame_a_test_apps_credential_and_a_stranger_may_not() -> None:
    _, send = sender(lambda call: answer(401), Mode.TEST)
    assert isinstance((await send(LAB_ENDPOINT))[0], CredentialFault)
    _, send = sender(lambda call: answer(401))
    assert same((await send("https://push.attacker.example/x"))[0], Refused("sender_mismatch", "401"))


async def test_key_pairs_are_opened_once_a_version_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[VapidKeys] = []
    read = VapidKeys.read

    def counted(secret: Mapping[str, Any]) -> VapidKeys:
        opened.append(read(secret))
        return opened[-1]

    monkeypatch.setattr(VapidKeys, "read", counted)
    monkeypatch.setattr(adapter, "KEPT", 2)
    _, send = sender(lambda call: answer(201))
    for version in (1, 2, 1, 3, 1, 2):
        await send(MOZILLA + "a", version=version)
    assert len(opened) == 4


async def test_the_time_encryption_took_is_not_given_to_the_wire() -> None:
    wire, send = sender(lambda call: answer(201))
    clock = send.__dict__["clock"]
    slept = clock.sleep

    async def slow(seconds: float) -> None:
        clock.pass_time(3.0)
        await slept(seconds)

    clock.sleep = slow
    await send(*(MOZILLA + str(number) for number in range(adapter.SLICE)))
    assert wire.limits == [(WRITE_WITHIN - 3.0, ANSWER_WITHIN - 3.0)]
    late = await send(*(MOZILLA + str(number) for number in range(adapter.SLICE * 5)))
    assert set(late.values()) == {NotSent("late")}, "what took too long is not sent at all"
    assert len(wire.limits) == 1


async def test_encrypting_a_batch_lets_others_run_in_between() -> None:
    wire = FakeWire(lambda call: answer(201))
    push = WebPush(WebPushSettings(lab=LAB), {Mode.LIVE: wire}, SystemClock())
    turns = 0

    async def others() -> None:
        nonlocal turns
        while not wire.submits:
            turns += 1
            await asyncio.sleep(0)

    watching = asyncio.create_task(others())
    devices = [browser(MOZILLA + str(number)) for number in range(500)]
    started = time.perf_counter()
    said = await gather(push.send(credential("webpush", vapid_account(), Mode.LIVE), parcel(devices)))
    assert time.perf_counter() - started < 10
    await watching
    assert len(said) == 500
    assert turns >= 500 // adapter.SLICE
    assert orjson.loads(decrypt(wire.calls[499].body))["tocsin"]["delivery"] == f"dlv_{499:052d}"
