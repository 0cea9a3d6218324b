"""The check at the door: what can never fit is refused before anything is promised."""

from typing import Any

import pytest

from tocsin.content import check
from tocsin.providers.base import TooLarge
from tocsin.terms.errors import Refused
from tocsin.terms.handoffs import Message, Options
from tocsin.terms.outcomes import Class, OnAmbiguity

OPTIONS = Options(60, "high", None, OnAmbiguity.RESEND, Class.NOW)


class Vendor:
    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit

    def check_message(self, message: Message, options: Options) -> None:
        if len(message.body or "") > self.limit:
            raise TooLarge(f"{len(message.body or '') - self.limit} octets too many")


def fussy(name: str, limit: int) -> Any:
    return Vendor(name, limit)


def test_what_fits_every_provider_passes():
    check(Message(body="abc"), OPTIONS, [fussy("fcm", 3), fussy("webpush", 5)])


def test_what_fits_one_provider_passes_as_its_devices_can_be_reached():
    check(Message(body="abcd"), OPTIONS, [fussy("fcm", 3), fussy("webpush", 5)])


def test_what_fits_none_is_refused_with_each_reason():
    with pytest.raises(Refused) as refused:
        check(Message(body="abcdef"), OPTIONS, [fussy("fcm", 3), fussy("webpush", 5)])
    assert refused.value.code == "payload_too_large"
    assert refused.value.pointer == "/content"
    assert refused.value.detail == "fcm: 3 octets too many; webpush: 1 octets too many"
