"""The Web Push adapter: checks at the door; batches encrypted device by device and sent to each one's own service.

In: a credential and a parcel. Out: one verdict a device, in chunks as answers come in. Encryption runs in slices of a
few milliseconds, so that the answers of other batches do not wait; threads would not help, as the library holds the
interpreter lock.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tocsin.providers import base64url
from tocsin.providers.base import (
    ANSWER_WITHIN,
    WRITE_WITHIN,
    Address,
    BadCredential,
    Credential,
    CredentialFault,
    Limits,
    NotSent,
    Parcel,
    Refused,
    Taken,
    Verdict,
)
from tocsin.providers.floors import declared, in_force
from tocsin.providers.webpush import subscription as subscriptions
from tocsin.providers.webpush import translate
from tocsin.providers.webpush.encryption import encrypt
from tocsin.providers.webpush.limits import PUBLISHED
from tocsin.providers.webpush.settings import WebPushSettings
from tocsin.providers.webpush.vapid import VapidKeys, Vouchers
from tocsin.providers.webpush.verdicts import known, verdict
from tocsin.terms.clock import Clock
from tocsin.terms.handoffs import Message, Options, Reached
from tocsin.terms.outcomes import Mode
from tocsin.wire.addresses import ForbiddenAddress
from tocsin.wire.endings import Call, Headers, Origin, Wire

SLICE: Final = 25
"""Messages encrypted in a row: some 2.5 ms (bench/webpush_encrypt.py)."""
KEPT: Final = 1000
"""Key pairs kept open at most."""

Chunk = Sequence[tuple[int, Verdict]]


class WebPush:
    """Browsers. Keeps VAPID tokens warm, and nothing else."""

    name = "webpush"

    def __init__(self, settings: WebPushSettings, wires: Mapping[Mode, Wire], clock: Clock) -> None:
        self._settings = settings
        self._wires = wires
        self._clock = clock
        self._keys: OrderedDict[tuple[UUID, int], VapidKeys] = OrderedDict()
        self._vouchers = Vouchers()

    def check_token(self, token: Any, subscription: Any, mode: Mode) -> Address:
        """The subscription, its endpoint one that an app of this mode may call; raises BadToken."""
        return subscriptions.check(token, subscription, mode, self._settings)

    def check_message(self, message: Message, options: Options) -> None:
        """Raises TooLarge over 3993 octets of JSON, with the room every payload reserves."""
        translate.check(message)

    def check_credential(self, secret: Mapping[str, Any], mode: Mode) -> Mapping[str, Any]:
        """`public_key` and `subject` of a VAPID key pair; raises BadCredential."""
        self._settings.admit(mode)
        if mode is Mode.TEST:
            declared(secret, PUBLISHED.floors)
        keys = VapidKeys.read(secret)
        return {"public_key": keys.public_key, "subject": keys.subject}

    def limits(self, credential: Credential) -> Limits:
        """What push services publish; for a test app with the floors its lab account declares."""
        return in_force(credential, PUBLISHED)

    async def send(self, credential: Credential, parcel: Parcel) -> AsyncIterator[Chunk]:
        """Send a batch; chunks of (index, verdict), each index exactly once. Never raises for what others did wrong."""
        started = self._clock.monotonic() if parcel.started is None else parcel.started
        try:
            self._settings.admit(credential.mode)
            batch = _Batch(credential, self._open(credential), parcel, self._settings, self._vouchers)
        except BadCredential as bad:
            yield [(index, CredentialFault(str(bad))) for index in range(len(parcel.devices))]
            return
        indexes: list[int] = []
        calls: list[Call] = []
        refused: list[tuple[int, Verdict]] = []
        now = self._clock.now()
        devices = zip(parcel.devices, parcel.delivery_ids, parcel.receipts, strict=True)
        for index, (device, delivery, receipt) in enumerate(devices):
            made = batch.call(device, delivery, receipt, now)
            if isinstance(made, Call):
                indexes.append(index)
                calls.append(made)
            else:
                refused.append((index, made))
            if index % SLICE == SLICE - 1:
                await self._clock.sleep(0)
        if refused:
            yield refused
        if not calls:
            return
        spent = self._clock.monotonic() - started
        if spent >= WRITE_WITHIN:
            yield [(index, NotSent("late")) for index in indexes]
            return
        ends = self._wires[credential.mode].submit(
            calls, write_within=WRITE_WITHIN - spent, answer_within=ANSWER_WITHIN - spent
        )
        lab = self._settings.lab if credential.mode is Mode.TEST else None
        accepted: set[Origin] = set()
        blamed: list[tuple[int, Origin, CredentialFault]] = []
        async for chunk in ends:
            now = self._clock.now()
            said: list[tuple[int, Verdict]] = []
            for at, ending in chunk:
                origin = calls[at].origin
                meant = verdict(ending, now, believed=_believed(origin, lab))
                if isinstance(meant, CredentialFault):
                    blamed.append((indexes[at], origin, meant))
                    continue
                if isinstance(meant, Taken):
                    accepted.add(origin)
                said.append((indexes[at], meant))
            if said:
                yield said
        if blamed:
            yield [(index, _judged(fault, acquitted=origin in accepted)) for index, origin, fault in blamed]

    def _open(self, credential: Credential) -> VapidKeys:
        """The key pair of this version of the credential; raises BadCredential."""
        place = (credential.credential_id, credential.version)
        keys = self._keys.get(place)
        if keys is None:
            keys = self._keys[place] = VapidKeys.read(credential.secret)
            if len(self._keys) > KEPT:
                self._keys.popitem(last=False)
        self._keys.move_to_end(place)
        return keys


class _Batch:
    """What the calls of one batch share."""

    def __init__(
        self,
        credential: Credential,
        keys: VapidKeys,
        parcel: Parcel,
        settings: WebPushSettings,
        vouchers: Vouchers,
    ) -> None:
        self._credential = credential
        self._keys = keys
        self._settings = settings
        self._vouchers = vouchers
        self._plaintext = translate.Plaintext(parcel.message)
        self._shared = translate.headers(parcel.options, parcel.ttl)
        self._headers: dict[Origin, Headers] = {}

    def call(self, device: Reached, delivery: str, receipt: str, now: datetime) -> Call | Refused:
        """The request for one device, or why there is none."""
        plaintext = self._plaintext.fill(delivery, receipt)
        if plaintext is None:
            return Refused("payload_too_large", f"over {PUBLISHED.payload} octets")
        try:
            origin, path = self._settings.locate(device.token, self._credential.mode)
        except ForbiddenAddress as forbidden:
            return Refused("endpoint_forbidden", str(forbidden))
        try:
            keys = device.keys or {}
            body = encrypt(plaintext, base64url.decode(keys["p256dh"]), base64url.decode(keys["auth"]))
        except (KeyError, ValueError):
            return Refused("invalid_token", "the subscription's keys cannot encrypt")
        return Call(origin, b"POST", path, self._headers_for(origin, now), body)

    def _headers_for(self, origin: Origin, now: datetime) -> Headers:
        """The headers for one push service, shared by all calls to it."""
        made = self._headers.get(origin)
        if made is None:
            word = self._vouchers.authorization(
                self._credential.credential_id,
                self._credential.version,
                self._keys,
                f"https://{origin.authority}",
                now,
            )
            made = self._headers[origin] = ((b"authorization", word), *self._shared)
        return made


def _judged(fault: CredentialFault, *, acquitted: bool) -> Verdict:
    """Whose fault it is: Mozilla answers 401 also for a subscription that was made with another key, so that a
    credential which the same service has just accepted is not to blame, and the subscription is."""
    return Refused("sender_mismatch", fault.detail) if acquitted else fault


def _believed(origin: Origin, lab: Origin | None) -> bool:
    """Whether the service may blame the credential: the known vendors, and the lab to a test app."""
    return origin == lab or known(origin.host)
