"""Encryption and identification against the RFCs' own examples, and against a library that nobody here wrote."""

import json
from pathlib import Path
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from tests.rooms.providers.browser import (
    AUTH,
    b64,
    browser_key,
    decrypt,
    point,
    unb64,
    vapid_account,
    vapid_key,
)
from tests.rooms.providers.stand_ins import CREDENTIAL_ID, START, HandClock

from tocsin.providers.webpush import vapid
from tocsin.providers.webpush.encryption import encode, encrypt, seal
from tocsin.providers.webpush.vapid import VapidKeys, Vouchers

VECTORS = Path(__file__).parents[2] / "vectors"


def vectors(name: str) -> dict[str, Any]:
    loaded = json.loads((VECTORS / name).read_text())
    assert isinstance(loaded, dict)
    return loaded


ENCRYPTION = vectors("webpush_encryption.json")
APPENDIX = {name: unb64(text) for name, text in ENCRYPTION["rfc8291_appendix_a"]["values"].items()}


def private_key(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())


@pytest.mark.parametrize(
    ("plaintext", "body"),
    [
        (APPENDIX["plaintext"], APPENDIX["body"]),
        (b"", unb64(ENCRYPTION["rfc8291_empty_plaintext"]["body"])),
    ],
)
def test_the_example_of_rfc_8291_comes_out_octet_by_octet(plaintext: bytes, body: bytes) -> None:
    sender = private_key(APPENDIX["as_private"])
    assert point(sender) == APPENDIX["as_public"]
    assert seal(plaintext, APPENDIX["ua_public"], APPENDIX["auth_secret"], sender, APPENDIX["salt"]) == body


def test_the_content_encoding_example_of_rfc_8188_comes_out_octet_by_octet() -> None:
    example = ENCRYPTION["rfc8188_section_3_1"]
    made = encode(example["plaintext_utf8"].encode(), unb64(example["ikm"]), unb64(example["salt"]), b"")
    assert made == unb64(example["body"])


@given(st.binary(max_size=3993))
def test_a_library_of_others_decrypts_what_we_encrypt(plaintext: bytes) -> None:
    body = encrypt(plaintext, point(browser_key()), AUTH)
    assert decrypt(body) == plaintext
    assert len(body) == len(plaintext) + 103


def test_the_longest_plaintext_makes_a_body_of_4096_octets() -> None:
    assert len(encrypt(b"x" * 3993, point(browser_key()), AUTH)) == 4096


def test_no_key_pair_and_no_salt_is_used_twice() -> None:
    bodies = [encrypt(b"same", point(browser_key()), AUTH) for _ in range(50)]
    assert len({body[:16] for body in bodies}) == 50
    assert len({body[21:86] for body in bodies}) == 50


def test_a_flipped_bit_is_noticed() -> None:
    body = bytearray(encrypt(b"text", point(browser_key()), AUTH))
    body[-1] ^= 1
    with pytest.raises(http_ece.ECEException):
        decrypt(bytes(body))


def test_a_point_off_the_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="EC key"):
        encrypt(b"text", b"\x04" + b"\x01" * 64, AUTH)


def test_a_token_of_ours_has_the_form_of_the_example_in_rfc_8292() -> None:
    example = vectors("webpush_vapid.json")["rfc8292_section_2_4"]
    keys = VapidKeys.read(vapid_account(subject=example["jwt_claims"]["sub"]))
    made = vapid.authorization(keys, example["jwt_claims"]["aud"], example["jwt_claims"]["exp"]).decode()
    ours, theirs = parts(made), parts(example["authorization"])
    assert (ours["header"], ours["claims"]) == (theirs["header"], theirs["claims"])
    assert ours["k"] == b64(point(vapid_key()))
    for one in (ours, theirs):
        verify(one)


def parts(authorization: str) -> dict[str, Any]:
    scheme, token, key = authorization.split(" ")
    assert (scheme, token[:2], token[-1], key[:2]) == ("vapid", "t=", ",", "k=")
    header, claims, signature = token[2:-1].split(".")
    return {
        "signed": f"{header}.{claims}".encode(),
        "header": json.loads(unb64(header)),
        "claims": json.loads(unb64(claims)),
        "signature": unb64(signature),
        "k": key[2:],
    }


def verify(told: dict[str, Any]) -> None:
    """Raises InvalidSignature unless the token was signed by the key it names."""
    raw = told["signature"]
    assert len(raw) == 64
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(told["k"]))
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(signature, told["signed"], ec.ECDSA(SHA256()))


AUDIENCE = "https://push.example.net"


def test_one_token_serves_an_origin_for_eleven_hours() -> None:
    keys, vouchers, clock = VapidKeys.read(vapid_account()), Vouchers(), HandClock()

    def word(audience: str = AUDIENCE, version: int = 1) -> bytes:
        return vouchers.authorization(CREDENTIAL_ID, version, keys, audience, clock.now())

    first = word()
    claims = parts(first.decode())["claims"]
    assert claims == {
        "aud": AUDIENCE,
        "exp": int(START.timestamp()) + 12 * 3600,
        "sub": "mailto:ops@example.org",
    }
    assert word("https://other.example.net:8443") != first
    assert word(version=2) != first
    clock.pass_time(11 * 3600 - 1)
    assert word() == first
    clock.pass_time(1)
    assert word() != first


def test_a_clock_set_back_makes_a_new_token_that_is_not_too_long_lived() -> None:
    keys, vouchers, clock = VapidKeys.read(vapid_account()), Vouchers(), HandClock()
    first = vouchers.authorization(CREDENTIAL_ID, 1, keys, AUDIENCE, clock.now())
    clock.pass_time(-20 * 3600)
    second = vouchers.authorization(CREDENTIAL_ID, 1, keys, AUDIENCE, clock.now())
    assert second != first
    assert parts(second.decode())["claims"]["exp"] - clock.now().timestamp() <= 24 * 3600


def test_only_so_many_tokens_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vapid, "KEPT", 2)
    keys, vouchers = VapidKeys.read(vapid_account()), Vouchers()

    def word(number: int) -> bytes:
        return vouchers.authorization(CREDENTIAL_ID, 1, keys, f"https://{number}.example.net", START)

    first, second = word(1), word(2)
    assert word(1) == first
    word(3)
    assert word(1) == first
    assert word(2) != second
