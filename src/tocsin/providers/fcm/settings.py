"""Where FCM is: Google's published origins for live apps, the lab's for test apps.

The live origins are no setting, so that no configuration can send a live app's messages elsewhere.
"""

from dataclasses import dataclass
from typing import Final

from tocsin.providers.base import BadCredential
from tocsin.terms.outcomes import Mode
from tocsin.wire.endings import Origin

EXCHANGE_PATH: Final = "/token"
"""Where an assertion is exchanged for an access token, at Google and in the lab alike."""


@dataclass(frozen=True, slots=True)
class Place:
    """The two origins that FCM consists of."""

    api: Origin
    oauth: Origin

    @property
    def token_uri(self) -> str:
        """What a service account of this place names as its `token_uri`."""
        return f"https://{self.oauth.authority}{EXCHANGE_PATH}"


PUBLISHED: Final = Place(api=Origin("fcm.googleapis.com"), oauth=Origin("oauth2.googleapis.com"))


@dataclass(frozen=True, slots=True)
class FcmSettings:
    """`lab` is the lab's TLS origin, where FCM and OAuth answer for test apps; None where there is no lab."""

    lab: Origin | None = None

    def place(self, mode: Mode) -> Place:
        """Where apps of this mode send; raises BadCredential for a test app where there is no lab."""
        if mode is Mode.LIVE:
            return PUBLISHED
        if self.lab is None:
            raise BadCredential("no lab is configured, and a test app reaches nothing else: set TOCSIN_LAB_URL")
        return Place(api=self.lab, oauth=self.lab)
