"""What push services publish: sizes and times to live; and the retry floors chosen where they publish none."""

from typing import Final

from tocsin.providers.base import Limits, RetryFloors

PUBLISHED: Final = Limits(
    payload=3993,  # octets of plaintext that make a body of 4096 (RFC 8291 section 4)
    ttl_max=2_419_200,  # the shortest of the vendors' limits: FCM's four weeks; Mozilla and Apple keep 30 days
    # No push service publishes a floor (RFC 8030 section 8.4 knows Retry-After only). These are the ones that
    # firebase.google.com/docs/cloud-messaging/scale-fcm gives for Google's service, which runs the largest of them.
    floors=RetryFloors(throttled=60.0, transient=10.0),
)
