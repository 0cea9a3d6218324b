"""Content: the step `render`, and the check at the door. In: a batch's devices. Out: a parcel, ready for its provider.

Keeps the message of a notification, immutable. Refuses at the door what can never fit.
"""

from tocsin.content.check import check
from tocsin.content.render import Messages, Sign, render
from tocsin.content.store import keep, recall

__all__ = ["Messages", "Sign", "check", "keep", "recall", "render"]
