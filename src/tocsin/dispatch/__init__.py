"""Dispatch: the step `send`. In: a rendered parcel and the line it goes through. Out: a fate for every device.

It decides what a provider's verdict means for a delivery (end or retry, and when) and keeps the circuit breakers.
Refuses to send through a credential that the provider has refused, until it is time to probe.
"""

from tocsin.dispatch.line import Line, Lines
from tocsin.dispatch.send import send

__all__ = ["Line", "Lines", "send"]
