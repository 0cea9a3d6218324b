"""What FCM publishes about itself: sizes, times to live, the least waits before a retry."""

from typing import Final

from tocsin.providers.base import Limits, RetryFloors

PUBLISHED: Final = Limits(
    payload=4096,  # firebase.google.com/docs/cloud-messaging/error-codes: keys and values counted
    ttl_max=2_419_200,  # REST reference of AndroidConfig.ttl: four weeks
    # firebase.google.com/docs/cloud-messaging/scale-fcm: 60 s after a 429 that names no time, never sooner than 10 s
    floors=RetryFloors(throttled=60.0, transient=10.0),
)

COLLAPSE_ID: Final = 64
"""Octets of an apns-collapse-id at most (Apple, "Sending notification requests to APNs")."""
