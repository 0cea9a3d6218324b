"""The envelope that credentials are kept in."""

import base64
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.tenants import vault
from tocsin.tenants.vault import BadKeyring, BadSeal, Keyring

RING = Keyring("k1", {"k1": b"1" * 32, "k2": b"2" * 32})
ROW = "tenants.credentials|app|credential|fcm|1"


@given(st.binary(max_size=2000), st.text(max_size=50))
def test_what_was_sealed_opens_in_its_own_row(secret, row):
    assert RING.open(RING.seal(secret, row), row) == secret


def test_a_seal_names_its_key_and_shows_nothing_of_the_secret():
    seal = RING.seal(b"the secret itself", ROW)
    assert vault.key_id(seal) == "k1"
    assert b"secret" not in seal


def test_the_same_secret_is_never_sealed_alike():
    assert RING.seal(b"x", ROW) != RING.seal(b"x", ROW)


@pytest.mark.parametrize("other", [ROW + "2", ROW.replace("fcm", "webpush"), ""])
def test_a_seal_that_was_moved_to_another_row_does_not_open(other):
    with pytest.raises(BadSeal, match="moved"):
        RING.open(RING.seal(b"secret", ROW), other)


SEAL = RING.seal(b"secret", ROW)


@given(st.integers(0, len(SEAL) - 1), st.integers(1, 255))
def test_a_seal_with_any_octet_altered_does_not_open(place, difference):
    altered = bytearray(SEAL)
    altered[place] ^= difference
    with pytest.raises(BadSeal):
        RING.open(bytes(altered), ROW)


@given(st.integers(0, len(SEAL) - 1))
def test_a_seal_that_was_cut_short_does_not_open(length):
    with pytest.raises(BadSeal):
        RING.open(SEAL[:length], ROW)


def test_a_ring_without_the_key_says_which_one_it_lacks():
    seal = Keyring("k9", {"k9": b"9" * 32}).seal(b"secret", ROW)
    with pytest.raises(BadSeal, match="'k9'"):
        RING.open(seal, ROW)


def test_after_rotation_new_seals_use_the_new_key_and_old_ones_still_open(tmp_path):
    path = tmp_path / "ring"
    before = vault.create_keyring(path)
    old = before.seal(b"old", ROW)
    after = vault.rotate_keyring(path)
    new = after.seal(b"new", ROW)
    assert after.active != before.active
    assert vault.key_id(new) == after.active
    assert (after.open(old, ROW), after.open(new, ROW)) == (b"old", b"new")
    with pytest.raises(BadSeal):
        before.open(new, ROW)


def test_a_keyring_file_is_private_and_never_overwritten(tmp_path):
    path = tmp_path / "ring"
    vault.create_keyring(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        vault.create_keyring(path)
    vault.rotate_keyring(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["ring"]


def test_a_keyring_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "ring"
    vault.create_keyring(path)
    path.chmod(0o640)
    with pytest.raises(BadKeyring, match="chmod 600"):
        vault.load_keyring(path)


def _ring(**keys):
    return json.dumps({"active": "k1", "keys": keys}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"active": "k1"}',
        b'{"active": "k1", "keys": []}',
        _ring(k1="not base64!"),
        _ring(k1=base64.b64encode(b"short").decode()),
        _ring(k2=base64.b64encode(b"2" * 32).decode()),
        _ring(**{"k1": base64.b64encode(b"1" * 32).decode(), "a name": base64.b64encode(b"1" * 32).decode()}),
    ],
)
def test_a_file_that_is_no_keyring_is_refused(tmp_path, content):
    path = tmp_path / "ring"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadKeyring):
        vault.load_keyring(path)


def test_an_absent_keyring_says_how_to_make_one(tmp_path):
    with pytest.raises(BadKeyring, match="tocsin keys vault"):
        vault.load_keyring(tmp_path / "none")


def test_a_keyring_shows_no_key():
    assert "1" * 8 not in repr(RING)
    assert repr(RING) == "Keyring(active='k1', 2 keys)"


def test_a_seal_of_another_format_is_refused():
    for seal in (b"", b"\x02\x02k1" + os.urandom(100), b"\x01\xff", b"\x01\x02\xff\xff" + os.urandom(100)):
        with pytest.raises(BadSeal, match="format"):
            RING.open(seal, ROW)
