"""One call and its ending, for what is not sent by the batch: an access token, a key set.

In: a call. Out: its one ending, never an exception for what the network does. Refuses what the engine refuses.
"""

from tocsin.wire.endings import Call, Ending, Wire


async def fetch(wire: Wire, call: Call, *, write_within: float = 8.0, answer_within: float = 12.0) -> Ending:
    """Send one call and wait for its ending; the times are seconds, as in `Wire.submit`."""
    endings = [
        ending
        async for chunk in wire.submit([call], write_within=write_within, answer_within=answer_within)
        for _, ending in chunk
    ]
    return endings[0]
