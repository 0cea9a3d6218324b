"""What the adapters are tested with: a wire that answers as told and remembers, a clock moved by hand, parcels."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tocsin.providers.base import Credential, Parcel, Verdict
from tocsin.terms.handoffs import Message, Options, Reached
from tocsin.terms.outcomes import Class, Mode, OnAmbiguity
from tocsin.wire.endings import Answered, Call, Ending, Headers, Origin

LAB = Origin("localhost", 9443)
CREDENTIAL_ID = UUID(int=7)
START = datetime(2026, 11, 23, 12, tzinfo=UTC)

Reply = Callable[[Call], Ending]


class FakeWire:
    """Answers every call with what `reply` gives, last call first, `chunk` calls at a time."""

    def __init__(self, reply: Reply, chunk: int = 500) -> None:
        self.reply = reply
        self.chunk = chunk
        self.submits: list[Sequence[Call]] = []
        self.limits: list[tuple[float, float]] = []
        self.gate: asyncio.Event | None = None

    @property
    def calls(self) -> list[Call]:
        return [call for calls in self.submits for call in calls]

    async def submit(
        self, calls: Sequence[Call], *, write_within: float = 8.0, answer_within: float = 12.0
    ) -> AsyncIterator[Sequence[tuple[int, Ending]]]:
        self.submits.append(calls)
        self.limits.append((write_within, answer_within))
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        endings = [(at, self.reply(call)) for at, call in enumerate(calls)][::-1]
        for start in range(0, len(endings), self.chunk):
            yield endings[start : start + self.chunk]

    async def close(self) -> None:
        return None


class HandClock:
    """Time that stands still until somebody sleeps or `pass_time` is called."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)
        self.elapsed += seconds
        await asyncio.sleep(0)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        self.elapsed += seconds
        return event.is_set()

    def pass_time(self, seconds: float) -> None:
        self.elapsed += seconds


def answer(status: int, body: Any = None, *headers: tuple[bytes, bytes]) -> Answered:
    octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Answered(status, headers, octets)


def options(ttl: int = 3600, priority: str = "normal", collapse_key: str | None = None) -> Options:
    return Options(ttl, priority, collapse_key, OnAmbiguity.RESEND, Class.NOW)


def credential(provider: str, secret: Mapping[str, Any], mode: Mode = Mode.TEST, version: int = 1) -> Credential:
    return Credential(UUID(int=1), CREDENTIAL_ID, provider, mode, version, secret)


def parcel(
    devices: Sequence[Reached],
    message: Message | None = None,
    chosen: Options | None = None,
    ttl: int = 3600,
    receipts: Sequence[str] | None = None,
    started: float | None = None,
) -> Parcel:
    return Parcel(
        message or Message(title="Hi", body="there"),
        chosen or options(),
        UUID(int=2),
        devices,
        [f"dlv_{at:052d}" for at in range(len(devices))],
        receipts or [f"receipt-{at}" for at in range(len(devices))],
        ttl,
        started,
    )


async def gather(chunks: AsyncIterator[Sequence[tuple[int, Verdict]]]) -> dict[int, Verdict]:
    """All verdicts by index; fails if an index is given twice or a chunk is empty."""
    verdicts: dict[int, Verdict] = {}
    async for chunk in chunks:
        assert chunk, "an empty chunk"
        for index, verdict in chunk:
            assert index not in verdicts, f"index {index} twice"
            verdicts[index] = verdict
    return verdicts


def header(headers: Headers, name: bytes) -> bytes | None:
    return next((value for key, value in headers if key == name), None)


def same(given: Verdict, expected: Verdict) -> bool:
    """Equal in kind and content: named tuples of two kinds compare as equal when their fields do."""
    return type(given) is type(expected) and given == expected
