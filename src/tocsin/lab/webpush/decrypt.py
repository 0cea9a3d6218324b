"""The receiver's side of Web Push encryption: aes128gcm (RFC 8188) with the keys of RFC 8291.

Takes a body and the subscription's private key and secret, gives the plaintext; refuses any body that a browser would.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

_TAG = 16
_HEADER = 21
_POINT = 65


class Undecryptable(ValueError):
    """The body is not one that this receiver can read; the text says why."""


def _hmac(key: bytes, message: bytes) -> bytes:
    mac = hmac.HMAC(key, SHA256())
    mac.update(message)
    return mac.finalize()


def split(body: bytes) -> tuple[bytes, int, bytes, bytes]:
    """(salt, record size, key id, records) of an aes128gcm body (RFC 8188 section 2.1)."""
    if len(body) < _HEADER:
        raise Undecryptable("the body is shorter than the header of aes128gcm")
    salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
    key_id, records = body[_HEADER : _HEADER + length], body[_HEADER + length :]
    if len(key_id) < length:
        raise Undecryptable("the body ends within its key id")
    if size < 18:
        raise Undecryptable(f"the record size is {size}; at least 18 is needed")
    return salt, size, key_id, records


def open_records(ikm: bytes, salt: bytes, size: int, records: bytes) -> bytes:
    """The plaintext of the records (RFC 8188 sections 2.2, 2.3): each ends with 1, the last one with 2, then zeros."""
    prk = _hmac(salt, ikm)
    key = AESGCM(_hmac(prk, b"Content-Encoding: aes128gcm\x00\x01")[:16])
    base = int.from_bytes(_hmac(prk, b"Content-Encoding: nonce\x00\x01")[:12], "big")
    if not records:
        raise Undecryptable("the body has no record")
    plain = []
    last = (len(records) - 1) // size
    for number in range(last + 1):
        record = records[number * size : (number + 1) * size]
        if len(record) <= _TAG:
            raise Undecryptable("a record is too short to hold its delimiter and its tag")
        try:
            padded = key.decrypt((base ^ number).to_bytes(12, "big"), record, None)
        except InvalidTag:
            raise Undecryptable(
                "a record's tag does not fit: it was made for other keys, or changed on the way"
            ) from None
        content = padded.rstrip(b"\x00")
        if not content or content[-1] != (2 if number == last else 1):
            raise Undecryptable("a record does not end with the delimiter of its place")
        plain.append(content[:-1])
    return b"".join(plain)


def decrypt(body: bytes, key: ec.EllipticCurvePrivateKey, public: bytes, secret: bytes) -> bytes:
    """The plaintext of a push message for the subscription with this key, its 65-octet public point and its secret.

    RFC 8291 section 4 allows one record only. Raises Undecryptable.
    """
    salt, size, sender, records = split(body)
    if len(sender) != _POINT:
        raise Undecryptable("the key id is not the sender's uncompressed P-256 point")
    if len(records) > size:
        raise Undecryptable("a push message is one record")
    try:
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
    except ValueError:
        raise Undecryptable("the sender's key is not a point of P-256") from None
    shared = key.exchange(ec.ECDH(), theirs)
    prk = _hmac(secret, shared)
    ikm = _hmac(prk, b"WebPush: info\x00" + public + sender + b"\x01")
    return open_records(ikm, salt, size, records)
