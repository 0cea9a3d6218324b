"""A real Firefox without a screen, whose push server is the lab, and which can reach this machine only.

In: the lab's WebSocket address and a page. Out: a browser that opens the page once its push service is connected: a
subscription asked for before that is never answered.
"""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import web

_LANDING = """<!doctype html><meta charset="utf-8"><title>landing</title>
<script>fetch("/go").then(answer => answer.text()).then(url => location.replace(url))</script>"""


def preferences(push_server: str) -> dict[str, Any]:
    """The profile: push through `push_server` without asking anybody, and no way off this machine."""
    return {
        "dom.push.serverURL": push_server,
        "dom.push.testing.allowInsecureServerURL": True,
        "dom.push.testing.ignorePermission": True,
        "dom.push.connection.enabled": True,
        "permissions.default.desktop-notification": 1,
        "alerts.useSystemBackend": False,
        # whatever is not on this machine goes to a proxy that is not there
        "network.proxy.type": 1,
        "network.proxy.http": "127.0.0.1",
        "network.proxy.http_port": 9,
        "network.proxy.ssl": "127.0.0.1",
        "network.proxy.ssl_port": 9,
        "network.proxy.no_proxies_on": "localhost, 127.0.0.1",
        "network.dns.disabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "app.normandy.enabled": False,
        "app.update.enabled": False,
        "browser.safebrowsing.malware.enabled": False,
        "browser.safebrowsing.phishing.enabled": False,
        "browser.shell.checkDefaultBrowser": False,
        "browser.startup.homepage_override.mstone": "ignore",
        "datareporting.policy.dataSubmissionEnabled": False,
        "extensions.update.enabled": False,
        "services.settings.server": "data:,#remote-settings-dummy/v1",
        "toolkit.telemetry.reportingpolicy.firstRun": False,
    }


class Firefox:
    """One browser with a profile of its own in `home`.

    `connected` tells whether the push server has seen this browser; `page` is opened as soon as it has.
    """

    def __init__(self, home: Path, push_server: str, page: str, connected: Callable[[], Awaitable[bool]]) -> None:
        self._home, self._push_server, self._page, self._connected = home, push_server, page, connected
        self._process: asyncio.subprocess.Process | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        binary = shutil.which("firefox-esr")
        assert binary is not None, "firefox-esr is not installed: `make peers-install` does that"
        profile = self._home / "profile"
        profile.mkdir(parents=True)
        lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences(self._push_server).items())
        (profile / "user.js").write_text("".join(lines))
        landing = await self._serve()
        with (self._home / "firefox.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                binary,
                *("--headless", "--no-remote", "--profile", str(profile), landing),
                # as root it insists on a home that root owns
                env={"PATH": os.environ["PATH"], "HOME": str(self._home), "MOZ_CRASHREPORTER_DISABLE": "1"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._runner is not None
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 10)
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        await self._runner.cleanup()

    async def _serve(self) -> str:
        """The landing page, which waits for the push server and then goes to the page."""

        async def landing(_: web.Request) -> web.Response:
            return web.Response(text=_LANDING, content_type="text/html")

        async def go(_: web.Request) -> web.Response:
            while not await self._connected():
                await asyncio.sleep(0.1)
            return web.Response(text=self._page)

        site = web.Application()
        site.add_routes([web.get("/", landing), web.get("/go", go)])
        self._runner = web.AppRunner(site, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    def log(self) -> str:
        """What the browser printed."""
        return (self._home / "firefox.log").read_text("utf-8", "replace")
