"""Where Web Push is: a live app's subscriptions name their own push service, a test app's must be of the lab.

Refuses, for either mode, the places of the other.
"""

from dataclasses import dataclass
from typing import Final

from tocsin.providers.base import BadCredential
from tocsin.terms.outcomes import Mode
from tocsin.wire.addresses import ForbiddenAddress
from tocsin.wire.endings import Origin
from tocsin.wire.guard import Endpoint, check_url

NO_LAB: Final = "no lab is configured, and a test app reaches nothing else: set TOCSIN_LAB_URL"


@dataclass(frozen=True, slots=True)
class WebPushSettings:
    """`lab` is the lab's TLS origin, the only one that test apps reach; None where there is no lab."""

    lab: Origin | None = None

    def admit(self, mode: Mode) -> None:
        """Raises BadCredential for a test app where there is no lab."""
        if mode is Mode.TEST and self.lab is None:
            raise BadCredential(NO_LAB)

    def locate(self, endpoint: str, mode: Mode) -> Endpoint:
        """Where a subscription's endpoint leads for an app of this mode; raises ForbiddenAddress.

        A live app's origin comes back guarded: its addresses are checked again when a connection is made.
        """
        trusted = frozenset[tuple[str, int]]() if self.lab is None else frozenset({(self.lab.host, self.lab.port)})
        if mode is Mode.TEST:
            if self.lab is None:
                raise ForbiddenAddress(NO_LAB)
            found = check_url(endpoint, trusted)
            if (found.origin.host, found.origin.port) not in trusted:
                raise ForbiddenAddress(
                    f"the endpoint of a test app must be of its lab, https://{self.lab.authority}: "
                    "a real browser's subscription belongs to a live app"
                )
            return Endpoint(self.lab, found.path)
        found = check_url(endpoint)
        if (found.origin.host, found.origin.port) in trusted:
            raise ForbiddenAddress("the endpoint is of the lab, which only test apps reach")
        return found
