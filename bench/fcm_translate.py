"""CPU that the FCM adapter spends on a delivery: compiling a batch, splicing a body, reading an answer, all of it.

    python bench/fcm_translate.py

Prints one JSON object: microseconds of CPU for each (median and least of 7 rounds), beside serialising every body anew.
"""

import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tocsin.providers.base import Credential, Parcel
from tocsin.providers.fcm import Fcm, FcmSettings
from tocsin.providers.fcm.translate import Body, compose
from tocsin.providers.fcm.verdicts import verdict
from tocsin.terms.clock import SystemClock
from tocsin.terms.handoffs import Message, Options, Reached
from tocsin.terms.outcomes import Class, Mode, OnAmbiguity
from tocsin.wire.endings import Answered, Call, Ending

ROUNDS = 7
BATCH = 500
MESSAGE = Message("Your order", "It is on its way ✓", None, "https://example.org/orders/7", {"order": "7"})
OPTIONS = Options(3600, "high", "order-7", OnAmbiguity.RESEND, Class.NOW)
TOKENS = [f"c{at:021d}:APA91b{'x' * 134}" for at in range(BATCH)]
DELIVERIES = [f"dlv_{at:052d}" for at in range(BATCH)]
RECEIPTS = ["r" * 100] * BATCH
ACCEPTED = Answered(200, ((b"content-type", b"application/json"),), b'{"name":"projects/p/messages/0:1700000000"}')
NOW = datetime.now(UTC)


class Sink:
    """A wire on which everything is accepted at once."""

    async def submit(
        self, calls: Sequence[Call], *, write_within: float = 8.0, answer_within: float = 12.0
    ) -> AsyncIterator[Sequence[tuple[int, Ending]]]:
        if calls[0].path == b"/token":
            yield [(0, Answered(200, (), b'{"access_token":"a","expires_in":3599}'))]
        else:
            yield [(at, ACCEPTED) for at in range(len(calls))]

    async def close(self) -> None:
        return None


def rounds(work: Callable[[], int]) -> dict[str, float]:
    """Microseconds of CPU for each of the things that `work` does and counts."""
    each = []
    for _ in range(ROUNDS):
        began = time.process_time()
        done = work()
        each.append((time.process_time() - began) / done * 1e6)
    return {"median": round(statistics.median(each), 2), "min": round(min(each), 2)}


def compile_batches() -> int:
    for _ in range(200):
        Body(MESSAGE, OPTIONS, 3600, 1_700_000_000)
    return 200


def splice_bodies() -> int:
    body = Body(MESSAGE, OPTIONS, 3600, 1_700_000_000)
    for _ in range(20):
        for token, delivery, receipt in zip(TOKENS, DELIVERIES, RECEIPTS, strict=True):
            body.fill(token, delivery, receipt)
    return 20 * BATCH


def serialise_bodies() -> int:
    for token, delivery, receipt in zip(TOKENS, DELIVERIES, RECEIPTS, strict=True):
        orjson.dumps(compose(MESSAGE, OPTIONS, 3600, 1_700_000_000, token, delivery, receipt))
    return BATCH


def read_answers() -> int:
    for _ in range(20 * BATCH):
        verdict(ACCEPTED, NOW)
    return 20 * BATCH


def adapter() -> Callable[[], Coroutine[Any, Any, int]]:
    """Sends one batch through the whole adapter."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secret = {
        "type": "service_account",
        "project_id": "bench-project",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": "bench@example.org",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    fcm = Fcm(FcmSettings(), {Mode.LIVE: Sink()}, SystemClock())
    credential = Credential(UUID(int=1), UUID(int=2), "fcm", Mode.LIVE, 1, secret)
    devices = [Reached(UUID(int=at), token, 1, None) for at, token in enumerate(TOKENS)]
    parcel = Parcel(MESSAGE, OPTIONS, UUID(int=3), devices, DELIVERIES, RECEIPTS, 3600)

    async def send() -> int:
        return sum([len(chunk) async for chunk in fcm.send(credential, parcel)])

    return send


def main() -> None:
    send = adapter()
    with asyncio.Runner() as runner:
        runner.run(send())
        figures = {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "batch": BATCH,
            "compile_us_per_batch": rounds(compile_batches),
            "splice_us_per_body": rounds(splice_bodies),
            "serialise_us_per_body": rounds(serialise_bodies),
            "verdict_us_per_answer": rounds(read_answers),
            "adapter_us_per_delivery": rounds(lambda: runner.run(send())),
        }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
