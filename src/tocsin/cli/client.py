"""The API's client of the command line: where it is, which key, and what an error looks like in words.

In: options, TOCSIN_API_URL and TOCSIN_API_KEY, or the `dev.json` of a running `tocsin dev`. Out: JSON.
Anything but a 2xx ends the command: 3 if the API refused, 4 if it cannot be reached.
"""

import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tocsin.cli.exits import Exit, Stop
from tocsin.cli.running import running

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

ApiUrl = Annotated[
    str | None,
    typer.Option("--api-url", envvar="TOCSIN_API_URL", help="Where the API is; found by itself beside `tocsin dev`."),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="TOCSIN_API_KEY", help="The app's key; found by itself beside `tocsin dev`."),
]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API is and with which key; its repr does not show the key."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"Endpoint({self.url})"


def endpoint(url: str | None, key: str | None) -> Endpoint:
    """The endpoint from options and environment, else from a running `tocsin dev`; raises Stop (2)."""
    if url is None or key is None:
        facts = running()
        url, key = url or facts.get("api_url"), key or facts.get("api_key")
    if not url or not key:
        raise Stop(
            Exit.USAGE,
            "It is not known where the API is and which key to use.",
            "Start `tocsin dev` in this directory, or set TOCSIN_API_URL and TOCSIN_API_KEY.",
        )
    return Endpoint(url.rstrip("/"), key)


class Client:
    """An open connection to the API."""

    def __init__(self, where: Endpoint, session: "aiohttp.ClientSession") -> None:
        self.where = where
        self.session = session

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Any:
        """Call the API and give its JSON (None for an empty answer). `key` is the idempotency key; raises Stop."""
        headers = {} if key is None else {"Idempotency-Key": key}
        import aiohttp

        try:
            async with self.session.request(
                method, self.where.url + path, json=body, params=query, headers=headers
            ) as answer:
                return await read(answer)
        except aiohttp.ClientConnectionError as lost:
            raise unreachable(self.where, lost) from None
        except TimeoutError:
            raise unreachable(self.where, "it does not answer") from None

    async def pages(self, path: str, *, query: Mapping[str, str], most: int) -> list[Any]:
        """Up to `most` items of a list, following `next_cursor`."""
        items: list[Any] = []
        asked = dict(query)
        while len(items) < most:
            asked["limit"] = str(min(most - len(items), 100))
            page = await self.call("GET", path, query=asked)
            items += page["data"]
            if not page.get("next_cursor"):
                break
            asked["cursor"] = page["next_cursor"]
        return items


async def read(answer: "aiohttp.ClientResponse") -> Any:
    """The JSON of an answer (None if it is empty); raises Stop unless its status is 2xx."""
    text = await answer.text()
    if 200 <= answer.status < 300:
        return json.loads(text) if text else None
    raise refused(answer.status, text, answer.headers.get("Request-Id"))


def refused(status: int, text: str, request_id: str | None = None) -> Stop:
    """What an answer outside 2xx says, in words: title, detail, where, what instead, and under which request id."""
    try:
        problem = json.loads(text)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"status": status, "title": f"The API answered {status}.", "detail": text[:200].strip() or None}
    problem.setdefault("request_id", request_id)
    parts = [f"{problem.get('title') or f'The API answered {status}.'}"]
    if detail := problem.get("detail"):
        parts.append(f"  {detail}")
    if pointer := problem.get("pointer"):
        parts.append(f"  at {pointer}")
    if problem.get("request_id"):
        parts.append(f"  request {problem['request_id']}")
    code = Exit.FAILED if status >= 500 else Exit.REFUSED
    return Stop(code, "\n".join(parts), problem.get("suggestion"), problem)


def unreachable(where: Endpoint, why: object) -> Stop:
    """The API cannot be reached at all."""
    return Stop(
        Exit.UNREACHABLE,
        f"The API at {where.url} cannot be reached: {why}",
        "Start it with `tocsin dev` (or `tocsin serve`), or say where it is with --api-url.",
    )


@asynccontextmanager
async def connect(where: Endpoint, *, answer_within: float = 60.0) -> AsyncIterator[Client]:
    """A client for the time of a command. `answer_within` is in seconds."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=answer_within)
    headers = {"Authorization": f"Bearer {where.key}", "Accept": "application/json"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        yield Client(where, session)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the async part of a command."""
    import asyncio

    return asyncio.run(work)


async def once(url: str | None, key: str | None, method: str, path: str, **parts: Any) -> Any:
    """One call of the API and nothing more: what most commands are."""
    async with connect(endpoint(url, key)) as api:
        return await api.call(method, path, **parts)
