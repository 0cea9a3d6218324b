"""pywebpush, unmodified, encrypts and identifies itself; the lab accepts, verifies and really decrypts."""

import json

import pytest
from pywebpush import WebPushException, webpush
from tests.contracts.lab_process import LabProcess
from tests.contracts.lab_senders import delivery

pytestmark = pytest.mark.peer
ENDS = {"dead": 410, "gone": 404, "bad": 400, "mismatch": 401, "throttled": 429, "busy": 503, "error-once": 500}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = LabProcess(tmp_path_factory.mktemp("lab")).start()
    lab.ask("/lab/settings", "POST", {"latency_ms": [0, 5]})
    yield lab
    assert (lab.stop(), lab.words()) == (0, "")


@pytest.fixture
def push(lab, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(lab.ca))
    account = lab.ask("/lab/accounts/webpush")

    def push(to, data, claims=None, **options):
        claims = {"sub": account["subject"], **(claims or {})}
        return webpush(to, data, vapid_private_key=account["private_key"], vapid_claims=claims, ttl=60, **options)

    return push


def subscription(lab, **asked):
    (made,) = lab.ask("/lab/subscriptions", "POST", asked)["subscriptions"]
    return made


@pytest.mark.parametrize("text", ["x", "grüße ✓", "x" * 3800])
def test_what_it_encrypts_is_decrypted_with_the_delivery(lab, push, text):
    sent, before = delivery(), lab.lines()
    plain = json.dumps({"title": text, "tocsin": {"delivery": sent}}, ensure_ascii=False)
    assert push(subscription(lab), plain).status_code == 201
    (line,) = lab.ledger(before)
    assert (line["delivery"], line["code"], line["accepted"]) == (sent, None, True)
    (kept,) = lab.ask(f"/lab/inbox?delivery={sent}")["data"]
    assert kept["content"] == plain


@pytest.mark.parametrize("flavour", ["mozilla", "fcm", "apple"])
def test_its_identification_is_good_to_every_flavour(lab, push, flavour):
    more = {"Urgency": "high", "Topic": "abcd"}
    assert push(subscription(lab, flavour=flavour), "x", headers=more).status_code == 201


@pytest.mark.parametrize(("kind", "status"), ENDS.items())
def test_it_reports_the_status_of_a_magic_subscription(lab, push, kind, status):
    with pytest.raises(WebPushException) as refused:
        push(subscription(lab, kind=kind), "x")
    assert refused.value.response.status_code == status
    if kind == "throttled":
        assert refused.value.response.headers["retry-after"] == "2"


def test_an_identification_made_out_to_another_service_is_refused(lab, push):
    with pytest.raises(WebPushException) as refused:
        push(subscription(lab), "x", {"aud": "https://elsewhere.example"})
    assert refused.value.response.json()["errno"] == 109


def test_a_message_for_other_keys_is_not_readable(lab, push):
    to, other, before = subscription(lab), subscription(lab), lab.lines()
    assert push({**to, "keys": other["keys"]}, "x").status_code == 201
    assert [line["code"] for line in lab.ledger(before)] == ["undecryptable"]
