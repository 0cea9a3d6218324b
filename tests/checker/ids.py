"""Public ids read and written by the published rule, apart from the product's own code.

An id is a prefix and Crockford base32 (lower case) of 16 octets (26 letters) or, for a delivery, of 32 (52 letters).
"""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TO_PYTHON = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


def octets(text: str, prefix: str) -> bytes:
    """The 16 or 32 octets of a public id; ValueError if it is not one of this prefix."""
    head, _, tail = text.partition("_")
    length = {26: 16, 52: 32}.get(len(tail))
    if head != prefix or length is None or not set(tail) <= set(_ALPHABET):
        raise ValueError(f"{text!r} is not an id that begins with {prefix}_")
    return int(tail.translate(_TO_PYTHON), 32).to_bytes(length, "big")


def text(prefix: str, value: bytes) -> str:
    """The public id of 16 or 32 octets."""
    number, letters = int.from_bytes(value, "big"), []
    for _ in range(26 if len(value) == 16 else 52):
        letters.append(_ALPHABET[number & 31])
        number >>= 5
    return f"{prefix}_{''.join(reversed(letters))}"
