"""The check at the door: a message that can never fit is refused before anything is promised."""

from collections.abc import Iterable

from tocsin.providers.base import Provider, TooLarge
from tocsin.terms.errors import Refused
from tocsin.terms.handoffs import Message, Options


def check(message: Message, options: Options, providers: Iterable[Provider]) -> None:
    """Refuse (`payload_too_large`) a message that fits none of these providers, whatever the device.

    What fits one of them is let in: devices of the others end as rejected, each with the reason.
    """
    reasons = []
    for provider in providers:
        try:
            provider.check_message(message, options)
        except TooLarge as reason:
            reasons.append(f"{provider.name}: {reason}")
        else:
            return
    if reasons:
        raise Refused("payload_too_large", "; ".join(reasons), "/content", "Shorten body or data.")
