"""Receipt tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.ledger import receipts
from tocsin.ledger.receipts import BadReceipt, BadReceiptKey
from tocsin.terms import ids

KEY = b"k" * 32
APP, NOTIFICATION, DEVICE = ids.new(), ids.new(), ids.new()
TOKEN = receipts.sign(KEY, APP, NOTIFICATION, DEVICE)


def test_a_token_tells_the_delivery_it_is_of():
    assert receipts.verify(KEY, TOKEN) == (APP, NOTIFICATION, DEVICE)
    assert len(TOKEN) == 86
    assert TOKEN.replace("-", "").replace("_", "").isalnum()


@given(st.integers(0, 85), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_a_token_with_one_other_letter_is_refused_or_the_same_octets(place, letter):
    altered = TOKEN[:place] + letter + TOKEN[place + 1 :]
    try:
        reported = receipts.verify(KEY, altered)
    except BadReceipt:
        return
    # the last letter carries four spare bits
    assert reported == (APP, NOTIFICATION, DEVICE)
    assert altered[:-1] == TOKEN[:-1]


@given(st.text(max_size=100))
def test_text_that_is_no_token_is_refused(text):
    with pytest.raises(BadReceipt):
        receipts.verify(KEY, text)


@pytest.mark.parametrize("text", ["!" * 86, "é" * 86, "A" * 86, "A" * 85, "A" * 87])
def test_text_of_a_token_s_length_is_refused_too(text):
    with pytest.raises(BadReceipt):
        receipts.verify(KEY, text)


def test_a_token_of_another_installation_or_app_is_refused():
    with pytest.raises(BadReceipt):
        receipts.verify(b"x" * 32, TOKEN)
    other = receipts.sign(KEY, ids.new(), NOTIFICATION, DEVICE)
    with pytest.raises(BadReceipt):
        receipts.verify(KEY, other[:21] + TOKEN[21:])


def test_a_key_file_is_read_without_the_white_space_around_it(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"0123456789abcdef" * 4 + b"\n")
    assert receipts.load_key(path) == b"0123456789abcdef" * 4


def test_a_key_file_that_is_absent_or_too_short_is_refused(tmp_path):
    path = tmp_path / "key"
    with pytest.raises(BadReceiptKey, match="No such file"):
        receipts.load_key(path)
    path.write_bytes(b"x" * 31 + b"\n")
    with pytest.raises(BadReceiptKey, match="32 octets"):
        receipts.load_key(path)
