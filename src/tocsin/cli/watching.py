"""Watching a notification until it has ended: a bar for people, a line of JSON a change for programs."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from tocsin.cli import show
from tocsin.cli.client import Client
from tocsin.cli.exits import Exit, Stop
from tocsin.terms.outcomes import OPEN, STATES

EVERY: Final = 0.25
"""Seconds between two looks."""
PATIENCE: Final = 10.0
"""Seconds that the API may be away while one looks on."""
ENDS: Final = tuple(row.state.value for row in STATES)


def ended(notification: Mapping[str, Any]) -> bool:
    """Whether its status is one that never changes again."""
    return notification["status"] not in OPEN


def summary(notification: Mapping[str, Any]) -> str:
    """Where it stands, in a line: status, and of how many devices what became."""
    progress = notification["progress"]
    parts = [f"{progress[name]} {name}" for name in (*ENDS, "pending") if progress.get(name)]
    return f"{notification['id']}  {notification['status']}: {', '.join(parts) or 'no device yet'}"


async def watch(api: Client, notification_id: str) -> dict[str, Any]:
    """Follow a notification to its end and give it as it is then. Under --json every change is a line of stdout."""
    if show.wants_json():
        return await _lines(api, notification_id)
    return await _bar(api, notification_id)


async def _look(api: Client, notification_id: str) -> dict[str, Any]:
    """Where it stands now; an API that is being started again is asked again for a while."""
    asked = time.monotonic()
    while True:
        try:
            found: dict[str, Any] = await api.call("GET", f"/v1/notifications/{notification_id}")
        except Stop as stop:
            if stop.code is not Exit.UNREACHABLE or time.monotonic() - asked > PATIENCE:
                raise
            await asyncio.sleep(EVERY)
        else:
            return found


async def _lines(api: Client, notification_id: str) -> dict[str, Any]:
    before: dict[str, Any] | None = None
    while True:
        now = await _look(api, notification_id)
        if before is None or (now["status"], now["progress"]) != (before["status"], before["progress"]):
            show.json_line(now)
            before = now
        if ended(now):
            return now
        await asyncio.sleep(EVERY)


async def _bar(api: Client, notification_id: str) -> dict[str, Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=show.console(errors=True)) as bar:
        task = bar.add_task(notification_id, total=None)
        while True:
            now = await _look(api, notification_id)
            progress = now["progress"]
            done = sum(progress.get(name) or 0 for name in ENDS)
            bar.update(task, description=now["status"], completed=done, total=progress["targeted"] or None)
            if ended(now):
                break
            await asyncio.sleep(EVERY)
    show.line(summary(now))
    return now
