"""An identification is good with the right signature, audience, time and contact, and not otherwise."""

import json
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tocsin.lab.accounts import b64url, point
from tocsin.lab.webpush.vapid import BadVapid, Vapid, parameters, verify

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "webpush.json").read_text("utf-8"))
RFC = VECTORS["rfc8292_section_2_4"]
WITHIN = 1453523768 - 3600
PUSH = {"https://push.example.net"}
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = b64url(point(KEY.public_key()))
GOOD = {"aud": "https://push.example.net", "exp": WITHIN + 3600, "sub": "mailto:a@example.com"}


def signed(claims, header=None, key=KEY):
    text = f"{b64url(orjson.dumps(header or {'alg': 'ES256', 'typ': 'JWT'}))}.{b64url(orjson.dumps(claims))}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def test_the_example_of_rfc_8292_is_good_while_it_lasts_and_not_after():
    assert verify(RFC["t"], RFC["k"], PUSH, WITHIN).expires == RFC["jwt_claims"]["exp"]
    for instant in (1453523768, 1453523768 - 24 * 3600 - 1):
        with pytest.raises(BadVapid, match="exp is over"):
            verify(RFC["t"], RFC["k"], PUSH, instant)


def test_a_token_made_elsewhere_is_good():
    made = VECTORS["vapid_made"]
    assert len(verify(made["vapid_t"], made["vapid_k"], PUSH, WITHIN).key) == 65


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"aud": "https://elsewhere.example"}, "aud is not"),
        ({"aud": ["https://push.example.net"]}, "aud is not"),
        ({"exp": WITHIN}, "exp is over"),
        ({"exp": WITHIN + 86_401}, "exp is over"),
        ({"exp": "soon"}, "exp is over"),
        ({"exp": True}, "exp is over"),
        ({"sub": None}, "sub is not"),
        ({"sub": "a@example.com"}, "sub is not"),
    ],
)
def test_a_claim_that_is_not_good_is_named(changed, words):
    with pytest.raises(BadVapid, match=words):
        verify(signed({**GOOD, **changed}), PUBLIC, PUSH, WITHIN)


@pytest.mark.parametrize(
    ("token", "key", "reason"),
    [
        (signed(GOOD, key=ec.generate_private_key(ec.SECP256R1())), PUBLIC, "BadJwtToken"),
        (signed(GOOD, {"alg": "none"}), PUBLIC, "BadJwtToken"),
        (signed(GOOD).rpartition(".")[0] + ".AAAA", PUBLIC, "BadJwtToken"),
        (signed(["not", "claims"]), PUBLIC, "BadJwtToken"),
        ("a.b", PUBLIC, "BadJwtToken"),
        ("%%.%%.%%", PUBLIC, "BadJwtToken"),
        (signed(GOOD), "AAAA", "BadVapidPublicKey"),
        (signed(GOOD), b64url(b"\x04" + bytes(64)), "BadVapidPublicKey"),
    ],
)
def test_a_token_or_key_that_is_none_is_refused(token, key, reason):
    with pytest.raises(BadVapid) as refused:
        verify(token, key, PUSH, WITHIN)
    assert refused.value.reason == reason


def test_the_scheme_is_case_blind_and_unknown_parameters_are_ignored():
    assert parameters('VAPID k="key", x=1, t=token') == ("token", "key")
    for text in ("Bearer x", "vapid t=1", "vapid k=1", "vapid"):
        with pytest.raises(BadVapid, match="Authorization"):
            parameters(text)


def test_what_was_good_is_remembered_only_as_long_as_it_lasts():
    vapid, field = Vapid(), f"vapid t={signed(GOOD)}, k={PUBLIC}"
    first = vapid.check(field, PUSH, WITHIN)
    assert vapid.check(field, PUSH, WITHIN + 3599) is first
    with pytest.raises(BadVapid, match="exp is over"):
        vapid.check(field, PUSH, WITHIN + 3600)
    with pytest.raises(BadVapid, match="missing"):
        vapid.check(None, PUSH, WITHIN)
