"""What an API key is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.tenants import keys
from tocsin.terms import ids
from tocsin.terms.outcomes import Mode


@pytest.mark.parametrize("mode", list(Mode))
def test_a_minted_key_reads_back_as_itself(mode):
    key = keys.mint(mode)
    assert keys.parse(key.text) == key
    assert key.text.startswith(f"tk_{mode.value}_{key.key_id}_")
    assert len(key.secret) == 32
    assert key.last4 == key.text[-4:]


def test_every_key_is_new():
    assert len({keys.mint(Mode.TEST).text for _ in range(100)}) == 100


def test_a_key_of_a_known_checksum():
    # CRC32 of the text before it, in base 62 with digits, capitals and small letters, six letters long
    key = keys.ApiKey(Mode.TEST, "abcdef", "0" * 32)
    assert key.text == "tk_test_abcdef_" + "0" * 32 + _base62(0x0 ^ _crc("tk_test_abcdef_" + "0" * 32))


def _crc(text):
    crc = 0xFFFFFFFF
    for octet in text.encode():
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _base62(number):
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(letters[number // 62**power % 62] for power in range(5, -1, -1))


@given(st.data())
def test_a_key_with_one_wrong_letter_is_refused_offline(data):
    text = keys.ApiKey(Mode.LIVE, "Abc123xyz", "q7" * 16).text
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(keys.ALPHABET + "_ ").filter(lambda letter: letter != text[place]))
    with pytest.raises(keys.BadKey):
        keys.parse(text[:place] + letter + text[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "tk_test_x", "Bearer x", "tk_prod_abcdef_" + "0" * 38, "é" * 60, "tk_test_abcdef_\n"]
)
def test_text_that_is_no_key_is_refused_and_not_repeated(text):
    with pytest.raises(keys.BadKey) as refused:
        keys.parse(text)
    assert not text or text not in str(refused.value)


def test_neither_repr_nor_str_shows_the_secret():
    key = keys.mint(Mode.TEST)
    assert key.secret not in f"{key!r} {key!s}"


def test_a_pepper_changes_what_is_stored():
    assert keys.digest("secret") != keys.digest("secret", b"pepper") != keys.digest("secret", b"other")
    assert len(keys.digest("secret")) == len(keys.digest("secret", b"pepper")) == 32


def _found(key, **changes):
    values = {"mode": key.mode, "digest": keys.digest(key.secret), "live": True} | changes
    return keys.Found(ids.new(), ids.new(), **values)


def test_a_key_matches_what_is_stored_of_it_and_nothing_else():
    key = keys.mint(Mode.TEST)
    assert keys.matches(_found(key), key)
    assert not keys.matches(None, key)
    assert not keys.matches(_found(key, live=False), key)
    assert not keys.matches(_found(key, digest=keys.digest("another")), key)
    assert not keys.matches(_found(key, mode=Mode.LIVE), key)
    assert not keys.matches(_found(key), key, b"pepper")
