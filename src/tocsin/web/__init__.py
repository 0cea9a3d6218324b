"""The doorframe that every room's routes go through: who calls, what the body says, what an error looks like.

In: HTTP requests. Out: answers, and problem+json (RFC 9457) for whatever cannot be done. Refuses unknown and revoked
keys, bodies over 256 KiB, fields and parameters that do not exist, a key of idempotency used for two things.
"""

from tocsin.web.answers import reply
from tocsin.web.auth import Authenticated, Caller, KeyAuthenticator
from tocsin.web.bodies import Body, json_body, takes
from tocsin.web.frame import create, door, streaming

__all__ = [
    "Authenticated",
    "Body",
    "Caller",
    "KeyAuthenticator",
    "create",
    "door",
    "json_body",
    "reply",
    "streaming",
    "takes",
]
