"""Both adapters, over the real wire, against a lab in a process of its own: what each scenario comes back as."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.contracts.lab_process import LabProcess

from tocsin.lab.tokens import make
from tocsin.providers.base import (
    Credential,
    CredentialFault,
    DeadToken,
    Parcel,
    Provider,
    Refused,
    Taken,
    Throttled,
    Transient,
    Unknown,
    Verdict,
)
from tocsin.providers.fcm import Fcm, FcmSettings
from tocsin.providers.webpush import WebPush, WebPushSettings
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import Message, Options, Reached
from tocsin.terms.ids import new, show_delivery
from tocsin.terms.outcomes import Class, Mode, OnAmbiguity
from tocsin.wire.endings import Origin
from tocsin.wire.engine import Engine

RICH = Message(
    title='Größe \u2028 "quoted"',
    body="👩\u200d👧 \\ \x01",
    image="https://example.org/i.png",
    link="https://example.org/?a=b",
    data={"order": "7", "\u2029": "\n"},
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    running = LabProcess(tmp_path_factory.mktemp("lab")).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
async def vendors(lab: LabProcess) -> AsyncIterator[dict[str, Provider]]:
    origin = Origin("localhost", lab.port)
    wire = Engine(ca_file=lab.ca, trusted=frozenset({(origin.host, origin.port)}))
    wires = {Mode.TEST: wire}
    yield {
        "fcm": Fcm(FcmSettings(origin), wires, SystemClock()),
        "webpush": WebPush(WebPushSettings(origin), wires, SystemClock()),
    }
    await wire.close()


def credential(lab: LabProcess, provider: str) -> Credential:
    return Credential(UUID(int=1), UUID(int=2), provider, Mode.TEST, 1, lab.ask(f"/lab/accounts/{provider}"))


def fcm_device(vendor: Provider, token: str) -> Reached:
    return Reached(new(), *vendor.check_token(token, None, Mode.TEST)[:1], 1, None)


def browser(vendor: Provider, lab: LabProcess, kind: str, flavour: str) -> Reached:
    (subscription,) = lab.ask("/lab/subscriptions", "POST", {"kind": kind, "flavour": flavour})["subscriptions"]
    address = vendor.check_token(None, subscription, Mode.TEST)
    return Reached(new(), address.token, 1, address.keys)


async def send(vendor: Provider, who: Credential, devices: list[Reached], **changes: Any) -> list[Verdict]:
    notification_id = new()
    options = Options(60, "high", "news", OnAmbiguity.RESEND, Class.NOW)
    vendor.check_message(RICH, options)
    parcel = Parcel(
        RICH,
        options,
        notification_id,
        devices,
        [show_delivery(notification_id, device.device_id) for device in devices],
        [f"receipt-{at}" for at in range(len(devices))],
        60,
    )
    said: dict[int, Verdict] = {}
    async for chunk in vendor.send(who, parcel):
        for index, verdict in chunk:
            assert index not in said
            said[index] = verdict
    return [said[index] for index in range(len(devices))]


FCM = {
    "ok": (Taken, None),
    "dead": (DeadToken, "unregistered"),
    "apns-dead": (DeadToken, "unregistered"),
    "bad": (Refused, "invalid_token"),
    "mismatch": (Refused, "sender_mismatch"),
    "throttled": (Throttled, 2.0),
    "throttled-bare": (Throttled, None),
    "error-once": (Transient, None),
    "busy-once": (Transient, 1.0),
    "cut": (Unknown, "cut_off"),
    "third-party": (Refused, "third_party_auth"),
    "revoked": (CredentialFault, None),
}
WEB_PUSH = {
    "ok": (Taken, None),
    "dead": (DeadToken, "unregistered"),
    "gone": (DeadToken, "unregistered"),
    "bad": (Refused, "invalid_payload"),
    "mismatch": (Refused, "sender_mismatch"),
    "revoked": (Refused, "sender_mismatch"),
    "too-large": (Refused, "payload_too_large"),
    "throttled": (Throttled, 2.0),
    "throttled-bare": (Throttled, None),
    "error-once": (Transient, None),
    "busy-once": (Transient, 1.0),
    "cut": (Unknown, "cut_off"),
}


def shown(verdict: Verdict) -> tuple[type, Any]:
    """The kind of a verdict, and its code or wait."""
    match verdict:
        case Refused(code, _) | DeadToken(_, _, code) | Unknown(code):
            return type(verdict), code
        case Throttled(_, after) | Transient(_, after):
            return type(verdict), after
        case _:
            return type(verdict), None


async def test_each_scenario_of_fcm_has_its_verdict(lab: LabProcess, vendors: dict[str, Provider]) -> None:
    vendor = vendors["fcm"]
    devices = [fcm_device(vendor, make(name, 1)) for name in FCM]
    said = await send(vendor, credential(lab, "fcm"), devices)
    assert {name: shown(verdict) for name, verdict in zip(FCM, said, strict=True)} == FCM


# Apple has one answer for a path that never was and for one that expired
@pytest.mark.parametrize(
    ("flavour", "differs"), [("mozilla", {}), ("fcm", {}), ("apple", {"gone": (Refused, "invalid_token")})]
)
async def test_each_scenario_of_web_push_has_its_verdict(
    lab: LabProcess, vendors: dict[str, Provider], flavour: str, differs: dict[str, tuple[type, Any]]
) -> None:
    vendor = vendors["webpush"]
    devices = [browser(vendor, lab, name, flavour) for name in WEB_PUSH]
    said = await send(vendor, credential(lab, "webpush"), devices)
    assert {name: shown(verdict) for name, verdict in zip(WEB_PUSH, said, strict=True)} == {**WEB_PUSH, **differs}


async def test_the_lab_reads_what_was_written(lab: LabProcess, vendors: dict[str, Provider]) -> None:
    phone = fcm_device(vendors["fcm"], make("ordinary", 1))
    page = browser(vendors["webpush"], lab, "ordinary", "mozilla")
    first = lab.lines()
    assert isinstance((await send(vendors["fcm"], credential(lab, "fcm"), [phone]))[0], Taken)
    assert isinstance((await send(vendors["webpush"], credential(lab, "webpush"), [page]))[0], Taken)
    accepted = [line for line in lab.ledger(first) if line["accepted"]]
    assert [(line["provider"], line["status"]) for line in accepted] == [("fcm", 200), ("webpush", 201)]
    assert all(line["delivery"].startswith("dlv_") for line in accepted)


async def test_a_revoked_credential_is_a_fault_and_a_restored_one_works_again(
    lab: LabProcess, vendors: dict[str, Provider]
) -> None:
    for name, device in (
        ("fcm", fcm_device(vendors["fcm"], make("ordinary", 2))),
        ("webpush", browser(vendors["webpush"], lab, "ordinary", "mozilla")),
    ):
        who = credential(lab, name)
        lab.ask(f"/lab/credentials/{name}", "POST", {"action": "revoke"})
        assert isinstance((await send(vendors[name], who, [device]))[0], CredentialFault), name
        lab.ask(f"/lab/credentials/{name}", "POST", {"action": "restore"})
        assert isinstance((await send(vendors[name], who, [device]))[0], Taken), name


async def test_the_account_of_the_lab_passes_at_the_door_and_declares_its_floors(
    lab: LabProcess, vendors: dict[str, Provider]
) -> None:
    for name, vendor in vendors.items():
        who = credential(lab, name)
        assert vendor.check_credential(who.secret, Mode.TEST)
        floors = vendor.limits(who).floors
        assert (floors.throttled, floors.transient) == (1.0, 0.5)
