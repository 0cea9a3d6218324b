"""Who should have been reached, worked out from the client's log alone.

In: the client's changes and requests. Out: for each accepted request the devices that must have an outcome and those
that may have one: a device that changed while its notification was open may or may not have been in time.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.checker.evidence import Change, Client, Request

ENDED = frozenset({"completed", "cancelled", "failed"})


class Expected(NamedTuple):
    """External ids: `must` is a part of `may`."""

    must: frozenset[str]
    may: frozenset[str]


def expect(client: Client) -> dict[bytes, Expected]:
    """The targets of every accepted notification, by its id."""
    closed: dict[bytes, int] = {}
    for reading in client.readings:
        if reading.status in ENDED:
            closed.setdefault(reading.id, reading.line)
    apps: dict[bytes, _Audience] = {}
    events: list[Change | Request] = [*client.changes, *client.requests]
    for event in sorted(events, key=lambda each: each.line):
        audience = apps.setdefault(event.app, _Audience())
        if isinstance(event, Change):
            audience.change(event)
        else:
            audience.ask(event)
    return {note: expected for audience in apps.values() for note, expected in audience.answers(closed)}


class _Audience:
    """The devices of one app as its caller knows them, replayed."""

    def __init__(self) -> None:
        self._users: dict[str, str | None] = {}
        self._holders: dict[tuple[str | None, str], str] = {}
        self._changed: list[tuple[int, str]] = []
        self._asked: dict[bytes, tuple[int, frozenset[str]]] = {}

    def change(self, change: Change) -> None:
        self._changed.append((change.line, change.external_id))
        if change.what != "register":
            self._users.pop(change.external_id, None)
            return
        self._users[change.external_id] = change.user_id
        if change.token is not None:
            place = (change.provider, change.token)
            before = self._holders.get(place)
            if before is not None and before != change.external_id:
                self._users.pop(before, None)
                self._changed.append((change.line, before))
            self._holders[place] = change.external_id

    def ask(self, request: Request) -> None:
        # the same key may have been answered twice; the first answer set the audience
        if request.id is not None and request.id not in self._asked:
            self._asked[request.id] = (request.line, frozenset(self._match(request.to)))

    def _match(self, to: dict[str, Any]) -> Iterable[str]:
        if to.get("all"):
            return self._users
        users = {*to.get("users", ()), *filter(None, [to.get("user")])}
        devices = {*to.get("devices", ()), *filter(None, [to.get("device")])}
        return [each for each, user in self._users.items() if each in devices or (user is not None and user in users)]

    def answers(self, closed: dict[bytes, int]) -> Iterable[tuple[bytes, Expected]]:
        for note, (line, matched) in self._asked.items():
            until = closed.get(note, float("inf"))
            touched = {each for when, each in self._changed if line < when < until}
            yield note, Expected(matched - touched, matched | touched)
