"""Devices and users: who can be reached, where, and whether they may still be.

In: registrations one by one or as a stream, targets of notifications, hints about dead tokens. Out: pages of devices to
plan for, the devices of a batch as they are just before sending. Refuses tokens, locales, zones and attributes that
cannot be; never lets a token have two active owners, nor a message reach a device that changed hands after planning.
"""

from tocsin.audience.address import address, newest
from tocsin.audience.hygiene import forget
from tocsin.audience.known import locate, names, unknown
from tocsin.audience.reach import reach
from tocsin.audience.routes import router

__all__ = ["address", "forget", "locate", "names", "newest", "reach", "router", "unknown"]
