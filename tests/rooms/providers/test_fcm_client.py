"""Batches through FCM: bearers minted once and renewed once, a verdict a device, never the other mode's place."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from tests.rooms.providers.fcm_account import google_account, lab_account, rsa_key
from tests.rooms.providers.stand_ins import (
    LAB,
    START,
    FakeWire,
    HandClock,
    answer,
    credential,
    gather,
    header,
    parcel,
    same,
)

from tocsin.providers.base import (
    ANSWER_WITHIN,
    WRITE_WITHIN,
    CredentialFault,
    DeadToken,
    NotSent,
    Refused,
    Taken,
    Throttled,
    Transient,
    Unknown,
    Verdict,
)
from tocsin.providers.fcm import Fcm, FcmSettings, oauth
from tocsin.terms.handoffs import Message, Reached
from tocsin.terms.outcomes import Mode
from tocsin.wire.endings import Ambiguous, Answered, Call, Ending, Unsent

UNAUTHENTICATED = answer(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})


class Google:
    """OAuth and FCM behind one fake wire: tokens are numbered; `refused` bearers get a 401."""

    def __init__(self) -> None:
        self.minted = 0
        self.lifetime: Any = 3599
        self.refused: set[str] = set()
        self.oauth: Callable[[], Ending] = self.grant
        self.push: Callable[[str], Ending] = lambda token: answer(200, {"name": f"projects/p/messages/{token}"})
        self.wire = FakeWire(self.reply)
        self.clock = HandClock()
        self.fcm = Fcm(FcmSettings(lab=LAB), {Mode.TEST: self.wire}, self.clock)

    def grant(self) -> Ending:
        self.minted += 1
        told = {"access_token": f"bearer-{self.minted}", "expires_in": self.lifetime, "token_type": "Bearer"}
        return answer(200, told)

    def reply(self, call: Call) -> Ending:
        if call.path == b"/token":
            return self.oauth()
        bearer = (header(call.headers, b"authorization") or b"").decode()
        if bearer.removeprefix("Bearer ") in self.refused:
            return UNAUTHENTICATED
        return self.push(orjson.loads(call.body)["message"]["token"])

    def send(self, *tokens: str, version: int = 1, **more: Any) -> Any:
        made = parcel([device(token) for token in tokens], **more)
        return gather(self.fcm.send(credential("fcm", lab_account(), version=version), made))

    def pushes(self) -> list[Call]:
        return [call for call in self.wire.calls if call.path != b"/token"]

    def exchanges(self) -> list[Call]:
        return [call for call in self.wire.calls if call.path == b"/token"]


def device(token: str) -> Reached:
    return Reached(UUID(int=9), token, 1, None)


@pytest.fixture
def google() -> Google:
    return Google()


async def test_a_batch_is_sent_and_every_device_has_its_verdict(google: Google) -> None:
    google.wire.chunk = 2
    endings: dict[str, Ending] = {
        "good": answer(200, {"name": "m/1"}),
        "dead": answer(404, {"error": {"details": [{"@type": FCM_ERROR, "errorCode": "UNREGISTERED"}]}}),
        "fast": answer(429, None, (b"retry-after", b"7")),
        "lost": Ambiguous("cut_off"),
        "left": Unsent("goaway"),
    }
    google.push = endings.__getitem__
    said = await google.send("good", "dead", "fast", "lost", "left")
    expected: list[Verdict] = [
        Taken("m/1"),
        DeadToken("UNREGISTERED"),
        Throttled("RESOURCE_EXHAUSTED", 7.0),
        Unknown("cut_off"),
        NotSent("goaway"),
    ]
    assert all(same(said[index], verdict) for index, verdict in enumerate(expected))
    assert len(said) == 5


FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


async def test_each_call_carries_its_devices_token_delivery_and_receipt(google: Google) -> None:
    await google.send("a" * 30, "b" * 30, receipts=['r\u2028"1', "r2"])
    first, second = google.pushes()
    assert (first.method, first.origin, first.path) == (b"POST", LAB, b"/v1/projects/demo-project/messages:send")
    assert first.headers is second.headers
    assert header(first.headers, b"authorization") == b"Bearer bearer-1"
    assert header(first.headers, b"content-type") == b"application/json"
    told = [orjson.loads(call.body)["message"] for call in (first, second)]
    assert [message["token"] for message in told] == ["a" * 30, "b" * 30]
    assert told[0]["data"] == {"tocsin_delivery": "dlv_" + "0" * 52, "tocsin_receipt": 'r\u2028"1'}
    assert told[1]["data"] == {"tocsin_delivery": "dlv_" + "0" * 51 + "1", "tocsin_receipt": "r2"}
    assert told[0]["apns"]["headers"]["apns-expiration"] == str(int(START.timestamp()) + 3600)


async def test_the_assertion_is_signed_by_the_account_for_googles_endpoint(google: Google) -> None:
    await google.send("t")
    (call,) = google.exchanges()
    assert (call.origin, call.method) == (LAB, b"POST")
    assert header(call.headers, b"content-type") == b"application/x-www-form-urlencoded"
    form = parse_qs(call.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, claims, signature = form["assertion"][0].split(".")
    rsa_key().public_key().verify(unpadded(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    assert orjson.loads(unpadded(head)) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert orjson.loads(unpadded(claims)) == {
        "iss": "push@demo-project.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": int(START.timestamp()),
        "exp": int(START.timestamp()) + 3600,
    }


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_an_account_without_key_id_names_none(google: Google) -> None:
    account = lab_account()
    del account["private_key_id"]
    await gather(google.fcm.send(credential("fcm", account), parcel([device("t")])))
    (assertion,) = parse_qs(google.exchanges()[0].body.decode())["assertion"]
    assert orjson.loads(unpadded(assertion.split(".")[0])) == {"alg": "RS256", "typ": "JWT"}


async def test_a_bearer_is_kept_until_four_minutes_before_its_end(google: Google) -> None:
    await google.send("t")
    google.clock.pass_time(3599 - 241)
    await google.send("t")
    assert google.minted == 1
    google.clock.pass_time(2)
    await google.send("t")
    assert google.minted == 2


async def test_a_short_lived_bearer_is_kept_for_half_its_life(google: Google) -> None:
    google.lifetime = 20
    await google.send("t")
    google.clock.pass_time(9)
    await google.send("t")
    assert google.minted == 1
    google.clock.pass_time(2)
    await google.send("t")
    assert google.minted == 2


async def test_a_new_version_of_the_credential_gets_its_own_bearer(google: Google) -> None:
    await google.send("t", version=1)
    await google.send("t", version=2)
    await google.send("t", version=1)
    assert google.minted == 2


async def test_batches_that_begin_together_share_one_exchange(google: Google) -> None:
    google.wire.gate = asyncio.Event()
    batches = [asyncio.create_task(google.send("t")) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert len(google.wire.submits) == 1
    google.wire.gate.set()
    for said in await asyncio.gather(*batches):
        assert isinstance(said[0], Taken)
    assert google.minted == 1


async def test_a_batch_that_is_given_up_does_not_take_the_exchange_with_it(google: Google) -> None:
    google.wire.gate = asyncio.Event()
    first, second = (asyncio.create_task(google.send("t")) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    google.wire.gate.set()
    assert isinstance((await second)[0], Taken)
    assert first.cancelled()
    assert google.minted == 1


async def test_a_defect_in_an_exchange_reaches_all_that_wait_and_is_not_kept(google: Google) -> None:
    def broken() -> Ending:
        raise RuntimeError("a defect")

    google.oauth = broken
    for failure in await asyncio.gather(google.send("a"), google.send("b"), return_exceptions=True):
        assert isinstance(failure, RuntimeError)
    assert len(google.exchanges()) == 1
    google.oauth = google.grant
    assert isinstance((await google.send("a"))[0], Taken)


async def test_a_refused_bearer_is_renewed_once_and_only_those_calls_are_sent_again(google: Google) -> None:
    await google.send("warm")
    google.push = lambda token: UNAUTHENTICATED if token == "b" and google.minted == 1 else answer(200, {"name": token})
    said = await google.send("a", "b", "c")
    assert said == {0: Taken("a"), 1: Taken("b"), 2: Taken("c")}
    assert google.minted == 2
    bodies = [orjson.loads(call.body)["message"]["token"] for call in google.pushes()]
    assert bodies == ["warm", "a", "b", "c", "b"]
    assert header(google.pushes()[-1].headers, b"authorization") == b"Bearer bearer-2"


async def test_a_bearer_refused_twice_is_the_credentials_fault(google: Google) -> None:
    google.push = lambda token: UNAUTHENTICATED
    said = await google.send("a", "b")
    assert all(same(verdict, CredentialFault("UNAUTHENTICATED")) for verdict in said.values())
    assert len(google.pushes()) == 4
    google.push = lambda token: answer(200)
    assert same((await google.send("a"))[0], Taken(None))
    assert google.minted == 3


async def test_a_bearer_renewed_by_another_batch_is_not_thrown_away(google: Google) -> None:
    await google.send("warm")
    google.refused = {"bearer-1"}
    both = await asyncio.gather(google.send("a"), google.send("b"))
    assert all(isinstance(said[0], Taken) for said in both)
    assert google.minted == 2


async def test_when_the_renewal_fails_the_reason_is_the_verdict(google: Google) -> None:
    await google.send("warm")
    google.refused = {"bearer-1"}
    google.oauth = lambda: answer(400, {"error": "invalid_grant", "error_description": "gone"})
    assert same((await google.send("a"))[0], CredentialFault("oauth invalid_grant"))


@pytest.mark.parametrize(
    ("ending", "expected", "tries"),
    [
        (answer(400, {"error": "invalid_grant"}), CredentialFault("oauth invalid_grant"), 1),
        (answer(401, {"error": "invalid_client"}), CredentialFault("oauth invalid_client"), 1),
        (answer(403, {"error": {"status": "PERMISSION_DENIED"}}), CredentialFault("oauth PERMISSION_DENIED"), 1),
        (answer(404, b"<html>"), CredentialFault("oauth 404"), 1),
        (answer(400, {"error": {"status": 7}}), CredentialFault("oauth 400"), 1),
        (answer(400, {"error": "server_error"}), Transient("oauth server_error"), 2),
        (answer(500, {"error": "internal_failure"}), Transient("oauth internal_failure"), 2),
        (answer(503), Transient("oauth 503"), 2),
        (answer(503, None, (b"retry-after", b"20")), Transient("oauth 503", 20.0), 1),
        (answer(429, [], (b"retry-after", b"9")), Transient("oauth 429", 9.0), 1),
        (answer(408), Transient("oauth 408"), 2),
        (answer(302), Transient("oauth 302"), 2),
        (answer(200, b"<html>"), Transient("oauth answer without an access token"), 2),
        (answer(200, {"access_token": ""}), Transient("oauth answer without an access token"), 2),
        (answer(200, {"access_token": "a\r\nb"}), Transient("oauth answer without an access token"), 2),
        (answer(200, {"access_token": "é"}), Transient("oauth answer without an access token"), 2),
        (answer(200, {"access_token": "a", "expires_in": -1}), Transient("oauth answer with an odd expires_in"), 2),
        (answer(200, {"access_token": "a", "expires_in": "9"}), Transient("oauth answer with an odd expires_in"), 2),
        (answer(200, {"access_token": "a", "expires_in": True}), Transient("oauth answer with an odd expires_in"), 2),
        (Unsent("no_connection"), Transient("oauth no_connection"), 2),
        (Ambiguous("timed_out"), Transient("oauth timed_out"), 2),
    ],
)
async def test_what_the_token_endpoint_says_is_every_devices_verdict(
    google: Google, ending: Ending, expected: Verdict, tries: int
) -> None:
    google.oauth = lambda: ending
    said = await google.send("a", "b")
    assert len(said) == 2
    assert all(same(verdict, expected) for verdict in said.values())
    assert len(google.exchanges()) == tries
    assert google.pushes() == []
    assert google.clock.slept == [oauth.PAUSE] * (tries - 1)


async def test_one_bad_answer_of_the_token_endpoint_costs_a_second_only(google: Google) -> None:
    google.oauth = iter_endings(answer(503), google.grant)
    assert isinstance((await google.send("a"))[0], Taken)
    assert google.wire.limits[-1] == (WRITE_WITHIN - 1.0, ANSWER_WITHIN - 1.0)


def iter_endings(first: Answered, then: Callable[[], Ending]) -> Callable[[], Ending]:
    told: list[Answered] = [first]
    return lambda: told.pop() if told else then()


async def test_an_expiring_bearer_is_used_on_while_the_token_endpoint_is_unwell(google: Google) -> None:
    await google.send("a")
    google.clock.pass_time(3599 - 100)
    google.oauth = lambda: answer(503)
    assert isinstance((await google.send("a"))[0], Taken)
    google.clock.pass_time(100)
    assert same((await google.send("a"))[0], Transient("oauth 503"))


async def test_without_a_stated_lifetime_a_bearer_is_not_trusted_for_long(google: Google) -> None:
    google.oauth = lambda: answer(200, {"access_token": "quiet"})
    await google.send("a")
    google.clock.pass_time(oauth.UNSTATED)
    await google.send("a")
    assert len(google.exchanges()) == 2


async def test_only_so_many_bearers_are_kept(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth, "KEPT", 2)
    for version in (1, 2, 1, 3, 1, 2):
        await google.send("t", version=version)
    # version 2 was the one unused for longest when 3 came
    assert google.minted == 4


async def test_every_end_is_known_before_the_lease_of_a_batch_is_over(google: Google) -> None:
    google.push = lambda token: UNAUTHENTICATED
    await google.send("t")
    exchange, first, again_exchange, second = (answer_within for _, answer_within in google.wire.limits)
    assert 2 * exchange + oauth.PAUSE < WRITE_WITHIN
    assert first == ANSWER_WITHIN
    assert first + 2 * again_exchange + oauth.PAUSE + second < 30


async def test_a_process_that_was_stalled_sends_nothing_late(google: Google) -> None:
    def late() -> Ending:
        google.clock.pass_time(60)
        return google.grant()

    google.oauth = late
    assert (await google.send("t"))[0] == NotSent("late")
    assert google.pushes() == []


async def test_a_device_whose_copy_is_too_large_is_refused_and_the_others_are_sent(google: Google) -> None:
    said = await google.send("a", "b", message=Message(body="x" * 3800), receipts=["r", "r" * 300])
    assert isinstance(said[0], Taken)
    assert same(said[1], Refused("payload_too_large", "over 4096 octets"))
    assert len(google.pushes()) == 1


async def test_when_no_copy_fits_nobody_is_asked_for_a_bearer(google: Google) -> None:
    said = await google.send("a", message=Message(body="x" * 4096))
    assert same(said[0], Refused("payload_too_large", "over 4096 octets"))
    assert google.wire.calls == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"project_id": None}, "project_id"), ({"private_key": "no key"}, "PEM"), ({"token_uri": "x"}, "token_uri")],
)
async def test_a_credential_that_cannot_work_is_a_fault_of_the_credential(
    google: Google, changes: dict[str, Any], words: str
) -> None:
    said = await gather(google.fcm.send(credential("fcm", lab_account(**changes)), parcel([device("a"), device("b")])))
    assert len(said) == 2
    assert all(isinstance(verdict, CredentialFault) and words in verdict.detail for verdict in said.values())
    assert google.wire.calls == []


@pytest.mark.parametrize("secret", [lab_account(), google_account()])
@pytest.mark.parametrize("mode", list(Mode))
async def test_no_call_of_an_app_ever_leaves_for_the_other_modes_place(mode: Mode, secret: dict[str, Any]) -> None:
    test, live = Google(), Google()
    for settings in (FcmSettings(lab=LAB), FcmSettings()):
        fcm = Fcm(settings, {Mode.TEST: test.wire, Mode.LIVE: live.wire}, HandClock())
        await gather(fcm.send(credential("fcm", secret, mode), parcel([device("t")])))
    assert {call.origin.host for call in test.wire.calls} <= {"localhost"}
    assert {call.origin.host for call in live.wire.calls} <= {"fcm.googleapis.com", "oauth2.googleapis.com"}
    matching = (mode is Mode.LIVE) == (secret["token_uri"] == "https://oauth2.googleapis.com/token")
    assert bool(test.wire.calls) == (matching and mode is Mode.TEST)
    assert bool(live.wire.calls) == (matching and mode is Mode.LIVE)


async def test_a_batch_that_was_begun_too_long_ago_is_not_sent_at_all() -> None:
    google = Google()
    early = await google.send("one", started=google.clock.monotonic() - WRITE_WITHIN + 3.0)
    assert isinstance(early[0], Taken)
    assert google.wire.limits[-1] == (3.0, ANSWER_WITHIN - WRITE_WITHIN + 3.0)
    late = await google.send("one", "two", started=google.clock.monotonic() - WRITE_WITHIN)
    assert set(late.values()) == {NotSent("late")}
    assert len(google.pushes()) == 1
