"""The form of an FCM registration token, or of a Firebase installation id, which FCM takes in its place."""

import re
from typing import Any, Final

from tocsin.providers.base import Address, BadToken

SHORTEST: Final = 20
LONGEST: Final = 4096
_FOREIGN = re.compile(r"[^A-Za-z0-9_:.%=-]")


def check(token: Any, subscription: Any) -> Address:
    """The token as it is stored; raises BadToken.

    Google publishes no grammar: what is refused is what no token has had.
    """
    if subscription is not None:
        raise BadToken("an FCM device has a token and no subscription: subscriptions belong to the provider webpush")
    if not isinstance(token, str):
        raise BadToken("token must be text: the registration token that the Firebase SDK returned")
    if not SHORTEST <= len(token) <= LONGEST:
        raise BadToken(f"an FCM token has {SHORTEST} to {LONGEST} characters, this one has {len(token)}")
    foreign = _FOREIGN.search(token)
    if foreign:
        raise BadToken(
            f"character {foreign.start() + 1} cannot be part of an FCM token: letters, digits and _ - : . % = only"
        )
    return Address(token, None)
