"""Google's own SDK for Python, unmodified, takes the lab for FCM: grants, sends, errors and retries."""

import time

import firebase_admin
import pytest
from firebase_admin import credentials, exceptions, messaging
from google.auth.exceptions import RefreshError
from tests.contracts.lab_process import LabProcess
from tests.contracts.lab_senders import delivery

from tocsin.lab import make

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:Message.token is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = LabProcess(tmp_path_factory.mktemp("lab")).start()
    lab.ask("/lab/settings", "POST", {"latency_ms": [0, 5]})
    yield lab
    assert (lab.stop(), lab.words()) == (0, "")


@pytest.fixture
def app(lab, monkeypatch):
    # the SDK has no option for where FCM is: this address is all that is set from outside, with whom to trust
    monkeypatch.setattr(messaging._MessagingService, "FCM_URL", lab.origin + "/v1/projects/{0}/messages:send")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(lab.ca))
    monkeypatch.setenv("SSL_CERT_FILE", str(lab.ca))
    # google-auth also asks Google where the account may be used: nothing of that leaves this machine
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    app = firebase_admin.initialize_app(credentials.Certificate(lab.ask("/lab/accounts/fcm")), name="peer")
    yield app
    firebase_admin.delete_app(app)


def message(token, sent=None):
    data = {"k": "v"} if sent is None else {"tocsin_delivery": sent}
    return messaging.Message(token=token, data=data, notification=messaging.Notification("Hi", "there"))


def test_a_message_is_sent_and_its_delivery_is_in_the_ledger(lab, app):
    sent, before = delivery(), lab.lines()
    name = messaging.send(message(make("ordinary", 1), sent), app=app)
    (line,) = lab.ledger(before)
    assert (line["ref"], line["delivery"], line["accepted"]) == (name, sent, True)


def test_everything_the_sdk_can_say_is_well_formed_to_the_lab(lab, app):
    android = messaging.AndroidConfig(
        collapse_key="k",
        priority="high",
        ttl=3600.5,
        restricted_package_name="a.b",
        data={"a": "b"},
        direct_boot_ok=True,
        fcm_options=messaging.AndroidFCMOptions("label"),
        notification=messaging.AndroidNotification(
            title="t",
            body="b",
            icon="i",
            color="#aabbcc",
            sound="s",
            tag="g",
            click_action="c",
            body_loc_key="k",
            body_loc_args=["1"],
            title_loc_key="k",
            title_loc_args=["1"],
            channel_id="c",
            image="https://example.com/i.png",
            ticker="t",
            sticky=True,
            local_only=True,
            priority="high",
            vibrate_timings_millis=[100, 1500],
            default_sound=False,
            light_settings=messaging.LightSettings("#aabbccdd", 100, 200),
            visibility="public",
            notification_count=3,
            proxy="allow",
        ),
    )
    apns = messaging.APNSConfig(
        headers={"apns-priority": "10"},
        payload=messaging.APNSPayload(
            messaging.Aps(
                alert=messaging.ApsAlert(title="t", body="b", loc_key="k", loc_args=["1"]),
                badge=1,
                sound=messaging.CriticalSound("s", critical=True, volume=0.5),
                mutable_content=True,
            ),
            custom="x",
        ),
        fcm_options=messaging.APNSFCMOptions("label", image="https://example.com/i.png"),
        live_activity_token="t",
    )
    webpush = messaging.WebpushConfig(
        headers={"TTL": "5"},
        data={"a": "b"},
        notification=messaging.WebpushNotification(title="t", actions=[messaging.WebpushNotificationAction("a", "t")]),
        fcm_options=messaging.WebpushFCMOptions("https://example.com"),
    )
    options = messaging.FCMOptions("label")
    for target in ({"token": make("ok", 1)}, {"fid": "c" + "x" * 21}):
        full = messaging.Message(android=android, apns=apns, webpush=webpush, fcm_options=options, **target)
        assert messaging.send(full, app=app).startswith("projects/tocsin-lab/messages/")
    for target in ({"topic": "news"}, {"condition": "'a' in topics && 'b' in topics"}):
        assert messaging.send(messaging.Message(data={"a": "b"}, **target), app=app)
    assert messaging.send(message(make("ok", 2)), dry_run=True, app=app).endswith("fake_message_id")


@pytest.mark.parametrize(
    ("scenario", "kind", "sends"),
    [
        ("dead", messaging.UnregisteredError, 1),
        ("bad", exceptions.InvalidArgumentError, 1),
        ("apns-dead", exceptions.InvalidArgumentError, 1),
        ("mismatch", messaging.SenderIdMismatchError, 1),
        ("throttled-bare", messaging.QuotaExceededError, 1),
        ("third-party", messaging.ThirdPartyAuthError, 3),
        ("revoked", exceptions.UnauthenticatedError, 3),
    ],
)
def test_the_sdk_reads_each_error_as_the_lab_means_it(lab, app, scenario, kind, sends):
    before = lab.lines()
    with pytest.raises(kind) as refused:
        messaging.send(message(make(scenario, 1)), app=app)
    assert type(refused.value) is kind
    assert len(lab.ledger(before)) == sends, "a 401 makes the SDK fetch a new access token and send again"


@pytest.mark.parametrize("scenario", ["error-once", "busy-once"])
def test_the_sdk_tries_again_what_failed_once(lab, app, scenario):
    before = lab.lines()
    assert messaging.send(message(make(scenario, 1), delivery()), app=app)
    assert [line["accepted"] for line in lab.ledger(before)] == [False, True]


def test_the_sdk_waits_as_long_as_retry_after_says(lab, app):
    before, began = lab.lines(), time.monotonic()
    assert messaging.send(message(make("throttled", 1, 1), delivery()), app=app)
    assert time.monotonic() - began >= 1.0
    assert [(line["status"], line["early"]) for line in lab.ledger(before)] == [(429, False), (200, False)]


def test_an_unavailable_fcm_is_an_error_in_the_end(lab, app):
    before = lab.lines()
    with pytest.raises(exceptions.UnavailableError):
        messaging.send(message(make("busy", 1)), app=app)
    assert [line["status"] for line in lab.ledger(before)] == [503] * 5


def test_send_each_tells_every_messages_own_end(app):
    names = ["ok", "dead", "mismatch", "bad", "ok"]
    batch = messaging.send_each([message(make(name, n)) for n, name in enumerate(names)], app=app)
    assert (batch.success_count, batch.failure_count) == (2, 3)
    assert [type(response.exception).__name__ for response in batch.responses] == [
        "NoneType", "UnregisteredError", "SenderIdMismatchError", "InvalidArgumentError", "NoneType",
    ]  # fmt: skip


async def test_send_each_async_speaks_http2_to_the_lab(lab, app):
    before = lab.lines()
    names = ["ok", "slow", "dead"] * 20
    batch = await messaging.send_each_async([message(make(name, n)) for n, name in enumerate(names)], False, app=app)
    # the SDK closes its connections in a loop of their own, where those of this loop cannot be closed
    await messaging._get_messaging_service(app)._async_client.aclose()
    assert (batch.success_count, batch.failure_count) == (40, 20)
    failed = [response.exception for response in batch.responses if response.exception]
    assert {type(fault) for fault in failed} == {messaging.UnregisteredError}
    lines = lab.ledger(before)
    assert len(lines) == 60
    assert len({line["connection"] for line in lines}) < 60, "many messages shared a connection"


def test_a_revoked_account_gets_no_access_token(lab, app):
    lab.ask("/lab/credentials/fcm", "POST", {"action": "revoke"})
    try:
        with pytest.raises(RefreshError, match="Invalid JWT Signature"):
            messaging.send(message(make("ok", 1)), app=app)
    finally:
        lab.ask("/lab/credentials/fcm", "POST", {"action": "restore"})
    assert messaging.send(message(make("ok", 1)), app=app)
