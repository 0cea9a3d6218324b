"""The lab reads a push message as a browser does: by the vectors of the RFCs, and no other body."""

import base64
import json
import os
from pathlib import Path

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tocsin.lab.accounts import from_b64url, point
from tocsin.lab.webpush.decrypt import Undecryptable, decrypt, open_records, split

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "webpush.json").read_text("utf-8"))
A = VECTORS["rfc8291_appendix_a"]["values"]
KEY = ec.derive_private_key(int.from_bytes(from_b64url(A["ua_private"]), "big"), ec.SECP256R1())
SECRET = from_b64url(A["auth_secret"])
CASES = [case for case in VECTORS["rfc8291_cases"]["cases"] if case["body"] is not None]


def read(body):
    return decrypt(body, KEY, point(KEY.public_key()), SECRET)


def test_the_example_of_rfc_8291_is_read():
    assert point(KEY.public_key()) == from_b64url(A["ua_public"])
    assert read(from_b64url(A["body"])) == from_b64url(A["plaintext"])


@pytest.mark.parametrize("name", ["rfc8188_section_3_1", "rfc8188_section_3_2"])
def test_the_examples_of_rfc_8188_are_read(name):
    vector = VECTORS[name]
    salt, size, key_id, records = split(from_b64url(vector["body"]))
    assert (size, key_id.decode()) == (vector["rs"], vector["keyid"])
    assert open_records(from_b64url(vector["ikm"]), salt, size, records).decode() == vector["plaintext_utf8"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_edge_bodies_are_read_or_refused_as_published(case):
    body = base64.urlsafe_b64decode(case["body"] + "=" * (-len(case["body"]) % 4))
    if case["expect"] == "accept":
        assert read(body).decode() == case["plaintext_utf8"]
    else:
        with pytest.raises(Undecryptable):
            read(body)


@given(st.binary(min_size=1, max_size=3993))
def test_what_another_implementation_encrypts_is_read(plain):
    sender = ec.generate_private_key(ec.SECP256R1())
    body = http_ece.encrypt(
        plain,
        salt=os.urandom(16),
        private_key=sender,
        dh=point(KEY.public_key()),
        auth_secret=SECRET,
        version="aes128gcm",
    )
    assert len(body) == 103 + len(plain)
    assert read(body) == plain


@given(st.binary(max_size=200))
def test_noise_is_refused_in_words(noise):
    with pytest.raises(Undecryptable, match=r"\w+ \w+"):
        read(noise)


@given(st.integers(0, 143), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(place, bit):
    body = bytearray(from_b64url(A["body"]))
    body[place] ^= 1 << bit
    if place in range(16, 20) and int.from_bytes(body[16:20], "big") >= 58:
        assert read(bytes(body)) == from_b64url(A["plaintext"]), "the record size has no part in the keys"
        return
    with pytest.raises(Undecryptable):
        read(bytes(body))


def header(size=4096, key_id=b""):
    return bytes(16) + size.to_bytes(4, "big") + bytes([len(key_id)]) + key_id


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (header(key_id=point(KEY.public_key())), "no record"),
        (header() + bytes(40), "uncompressed P-256 point"),
        (header(key_id=point(KEY.public_key())) + bytes(16), "too short"),
        (header(key_id=point(KEY.public_key()))[:50], "within its key id"),
        (header(17), "record size is 17"),
    ],
)
def test_a_body_of_the_wrong_build_is_refused_by_what_is_wrong(body, words):
    with pytest.raises(Undecryptable, match=words):
        read(body)
