"""The lab's control interface: plain HTTP and JSON on loopback, for tests, tools and the tutorial.

Reads state, tables, accounts, the ledger and acknowledgements; makes subscriptions; puts faults in force; revokes
credentials. Refuses unknown paths with 404, wrong methods with 405 and bad input with 400 and the member's name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from tocsin.lab import tokens
from tocsin.lab.exchange import Answer, Ending, Reply, Request
from tocsin.lab.faults import KINDS, BadRule
from tocsin.lab.state import State
from tocsin.lab.tokens import ORDINARY, SCENARIOS
from tocsin.lab.webpush.refusals import FLAVOURS, MOZILLA
from tocsin.lab.webpush.synthetic import as_json

_JSON = (b"content-type", b"application/json")
_PAGE = 1000
_PAGE_MAX = 10_000
_SUBSCRIPTIONS_MAX = 10_000


class BadInput(ValueError):
    """The request cannot be carried out; the text says why."""


class _Call(NamedTuple):
    query: dict[str, str]
    body: dict[str, Any]


def _answer(status: int, told: Any) -> Answer:
    return Answer(status, [_JSON], orjson.dumps(told))


def _whole(value: Any, name: str, default: int, low: int, high: int) -> int:
    if value is None:
        return default
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        raise BadInput(f"{name}: expected a whole number from {low} to {high}")
    return value


def _known(given: dict[str, Any], *names: str) -> None:
    for name in given:
        if name not in names:
            raise BadInput(f"{name}: no such member; there are {', '.join(names)}")


class Control:
    """The interface over one lab's state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._routes: dict[str, dict[str, Callable[[_Call], Any]]] = {
            "/lab": {"GET": self._show},
            "/lab/tokens": {"GET": self._tokens},
            "/lab/accounts/fcm": {"GET": lambda call: state.accounts.service_account(state.origin)},
            "/lab/accounts/webpush": {"GET": lambda call: state.accounts.vapid()},
            "/lab/subscriptions": {"POST": self._subscriptions},
            "/lab/faults": {"GET": self._faults, "POST": self._add_fault, "DELETE": self._remove_faults},
            "/lab/ledger": {"GET": self._ledger},
            "/lab/acks": {"GET": self._acks},
            "/lab/inbox": {"GET": self._inbox},
            "/lab/flip": {"POST": self._flip},
            "/lab/settings": {"POST": self._settings},
            "/lab/credentials/fcm": {"POST": lambda call: self._credential("fcm", call)},
            "/lab/credentials/webpush": {"POST": lambda call: self._credential("webpush", call)},
        }

    def receive(self, request: Request) -> Reply:
        """The reply to one control request."""
        return Reply(Ending.ANSWERED, self._answer(request))

    def _answer(self, request: Request) -> Answer:
        methods = self._routes.get(request.path)
        if methods is None:
            return _answer(404, {"error": f"there is no {request.path}; there are: {', '.join(self._routes)}"})
        act = methods.get(request.method)
        if act is None:
            return _answer(405, {"error": f"{request.path} takes {', '.join(methods)}"})
        try:
            return _answer(200, act(self._call(request)))
        except (BadInput, BadRule) as bad:
            return _answer(400, {"error": str(bad)})

    @staticmethod
    def _call(request: Request) -> _Call:
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        if not request.body:
            return _Call(query, {})
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError as fault:
            raise BadInput(f"the body is not JSON: {fault}") from None
        if not isinstance(body, dict):
            raise BadInput("the body is not a JSON object")
        return _Call(query, body)

    # ------------------------------------------------------------------ reading

    def _show(self, call: _Call) -> dict[str, Any]:
        state, desk = self._state, self._state.desk
        return {
            "urls": state.urls(),
            "project_id": state.accounts.service_account(state.origin)["project_id"],
            "counts": {
                "requests": dict(desk.requests),
                "accepted": dict(desk.accepted),
                "endings": dict(desk.statuses),
                "connections": state.connections,
                "waiting_answers": len(state.timers),
            },
            "browsers": {**state.hub.browsers.counts(), "connected": state.hub.here},
            "injected": dict(desk.faults.injected),
            "scripted": dict(desk.scripted),
            "faults": [rule.shown() for rule in desk.faults.rules],
            "credentials": {
                "fcm": "revoked" if state.oauth.revoked else "good",
                "webpush": "revoked" if state.post.revoked else "good",
            },
            "settings": self._shown_settings(),
            "ledger": {"path": str(desk.ledger.path), "lines": desk.ledger.count},
        }

    def _tokens(self, call: _Call) -> dict[str, Any]:
        table: dict[str, list[dict[str, Any]]] = {}
        for row in tokens.rows():
            entry: dict[str, Any] = {"name": row.name, "happens": row.happens}
            if row.provider == "fcm":
                entry["token"] = tokens.make(row.name, 0)
            else:
                entry["subscription"] = self._make(row.name, None, MOZILLA, self._state.accounts.vapid_public)
            table.setdefault(row.provider, []).append(entry)
        return table

    def _ledger(self, call: _Call) -> dict[str, Any]:
        after = _whole(call.query.get("after"), "after", 0, 0, 2**53)
        limit = _whole(call.query.get("limit"), "limit", _PAGE, 1, _PAGE_MAX)
        self._state.desk.ledger.flush()
        lines = [orjson.loads(line) for line in self._state.desk.ledger.after(after, limit)]
        return {"data": lines, "next": lines[-1]["n"] if lines else after}

    def _acks(self, call: _Call) -> dict[str, Any]:
        after = _whole(call.query.get("after"), "after", 0, 0, 2**53)
        limit = _whole(call.query.get("limit"), "limit", _PAGE, 1, _PAGE_MAX)
        found = self._state.hub.browsers.acks(after, limit)
        return {"data": found, "next": found[-1]["n"] if found else after}

    def _inbox(self, call: _Call) -> dict[str, Any]:
        token, delivery = call.query.get("token"), call.query.get("delivery")
        kept = [
            message._asdict()
            for message in self._state.desk.inbox
            if token in (None, message.token) and delivery in (None, message.delivery)
        ]
        return {"data": kept}

    # ------------------------------------------------------------------ making and changing

    def _make(self, kind: str, seconds: int | None, flavour: str, key: str) -> dict[str, Any]:
        made = self._state.synthetics.make(kind, seconds, flavour, key)
        return as_json(made, self._state.hub.endpoints + made.name)

    def _subscriptions(self, call: _Call) -> dict[str, Any]:
        given = call.body
        _known(given, "count", "kind", "seconds", "flavour", "vapid_public_key")
        count = _whole(given.get("count"), "count", 1, 1, _SUBSCRIPTIONS_MAX)
        kind = given.get("kind", ORDINARY)
        if kind != ORDINARY and kind not in SCENARIOS:
            raise BadInput(f"kind: expected one of {ORDINARY}, {', '.join(SCENARIOS)}")
        seconds = given.get("seconds")
        seconds = None if seconds is None else _whole(seconds, "seconds", 0, 0, 9999)
        flavour = given.get("flavour", MOZILLA)
        key = given.get("vapid_public_key", self._state.accounts.vapid_public)
        if flavour not in FLAVOURS or not isinstance(key, str):
            raise BadInput(f"flavour: expected one of {', '.join(FLAVOURS)}; vapid_public_key: expected base64url")
        try:
            return {"subscriptions": [self._make(kind, seconds, flavour, key) for _ in range(count)]}
        except ValueError as bad:
            raise BadInput(str(bad)) from None

    def _faults(self, call: _Call) -> dict[str, Any]:
        return {"data": [rule.shown() for rule in self._state.desk.faults.rules], "kinds": KINDS}

    def _add_fault(self, call: _Call) -> dict[str, Any]:
        faults, now = self._state.desk.faults, self._state.desk.clock()
        return faults.add(call.body, now).shown()

    def _remove_faults(self, call: _Call) -> dict[str, Any]:
        return {"removed": self._state.desk.faults.remove(call.query.get("name"))}

    def _flip(self, call: _Call) -> dict[str, Any]:
        _known(call.body, "channel")
        channel = call.body.get("channel")
        if not isinstance(channel, str | None):
            raise BadInput("channel: expected a channelID, or none for any")
        self._state.hub.flip(channel)
        return {"flip": channel or "any"}

    def _credential(self, provider: str, call: _Call) -> dict[str, Any]:
        _known(call.body, "action")
        action = call.body.get("action")
        if action not in ("revoke", "restore"):
            raise BadInput("action: expected revoke or restore")
        revoked = action == "revoke"
        if provider == "fcm":
            self._state.oauth.revoked = revoked
        else:
            self._state.post.revoked = revoked
        return {"provider": provider, "credential": "revoked" if revoked else "good"}

    def _shown_settings(self) -> dict[str, Any]:
        state = self._state
        return {
            "latency_ms": [round(1000 * seconds, 3) for seconds in state.desk.latency],
            "fcm_quota_per_minute": state.send.quota.limit,
            "access_token_seconds": state.oauth.lifetime,
        }

    def _settings(self, call: _Call) -> dict[str, Any]:
        _known(call.body, "latency_ms", "fcm_quota_per_minute", "access_token_seconds")
        state, given = self._state, call.body
        match given.get("latency_ms"):
            case None:
                latency = state.desk.latency
            case [int() | float() as low, int() | float() as high] if 0 <= low <= high <= 60_000:
                latency = (low / 1000, high / 1000)
            case _:
                raise BadInput("latency_ms: expected [least, most] in milliseconds, at most 60000")
        quota = _whole(given.get("fcm_quota_per_minute"), "fcm_quota_per_minute", state.send.quota.limit, 0, 10**9)
        lifetime = _whole(given.get("access_token_seconds"), "access_token_seconds", state.oauth.lifetime, 1, 3600)
        state.desk.latency, state.send.quota.limit, state.oauth.lifetime = latency, quota, lifetime
        return self._shown_settings()
