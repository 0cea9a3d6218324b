"""A client of the API that writes down every request and reply, and asks again with the same key when a reply is lost.

In: an app's key and a log. Out: the API's JSON. An answer outside 2xx is raised as `Answered`, for a test to look at.
"""

import asyncio
import hashlib
import io
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Self

import aiohttp
from tests.rig.log import ClientLog

ENDED = frozenset({"completed", "cancelled", "failed"})
CONTENT = {"title": "Tocsin", "body": "The bell rings."}
_CHUNK = 10_000


class Answered(Exception):
    """The API answered with something else than 2xx."""

    def __init__(self, status: int, problem: Any, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status} {problem}")
        self.status, self.problem, self.headers = status, problem, headers


class Caller:
    """Calls the API as one app. `app_id` is the public id of that app, for the log."""

    def __init__(self, api_url: str, key: str, app_id: str, log: ClientLog) -> None:
        self.api_url, self.key, self.app_id, self.log = api_url, key, app_id, log
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60),
            read_bufsize=1 << 20,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    # ------------------------------------------------------------------ any call

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One call; gives the JSON of a 2xx, raises Answered for anything else. Header names have `_` for `-`."""
        status, text, given = await self._ask(method, path, body, headers)
        parsed = json.loads(text) if text else None
        if not 200 <= status < 300:
            raise Answered(status, parsed, given)
        return parsed

    async def _ask(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        assert self._session is not None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("content-type", "application/json")
        async with self._session.request(method, self.api_url + path, data=data, headers=sent) as answer:
            return answer.status, await answer.read(), answer.headers

    # ------------------------------------------------------------------ devices

    async def register(self, external_id: str, *, token: Any, user: str | None = None, **more: Any) -> Any:
        """Register a device: `token` is an FCM token (text) or a Web Push subscription (object)."""
        body = {**device(token), **({"user_id": user} if user else {}), **more}
        reply = await self.call("PUT", f"/v1/devices/{external_id}", body)
        self.log.write_all([self._registered(external_id, body)])
        return reply

    def _registered(self, external_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The log's line of a registration: `body` has the provider, the user and the token or subscription."""
        subscription = body.get("subscription")
        return {
            "op": "register",
            "at": time.time(),
            "app": self.app_id,
            "external_id": external_id,
            "user_id": body.get("user_id"),
            "provider": body["provider"],
            "token": subscription["endpoint"] if subscription else body["token"],
        }

    def adopt(self, external_id: str, body: Mapping[str, Any]) -> None:
        """Write down a registration that somebody else made for this app, such as a browser."""
        self.log.write_all([self._registered(external_id, body)])

    async def import_devices(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """Import devices (`id` and a device each), in chunks; gives how many, raises unless every line is in."""
        count, chunk = 0, []
        for line in lines:
            chunk.append(line)
            if len(chunk) == _CHUNK:
                await self._import(chunk)
                count, chunk = count + len(chunk), []
        if chunk:
            await self._import(chunk)
        return count + len(chunk)

    async def _import(self, lines: Sequence[Mapping[str, Any]]) -> None:
        assert self._session is not None
        text = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        headers = {"content-type": "application/x-ndjson"}
        async with self._session.post(f"{self.api_url}/v1/devices/import", data=text, headers=headers) as answer:
            answers = [json.loads(line) async for line in answer.content]
        assert answer.status == 200, answers
        summary = answers[-1]
        assert (summary["accepted"], summary["rejected"]) == (len(lines), 0), summary
        self.log.write_all([self._registered(line["id"], line) for line in lines])

    async def logout(self, external_id: str) -> Any:
        """Log a device out."""
        reply = await self.call("POST", f"/v1/devices/{external_id}/logout")
        self.log.write("logout", app=self.app_id, external_id=external_id)
        return reply

    async def delete(self, external_id: str) -> None:
        """Delete a device."""
        await self.call("DELETE", f"/v1/devices/{external_id}")
        self.log.write("delete", app=self.app_id, external_id=external_id)

    # ------------------------------------------------------------------ notifications

    async def send(self, to: Mapping[str, Any], *, key: str | None = None, **body: Any) -> Any:
        """Send a notification under an idempotency key; a lost reply is asked for again until there is one."""
        key = key or uuid.uuid4().hex
        sent = {"to": to, "content": CONTENT, **body}
        raw = json.dumps(sent).encode()
        wrote = {
            "app": self.app_id,
            "key": key,
            "body_sha256": hashlib.sha256(raw).hexdigest(),
            "to": to,
            "ttl": sent.get("ttl"),
            "on_ambiguity": sent.get("options", {}).get("on_ambiguity"),
        }
        while True:
            at = time.time()
            try:
                status, text, headers = await self._ask("POST", "/v1/notifications", raw, {"Idempotency_Key": key})
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.log.write_all([{"op": "send", "at": at, **wrote, "status": None, "id": None}])
                await asyncio.sleep(0.3)
                continue
            reply = json.loads(text)
            self.log.write_all([{"op": "send", "at": at, **wrote, "status": status, "id": reply.get("id")}])
            if 200 <= status < 300:
                return reply
            raise Answered(status, reply, headers)

    async def read(self, notification: str) -> Any:
        """Read a notification, and write down what was said."""
        reply = await self.call("GET", f"/v1/notifications/{notification}")
        self.log.write("read", id=notification, status=reply["status"], progress=reply["progress"])
        return reply

    async def until_ended(self, notification: str, *, within: float) -> Any:
        """Wait until a notification has ended; gives it, raises TimeoutError with what it last was."""
        return await self.until(notification, lambda reply: reply["status"] in ENDED, within=within)

    async def until(self, notification: str, reached: Any, *, within: float) -> Any:
        """Wait until `reached(reply)`, at most `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            reply = await self.call("GET", f"/v1/notifications/{notification}")
            if reached(reply):
                if reply["status"] in ENDED:
                    self.log.write("read", id=notification, status=reply["status"], progress=reply["progress"])
                return reply
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {within:g} s the notification is {reply['status']}: {reply['progress']}")
            await asyncio.sleep(0.1)

    async def deliveries(self, notification: str, **query: str) -> list[Any]:
        """All deliveries of a notification, page by page."""
        return [each async for each in self.pages(f"/v1/notifications/{notification}/deliveries", **query)]

    async def pages(self, path: str, **query: str) -> AsyncIterator[Any]:
        """Every item of a list, following its cursors."""
        cursor = None
        while True:
            asked = {**query, **({"cursor": cursor} if cursor else {})}
            page = await self.call(
                "GET", path + ("?" + "&".join(f"{k}={v}" for k, v in asked.items()) if asked else "")
            )
            for item in page["data"]:
                yield item
            cursor = page["next_cursor"]
            if not cursor:
                return

    async def story(self, delivery: str) -> Any:
        """The story of one delivery."""
        return await self.call("GET", f"/v1/deliveries/{delivery}")

    async def move(self, notification: str, to: str) -> Any:
        """cancel, pause or resume."""
        reply = await self.call("POST", f"/v1/notifications/{notification}/{to}")
        if to == "cancel":
            self.log.write("cancel", id=notification)
        return reply


def device(token: Any) -> dict[str, Any]:
    """The body of a device for an FCM token (text) or a Web Push subscription (object)."""
    if isinstance(token, str):
        return {"provider": "fcm", "token": token}
    return {"provider": "webpush", "subscription": token}
