"""Message encryption for Web Push: aes128gcm (RFC 8188) with keys agreed as RFC 8291 says, one record, no padding.

In: a plaintext and a subscription's keys. Out: the body to post. Refuses a point that is not on P-256.
"""

import os
from hmac import digest
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CURVE: Final = ec.SECP256R1()
_ECDH: Final = ec.ECDH()
_RECORD_SIZE: Final = (4096).to_bytes(4, "big")
_LAST_RECORD: Final = b"\x02"
_CEK_INFO: Final = b"Content-Encoding: aes128gcm\x00\x01"
_NONCE_INFO: Final = b"Content-Encoding: nonce\x00\x01"


def encrypt(plaintext: bytes, p256dh: bytes, auth: bytes) -> bytes:
    """The body for one message, with a key pair and a salt of its own; ValueError if `p256dh` is no point of P-256."""
    return seal(plaintext, p256dh, auth, ec.generate_private_key(_CURVE), os.urandom(16))


def seal(plaintext: bytes, p256dh: bytes, auth: bytes, sender: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """As `encrypt`, with the sender's key pair and the salt given: both must be new for every message.

    The HMACs are HKDF of one block, spelled out (RFC 8291 section 3.4).
    """
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, p256dh)
    public = sender.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    agreed = digest(auth, sender.exchange(_ECDH, receiver), "sha256")
    keying = digest(agreed, b"WebPush: info\x00" + p256dh + public + b"\x01", "sha256")
    return encode(plaintext, keying, salt, public)


def encode(plaintext: bytes, keying: bytes, salt: bytes, key_id: bytes) -> bytes:
    """The aes128gcm body of one last record for this input keying material (RFC 8188 sections 2.1 to 2.3)."""
    pseudorandom = digest(salt, keying, "sha256")
    key = digest(pseudorandom, _CEK_INFO, "sha256")[:16]
    nonce = digest(pseudorandom, _NONCE_INFO, "sha256")[:12]
    record = AESGCM(key).encrypt(nonce, plaintext + _LAST_RECORD, None)
    return b"".join((salt, _RECORD_SIZE, bytes((len(key_id),)), key_id, record))
