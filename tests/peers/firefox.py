"""A real Firefox without a screen, whose push server is the lab, and which can reach this machine only.

In: the lab's WebSocket address and a page. Out: a browser that opens the page as it starts.
"""

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, Self


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
    """One browser with a profile of its own in `home`."""

    def __init__(self, home: Path, push_server: str, page: str) -> None:
        self._home, self._push_server, self._page = home, push_server, page
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        binary = shutil.which("firefox-esr")
        assert binary is not None, "firefox-esr is not installed: `make peers-install` does that"
        profile = self._home / "profile"
        profile.mkdir(parents=True)
        lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences(self._push_server).items())
        (profile / "user.js").write_text("".join(lines))
        with (self._home / "firefox.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                binary,
                *("--headless", "--no-remote", "--profile", str(profile), self._page),
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
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 10)
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()

    def log(self) -> str:
        """What the browser printed."""
        return (self._home / "firefox.log").read_text("utf-8", "replace")
