"""CPU per encrypted Web Push message, and how long a batch of 500 keeps everybody else waiting.

    python bench/webpush_encrypt.py

Prints one JSON object: microseconds of CPU per message (median and least of 7 rounds), and for a batch of 500 the
longest time in milliseconds that the event loop was not free, encrypted in slices as the adapter does and in a thread.
"""

import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import cryptography
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tocsin.providers import base64url
from tocsin.providers.base import Credential, Parcel
from tocsin.providers.webpush import WebPush, WebPushSettings
from tocsin.providers.webpush.client import SLICE
from tocsin.providers.webpush.encryption import encrypt
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import Message, Options, Reached
from tocsin.terms.outcomes import Class, Mode, OnAmbiguity
from tocsin.wire.endings import Answered, Call, Ending

ROUNDS = 7
BATCH = 500
CURVE = ec.SECP256R1()


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


POINT = point(ec.generate_private_key(CURVE))
AUTH = os.urandom(16)
TEXT = b"x" * 300


class Sink:
    """A wire on which everything is accepted at once."""

    async def submit(
        self, calls: Sequence[Call], *, write_within: float = 8.0, answer_within: float = 12.0
    ) -> AsyncIterator[Sequence[tuple[int, Ending]]]:
        yield [(at, Answered(201, (), b"")) for at in range(len(calls))]

    async def close(self) -> None:
        return None


def rounds(work: Callable[[], int]) -> dict[str, float]:
    """Microseconds of CPU for each of the things that `work` does and counts."""
    each = []
    for _ in range(ROUNDS):
        began = time.process_time()
        done = work()
        each.append((time.process_time() - began) / done * 1e6)
    return {"median": round(statistics.median(each), 1), "min": round(min(each), 1)}


def encrypt_many() -> int:
    for _ in range(BATCH):
        encrypt(TEXT, POINT, AUTH)
    return BATCH


async def longest_wait(work: Awaitable[object]) -> float:
    """The longest time in milliseconds between two turns of the loop while `work` goes on."""
    longest, running = 0.0, True

    async def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while running:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest = max(longest, now - last)
            last = now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await work
    running = False
    await watching
    return longest * 1000


def adapter() -> Callable[[], Coroutine[Any, Any, int]]:
    """Sends one batch through the whole adapter."""
    key = ec.generate_private_key(CURVE)
    secret = {
        "public_key": base64url.encode(point(key)),
        "private_key": base64url.encode(key.private_numbers().private_value.to_bytes(32, "big")),
        "subject": "mailto:bench@example.org",
    }
    keys = {"p256dh": base64url.encode(POINT), "auth": base64url.encode(AUTH)}
    push = WebPush(WebPushSettings(), {Mode.LIVE: Sink()}, SystemClock())
    credential = Credential(UUID(int=1), UUID(int=2), "webpush", Mode.LIVE, 1, secret)
    parcel = Parcel(
        Message(title="Hi", body="x" * 150),
        Options(3600, "normal", None, OnAmbiguity.RESEND, Class.NOW),
        UUID(int=3),
        [
            Reached(UUID(int=at), f"https://updates.push.services.mozilla.com/wpush/v2/{at:0140d}", 1, keys)
            for at in range(BATCH)
        ],
        [f"dlv_{at:052d}" for at in range(BATCH)],
        ["r" * 100] * BATCH,
        3600,
    )

    async def send() -> int:
        return sum([len(chunk) async for chunk in push.send(credential, parcel)])

    return send


async def waits() -> dict[str, float]:
    send = adapter()
    await send()
    sliced = [await longest_wait(send()) for _ in range(ROUNDS)]
    threaded = [await longest_wait(asyncio.to_thread(encrypt_many)) for _ in range(ROUNDS)]
    return {
        "slices_ms_median": round(statistics.median(sliced), 2),
        "slices_ms_max": round(max(sliced), 2),
        "thread_ms_median": round(statistics.median(threaded), 2),
        "thread_ms_max": round(max(threaded), 2),
    }


def main() -> None:
    encrypt_many()
    send = adapter()
    runner = asyncio.Runner()
    figures = {
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "cpus": os.cpu_count(),
        "batch": BATCH,
        "slice": SLICE,
        "encrypt_300_octets_us": rounds(encrypt_many),
        "adapter_us_per_delivery": rounds(lambda: runner.run(send())),
        "loop_not_free": runner.run(waits()),
    }
    runner.close()
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
