"""Web Push: browsers, through whatever push service each of them chose (RFC 8030, 8188, 8291, 8292).

In: a batch, a VAPID key pair. Out: one verdict a device. Refuses endpoints off the public internet
and texts over 3993 octets.
"""

from tocsin.providers.webpush.client import WebPush
from tocsin.providers.webpush.settings import WebPushSettings

__all__ = ["WebPush", "WebPushSettings"]
