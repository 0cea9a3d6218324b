"""What FCM takes at the door: tokens, service accounts, and which place each mode reaches."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.rooms.providers.fcm_account import google_account, lab_account, pem
from tests.rooms.providers.stand_ins import LAB, FakeWire, HandClock, answer, credential, options

from tocsin.providers.base import Address, BadCredential, BadToken, RetryFloors, TooLarge
from tocsin.providers.fcm import Fcm, FcmSettings
from tocsin.providers.fcm.account import ServiceAccount
from tocsin.providers.fcm.settings import PUBLISHED as GOOGLE
from tocsin.terms.handoffs import Message
from tocsin.terms.outcomes import Mode

TOKEN = "dRt-9_aZ0QmZk3:APA91b" + "x" * 120
WIRE = FakeWire(lambda call: answer(200))
FCM = Fcm(FcmSettings(lab=LAB), {Mode.TEST: WIRE, Mode.LIVE: WIRE}, HandClock())
NO_LAB = Fcm(FcmSettings(), {Mode.LIVE: WIRE}, HandClock())


def test_a_token_is_kept_as_it_is() -> None:
    for mode in Mode:
        assert FCM.check_token(TOKEN, None, mode) == Address(TOKEN, None)


def test_an_installation_id_is_a_token_too() -> None:
    assert FCM.check_token("cAbCdEfGhIjKlMnOpQrStU", None, Mode.LIVE).token == "cAbCdEfGhIjKlMnOpQrStU"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, "must be text"),
        (12, "must be text"),
        ({"token": TOKEN}, "must be text"),
        ("", "20 to 4096 characters, this one has 0"),
        ("short", "this one has 5"),
        ("x" * 4097, "this one has 4097"),
        ("https://updates.push.services.mozilla.com/wpush", "character 7"),
        ("x" * 20 + " ", "character 21"),
        ("x" * 20 + "\n", "character 21"),
        ("x" * 20 + "é", "character 21"),
    ],
)
def test_what_is_no_token_is_refused_in_clear_words(token: Any, words: str) -> None:
    with pytest.raises(BadToken, match=words):
        FCM.check_token(token, None, Mode.TEST)


def test_a_subscription_is_no_fcm_token() -> None:
    with pytest.raises(BadToken, match="webpush"):
        FCM.check_token(TOKEN, {"endpoint": "https://e.org/"}, Mode.TEST)


def test_a_service_account_shows_its_public_part_only() -> None:
    public = {"project_id": "demo-project", "client_email": "push@demo-project.iam.gserviceaccount.com"}
    assert FCM.check_credential(lab_account(), Mode.TEST) == public
    assert FCM.check_credential(google_account(), Mode.LIVE) == public
    assert FCM.check_credential(google_account(private_key_id=None), Mode.LIVE) == public


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "authorized_user"}, "service_account"),
        ({"type": None}, "service_account"),
        ({"project_id": None}, "project_id is missing"),
        ({"project_id": "../../v1/other"}, "project_id is no Google Cloud project id"),
        ({"project_id": "Demo\r\nhost: x"}, "project_id is no"),
        ({"client_email": 7}, "client_email is missing"),
        ({"client_email": "nobody"}, "client_email is no e-mail"),
        ({"private_key": ""}, "private_key is missing"),
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "no unencrypted PEM"),
        ({"private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "must be an RSA key"),
        ({"private_key_id": 5}, "private_key_id must be text"),
        ({"token_uri": None}, "token_uri is missing"),
        ({"token_uri": "https://localhost:9443/token/"}, "token_uri must be https://localhost:9443/token"),
        ({"lab": {"retry_floors": {"throttled": "soon"}}}, r"retry_floors\.throttled"),
    ],
)
def test_what_is_no_service_account_is_refused_in_clear_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadCredential, match=words) as refused:
        FCM.check_credential(lab_account(**changes), Mode.TEST)
    assert "BEGIN" not in str(refused.value)


def test_a_live_app_takes_no_account_of_the_lab_and_a_test_app_none_of_googles() -> None:
    with pytest.raises(BadCredential, match=r"https://oauth2\.googleapis\.com/token"):
        FCM.check_credential(lab_account(), Mode.LIVE)
    with pytest.raises(BadCredential, match="https://localhost:9443/token"):
        FCM.check_credential(google_account(), Mode.TEST)


def test_a_live_account_may_declare_what_it_likes_of_a_lab() -> None:
    assert FCM.check_credential(google_account(lab={"retry_floors": "none"}), Mode.LIVE)


def test_without_a_lab_a_test_app_gets_no_credential() -> None:
    with pytest.raises(BadCredential, match="no lab is configured"):
        NO_LAB.check_credential(lab_account(), Mode.TEST)


def test_live_apps_get_the_published_floors() -> None:
    live = FCM.limits(credential("fcm", google_account(), Mode.LIVE))
    assert (live.payload, live.ttl_max, live.floors) == (4096, 2_419_200, RetryFloors(60.0, 10.0))
    assert FCM.limits(credential("fcm", lab_account())).floors == RetryFloors(1.0, 0.5)


def test_no_setting_moves_live_apps_away_from_google() -> None:
    for settings in (FcmSettings(), FcmSettings(lab=LAB)):
        place = settings.place(Mode.LIVE)
        assert place is GOOGLE
        assert (place.api.host, place.api.port) == ("fcm.googleapis.com", 443)
        assert place.token_uri == "https://oauth2.googleapis.com/token"


def test_a_message_that_can_never_fit_is_refused_at_the_door() -> None:
    FCM.check_message(Message(body="x" * 3000), options())
    with pytest.raises(TooLarge, match="4096"):
        FCM.check_message(Message(body="x" * 4096), options())


def test_the_key_is_not_shown() -> None:
    account = ServiceAccount.read(lab_account(), FcmSettings(lab=LAB).place(Mode.TEST))
    assert "PRIVATE" not in repr(account)
    assert "PRIVATE" not in repr(credential("fcm", lab_account()))


@given(st.dictionaries(st.sampled_from(list(lab_account())), st.none() | st.text(max_size=5) | st.lists(st.none())))
def test_any_object_is_taken_or_refused_and_nothing_else(changes: dict[str, Any]) -> None:
    try:
        public = FCM.check_credential(lab_account(**changes), Mode.TEST)
    except BadCredential:
        return
    assert public["project_id"] == lab_account(**changes)["project_id"]
