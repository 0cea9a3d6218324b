"""The step `send`: a parcel goes out through its line, and verdicts become fates as they come in."""

from collections.abc import AsyncIterator

from tocsin.dispatch.line import Line
from tocsin.dispatch.retry import Policy
from tocsin.providers.base import DeadToken, Parcel
from tocsin.terms.batches import Answers, Begun
from tocsin.terms.handoffs import Learned


async def send(line: Line, begun: Begun, parcel: Parcel) -> AsyncIterator[Answers]:
    """Send; give the fates of the parcel's devices in chunks, each device exactly once."""
    policy = Policy(begun.tries, line.limits.floors, begun.on_ambiguity, line.failures)
    async for verdicts in line.provider.send(line.credential, parcel):
        fates = []
        dead = []
        for index, verdict in verdicts:
            device = parcel.devices[index]
            fates.append(policy.fate(device.device_id, verdict))
            if isinstance(verdict, DeadToken):
                dead.append(Learned(device.device_id, device.token_version, verdict.dead_at))
        yield Answers(fates, dead)
