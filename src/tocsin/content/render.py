"""The step `render`: the message and the devices of a batch become a parcel.

Content is rendered after the wait, with what is left of the time to live. Each device's copy carries its delivery id,
so that a client can drop a second one, and a signed token with which it may report a receipt.
"""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

from tocsin.providers.base import Parcel
from tocsin.terms.batches import Begun
from tocsin.terms.handoffs import Accepted, Message, Options, Reached
from tocsin.terms.ids import show_delivery

_REMEMBERED: Final = 256

Sign = Callable[[UUID, UUID, UUID], str]
"""(app, notification, device) → the receipt token."""


class Messages:
    """The messages of recent notifications, remembered: they never change."""

    def __init__(
        self,
        recall_message: Callable[[Any, UUID, UUID], Awaitable[Message]],
        recall_accepted: Callable[[Any, UUID, UUID], Awaitable[Accepted]],
    ) -> None:
        self._recall_message = recall_message
        self._recall_accepted = recall_accepted
        self._remembered: OrderedDict[UUID, tuple[Message, Options]] = OrderedDict()

    async def open(self, tx: Any, begun: Begun) -> tuple[Message, Options]:
        """The message and options of a batch, inside begin's transaction."""
        known = self._remembered.get(begun.notification_id)
        if known is None:
            message = await self._recall_message(tx, begun.app_id, begun.notification_id)
            accepted = await self._recall_accepted(tx, begun.app_id, begun.notification_id)
            known = self._remembered[begun.notification_id] = (message, accepted.options)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return known


def render(
    message: Message,
    options: Options,
    begun: Begun,
    devices: Sequence[Reached],
    sign: Sign,
    started: float | None = None,
) -> Parcel:
    """The parcel for these devices of a batch begun at `started` (monotonic); `sign` makes the receipt tokens."""
    app_id, notification_id = begun.app_id, begun.notification_id
    return Parcel(
        message,
        options,
        notification_id,
        devices,
        [show_delivery(notification_id, one.device_id) for one in devices],
        [sign(app_id, notification_id, one.device_id) for one in devices],
        min(options.ttl, math.floor(begun.ttl_left)),
        started,
    )
