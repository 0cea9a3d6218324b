"""The lab as a process for tests: started in a directory, asked over its control port, ended by its pid."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_PROGRAM = (
    "import sys, pathlib; from tocsin.lab import serve; "
    "serve(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))"
)


class LabProcess:
    """A running lab. `kill` is SIGKILL, `stop` SIGTERM; `start` brings it back on the same ports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.control_port = 0
        self.origin = ""
        self.control = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 20.0) -> "LabProcess":
        """Start and wait until it answers; raises RuntimeError with what it wrote if it ended instead."""
        described = self.directory / "lab.json"
        described.unlink(missing_ok=True)
        command = [sys.executable, "-c", _PROGRAM, str(self.directory), str(self.port), str(self.control_port)]
        with (self.directory / "words").open("wb") as words:
            self._process = subprocess.Popen(command, stderr=words)
        until = time.monotonic() + seconds
        while not described.exists():
            if self._process.poll() is not None:
                raise RuntimeError(f"the lab ended: {self.words()}")
            if time.monotonic() > until:
                self.kill()
                raise RuntimeError("the lab did not start in time")
            time.sleep(0.02)
        told = json.loads(described.read_bytes())
        self.origin, self.control = told["origin"], told["control"]
        self.port, self.control_port = (int(url.rsplit(":", 1)[1]) for url in (self.origin, self.control))
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def tls(self, *protocols: str) -> ssl.SSLContext:
        """A client's context that trusts this lab only."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """The JSON that the control port answers; raises urllib.error.HTTPError for a refusal."""
        octets = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data=octets, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def refusal(self, path: str, method: str, body: Any) -> tuple[int, str]:
        """(status, the words) of a control request that must be refused."""
        try:
            told = self.ask(path, method, body)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)["error"]
        raise AssertionError(f"not refused: {told}")

    def ledger(self, after: int = 0) -> list[dict[str, Any]]:
        """The ledger's lines after line `after`, by the control port."""
        lines: list[dict[str, Any]] = self.ask(f"/lab/ledger?after={after}&limit=10000")["data"]
        return lines

    def lines(self) -> int:
        """How many lines the ledger has."""
        count: int = self.ask("/lab")["ledger"]["lines"]
        return count

    def words(self) -> str:
        """What the process wrote to its standard error: nothing, if all is well."""
        return (self.directory / "words").read_text("utf-8", "replace")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as an operator does; gives the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            os.kill(process.pid, number)
        status = process.wait(timeout=10)
        self._process = None
        return status
