"""Whether the process lives, and whether it can do its work, with reasons.

In: probes by name, handed in by wiring. Out: `/livez` and `/readyz`. A probe that takes over two seconds has failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tocsin.terms.errors import fault
from tocsin.web.answers import reply
from tocsin.web.frame import RETRY_AFTER, door
from tocsin.web.problems import problem

PROBE_WITHIN: Final = 2.0
"""Seconds."""

Probe = Callable[[], Awaitable[str | None]]
"""Gives None if all is well, else the reason in a sentence; an exception is a reason, too."""


def routes(probes: Mapping[str, Probe]) -> APIRouter:
    """The two doors that a supervisor or load balancer knocks at; no key is asked for."""
    router = door("health")

    @router.get("/livez", summary="Does the process live?", response_model=dict[str, str])
    async def livez() -> Response:
        """Answers as long as the process serves requests at all."""
        return reply(200, {"status": "ok"})

    @router.get("/readyz", summary="Can it do its work?")
    async def readyz(request: Request) -> Response:
        """200 with every check, or 503 with the reasons of those that failed."""
        reasons = await asyncio.gather(*(_ask(probe) for probe in probes.values()))
        checks = [
            {"name": name, "ok": reason is None, "reason": reason} for name, reason in zip(probes, reasons, strict=True)
        ]
        failed = [f"{check['name']}: {check['reason']}" for check in checks if not check["ok"]]
        if not failed:
            return reply(200, {"status": "ready", "checks": checks})
        return problem(
            fault("unavailable"),
            request.scope["tocsin.request_id"],
            "; ".join(failed),
            headers={"retry-after": str(RETRY_AFTER)},
            more={"checks": checks},
        )

    return router


async def _ask(probe: Probe) -> str | None:
    try:
        async with asyncio.timeout(PROBE_WITHIN):
            return await probe()
    except TimeoutError:
        return f"no answer within {PROBE_WITHIN:.0f} s"
    except Exception as reason:
        return type(reason).__name__
