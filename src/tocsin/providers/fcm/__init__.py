"""Firebase Cloud Messaging, HTTP v1: Android, iOS and web apps that use the Firebase SDK.

In: a batch, a service account. Out: one verdict a device. Refuses what is over 4096 octets of payload.
"""

from tocsin.providers.fcm.client import Fcm
from tocsin.providers.fcm.settings import FcmSettings

__all__ = ["Fcm", "FcmSettings"]
