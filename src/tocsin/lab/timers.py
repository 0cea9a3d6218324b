"""Answers that leave later: one heap and one timer of the event loop for all of them.

Takes (delay, conversation, stream, reply) and carries the reply out when its time has come; all that is due in the same
turn is written with one flush a connection.
"""

import asyncio
import heapq

from tocsin.lab.exchange import Conversation, Reply

_GRAIN = 0.001


class Timers:
    """The heap. Belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Conversation, int, Reply]] = []
        self._count = 0
        self._armed: asyncio.TimerHandle | None = None
        self._armed_at = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, delay: float, conversation: Conversation, stream: int, reply: Reply) -> None:
        """Carry `reply` out on `stream` in `delay` seconds, never within this turn of the loop."""
        due = self._loop.time() + delay
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, conversation, stream, reply))
        if self._armed is None or due < self._armed_at - _GRAIN:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._armed is not None:
            self._armed.cancel()
        self._armed_at = due
        self._armed = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._armed = None
        horizon = self._loop.time() + _GRAIN
        touched: dict[Conversation, None] = {}
        while self._heap and self._heap[0][0] <= horizon:
            _, _, conversation, stream, reply = heapq.heappop(self._heap)
            conversation.finish(stream, reply)
            touched[conversation] = None
        for conversation in touched:
            conversation.flush()
        if self._heap:
            self._arm(self._heap[0][0])

    def close(self) -> None:
        """Forget all that waits."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self._heap.clear()
