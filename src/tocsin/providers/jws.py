"""Signed claims in compact form (RFC 7515 section 7.1, RFC 7519): what OAuth and VAPID prove an identity with.

In: a header, claims and a function that signs. Out: the token's text. Which algorithm it is, the caller knows.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from tocsin.providers import base64url


def compact(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """`header.claims.signature`, each base64url; `sign` takes the octets to sign and gives the raw signature."""
    signed = f"{base64url.encode(orjson.dumps(header))}.{base64url.encode(orjson.dumps(claims))}"
    return f"{signed}.{base64url.encode(sign(signed.encode('ascii')))}"
