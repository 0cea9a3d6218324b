"""The FCM adapter: checks at the door, and batches sent with a bearer that is renewed when it is refused.

In: a credential and a parcel. Out: one verdict a device, in chunks as answers come in. Everything has ended 24 seconds
after it began, within the lease of a batch.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

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
    Verdict,
)
from tocsin.providers.fcm import registration, translate
from tocsin.providers.fcm.account import ServiceAccount
from tocsin.providers.fcm.limits import PUBLISHED
from tocsin.providers.fcm.oauth import Bearer, Bearers
from tocsin.providers.fcm.settings import FcmSettings, Place
from tocsin.providers.fcm.verdicts import STALE_BEARER, verdict
from tocsin.providers.floors import declared, in_force
from tocsin.terms.clock import Clock
from tocsin.terms.handoffs import Message, Options
from tocsin.terms.outcomes import Mode
from tocsin.wire.endings import Call, Wire

SECOND_ROUND: Final = 5.0
"""Seconds for calls that are sent again with a new bearer."""

Chunk = Sequence[tuple[int, Verdict]]


class Fcm:
    """Firebase Cloud Messaging. Keeps access tokens warm, and nothing else."""

    name = "fcm"

    def __init__(self, settings: FcmSettings, wires: Mapping[Mode, Wire], clock: Clock) -> None:
        self._settings = settings
        self._wires = wires
        self._clock = clock
        self._bearers = Bearers(clock)

    def check_token(self, token: Any, subscription: Any, mode: Mode) -> Address:
        """The registration token by its form, the same in both modes; raises BadToken."""
        return registration.check(token, subscription)

    def check_message(self, message: Message, options: Options) -> None:
        """Raises TooLarge over 4096 octets of notification and data, with the room every payload reserves."""
        translate.check(message, options)

    def check_credential(self, secret: Mapping[str, Any], mode: Mode) -> Mapping[str, Any]:
        """`project_id` and `client_email` of a service account for this mode; raises BadCredential."""
        account = ServiceAccount.read(secret, self._settings.place(mode))
        account.key(checked=True)
        if mode is Mode.TEST:
            declared(secret, PUBLISHED.floors)
        return {"project_id": account.project_id, "client_email": account.client_email}

    def limits(self, credential: Credential) -> Limits:
        """What FCM publishes; for a test app with the floors its lab account declares."""
        return in_force(credential, PUBLISHED)

    async def send(self, credential: Credential, parcel: Parcel) -> AsyncIterator[Chunk]:
        """Send a batch; chunks of (index, verdict), each index exactly once. Never raises for what others did wrong."""
        started = self._clock.monotonic() if parcel.started is None else parcel.started
        try:
            place = self._settings.place(credential.mode)
            account = ServiceAccount.read(credential.secret, place)
        except BadCredential as bad:
            yield [(index, CredentialFault(str(bad))) for index in range(len(parcel.devices))]
            return
        bodies, refused = self._bodies(parcel)
        if refused:
            yield refused
        if not bodies:
            return
        wire, key = self._wires[credential.mode], (credential.credential_id, credential.version)
        bearer = await self._bearers.get(key, account, wire, place.oauth)
        if not isinstance(bearer, Bearer):
            yield [(index, bearer) for index in bodies]
            return

        again: list[int] = []
        calls = _calls(place, account, bearer, bodies.values())
        spent = self._clock.monotonic() - started
        if spent >= WRITE_WITHIN:
            yield [(index, NotSent("late")) for index in bodies]
            return
        async for chunk in self._round(wire, tuple(bodies), calls, WRITE_WITHIN - spent, ANSWER_WITHIN - spent):
            again += [index for index, said in chunk if said is STALE_BEARER]
            rest = [(index, said) for index, said in chunk if said is not STALE_BEARER]
            if rest:
                yield rest
        if not again:
            return

        # they were answered, so that sending them once more makes no second copy
        self._bearers.drop(key, bearer)
        renewed = await self._bearers.get(key, account, wire, place.oauth)
        if not isinstance(renewed, Bearer):
            yield [(index, renewed) for index in again]
            return
        calls = _calls(place, account, renewed, [bodies[index] for index in again])
        stale = False
        async for chunk in self._round(wire, tuple(again), calls, SECOND_ROUND, SECOND_ROUND):
            stale = stale or any(said is STALE_BEARER for _, said in chunk)
            yield chunk
        if stale:
            self._bearers.drop(key, renewed)

    def _bodies(self, parcel: Parcel) -> tuple[dict[int, bytes], Chunk]:
        """The bodies by index, and the verdicts for those that cannot be sent."""
        now = int(self._clock.now().timestamp())
        body = translate.Body(parcel.message, parcel.options, parcel.ttl, now)
        bodies: dict[int, bytes] = {}
        refused: list[tuple[int, Verdict]] = []
        devices = zip(parcel.devices, parcel.delivery_ids, parcel.receipts, strict=True)
        for index, (device, delivery, receipt) in enumerate(devices):
            filled = body.fill(device.token, delivery, receipt)
            if filled is None:
                refused.append((index, Refused("payload_too_large", f"over {PUBLISHED.payload} octets")))
            else:
                bodies[index] = filled
        return bodies, refused

    async def _round(
        self, wire: Wire, indexes: Sequence[int], calls: Sequence[Call], write_within: float, answer_within: float
    ) -> AsyncIterator[Chunk]:
        async for chunk in wire.submit(calls, write_within=write_within, answer_within=answer_within):
            now = self._clock.now()
            yield [(indexes[position], verdict(ending, now)) for position, ending in chunk]


def _calls(place: Place, account: ServiceAccount, bearer: Bearer, bodies: Iterable[bytes]) -> list[Call]:
    """One call a body; they share their headers, which the wire writes once a connection."""
    path = f"/v1/projects/{account.project_id}/messages:send".encode()
    headers = ((b"authorization", f"Bearer {bearer.token}".encode()), (b"content-type", b"application/json"))
    return [Call(place.api, b"POST", path, headers, body) for body in bodies]
