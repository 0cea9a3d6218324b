"""One lab in memory: every part made and joined, for the doors and the control interface.

Takes a directory with what was kept; gives the handler of the provider port. Refuses nothing itself.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.lab import accounts as kept_accounts
from tocsin.lab.accounts import Accounts, from_b64url
from tocsin.lab.desk import Desk
from tocsin.lab.exchange import Answer, Ending, Reply, Request
from tocsin.lab.fcm import errors
from tocsin.lab.fcm.oauth import OAuth
from tocsin.lab.fcm.send import Send, project_of
from tocsin.lab.ledger import Ledger
from tocsin.lab.scenarios import Scenarios
from tocsin.lab.timers import Timers
from tocsin.lab.tokens import SCENARIOS
from tocsin.lab.webpush.browsers import Browsers
from tocsin.lab.webpush.hub import Hub
from tocsin.lab.webpush.post import ENDPOINTS, MESSAGES, Post
from tocsin.lab.webpush.synthetic import Synthetics


def recall(scenarios: Scenarios, line: dict[str, Any]) -> None:
    """Take back from a ledger line which turn a magic token has had and which wait was asked for."""
    token, delivery, at, status = line["token"], line["delivery"], line["at"], line["status"]
    if token is None:
        return
    scenarios.early(token, delivery, at)
    if line["fault"] in SCENARIOS:
        scenarios.recall(token, delivery, at)
    if isinstance(status, int) and (status == 429 or status >= 500):
        scenarios.answered(token, delivery, at, status, line["retry_after"])


@dataclass(slots=True)
class State:
    """The parts. `origin` is the provider port's, `control` the control port's URL; both known once it listens."""

    directory: Path
    accounts: Accounts
    timers: Timers
    desk: Desk
    oauth: OAuth
    send: Send
    synthetics: Synthetics
    hub: Hub
    post: Post
    port: int = 0
    control: str = ""
    connections: int = 0
    boot: str = ""

    @property
    def origin(self) -> str:
        """The origin of all three providers."""
        return f"https://localhost:{self.port}"

    def origins(self) -> set[str]:
        """Every origin the certificate is good for."""
        return {f"https://{name}:{self.port}" for name in ("localhost", "127.0.0.1", "[::1]")}

    def urls(self) -> dict[str, str]:
        """Where what answers."""
        return {
            "origin": self.origin,
            "fcm": self.origin,
            "oauth": f"{self.origin}/token",
            "webpush": f"{self.origin}{ENDPOINTS}",
            "control": self.control,
            "websocket": self.control.replace("http", "ws", 1) + "/ws",
        }

    def listens(self, port: int, control: str) -> None:
        """Both ports are known now."""
        self.port, self.control = port, control
        self.hub.endpoints = self.origin + ENDPOINTS

    def next_connection(self) -> str:
        """A name for a new connection, unlike any other in the ledger."""
        self.connections += 1
        return f"{self.boot}-{self.connections}"

    def receive(self, request: Request) -> Reply:
        """The handler of the provider port."""
        path = request.path
        project = project_of(path)
        if project is not None:
            return self.send.receive(request, project)
        if path.startswith(ENDPOINTS):
            return self.post.receive(request)
        if path.startswith(MESSAGES):
            return Reply(Ending.ANSWERED, self.post.cancel(request), self.desk.wait())
        if path == "/token":
            return self._token(request)
        return Reply(Ending.ANSWERED, errors.not_found(), self.desk.wait())

    def _token(self, request: Request) -> Reply:
        rule = self.desk.faults.strike("oauth", request.h2, self.desk.clock()) if self.desk.faults.rules else None
        if rule is None:
            return Reply(Ending.ANSWERED, self.oauth.receive(request), self.desk.wait())
        refused = {"error": 500, "unavailable": 503, "throttle": 429}.get(rule.kind)
        if refused is not None:
            headers = [] if rule.retry_after is None else [(b"retry-after", b"%d" % rule.retry_after)]
            return Reply(Ending.ANSWERED, Answer(refused, headers, b'{"error":"server_error"}'), self.desk.wait())
        ending = {
            "cut": Ending.CUT,
            "cut_connection": Ending.CUT_CONNECTION,
            "silence": Ending.SILENT,
            "goaway": Ending.GOAWAY,
            "refuse": Ending.REFUSED,
        }.get(rule.kind, Ending.ANSWERED)
        return Reply(ending, self.oauth.receive(request), self.desk.wait() + rule.extra_delay())

    def close(self) -> None:
        """Let go of files."""
        self.timers.close()
        self.desk.ledger.close()
        self.hub.browsers.close()


def open_state(directory: Path, loop: asyncio.AbstractEventLoop) -> State:
    """The lab that lives in `directory`. Raises ValueError if what is kept there is not the lab's."""
    accounts = kept_accounts.load(directory)
    scenarios = Scenarios()
    ledger = Ledger(directory / "ledger.jsonl", lambda line: recall(scenarios, line))
    desk = Desk(ledger=ledger, scenarios=scenarios, clock=loop.time)
    synthetics = Synthetics(accounts.seed)
    hub = Hub(Browsers(directory / "browsers.sqlite"), ENDPOINTS)

    def origins() -> set[str]:
        return state.origins()

    oauth = OAuth(accounts, lambda: {f"{origin}/token" for origin in origins()})
    post = Post(desk, synthetics, hub, origins, from_b64url(accounts.vapid_public))
    state = State(
        directory=directory,
        accounts=accounts,
        timers=Timers(loop),
        desk=desk,
        oauth=oauth,
        send=Send(desk, oauth),
        synthetics=synthetics,
        hub=hub,
        post=post,
        boot=os.urandom(3).hex(),
    )
    return state
