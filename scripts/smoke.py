"""Start an installed `tocsin dev`, send one push through it, end it, and look that nothing is left.

In: the `tocsin` program and an empty folder for its state. Refuses (exit code 1) anything but a push that was sent.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

READY_WITHIN = 120.0
SENT_WITHIN = 30.0


def call(method: str, url: str, key: str = "", body: Any = None) -> Any:
    """One HTTP call with JSON both ways; raises on any status but 2xx."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def until(seconds: float, what: str, look: Any) -> Any:
    """Look every tenth of a second until there is something; raises TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")


def push(facts: dict[str, Any]) -> None:
    """Register a simulated phone, send to its user, wait until the provider took it."""
    api, key = facts["api_url"], facts["api_key"]
    tokens = call("GET", f"{facts['lab_url']}/lab/tokens")
    token = next(row["token"] for row in tokens["fcm"] if row["name"] == "ok")
    call("PUT", f"{api}/v1/devices/phone-1", key, {"provider": "fcm", "token": token, "user_id": "u1"})
    body = {"to": {"user": "u1"}, "content": {"title": "Hi", "body": "from an installed wheel"}}
    sent = call("POST", f"{api}/v1/notifications", key, body)
    where = f"{api}/v1/notifications/{sent['id']}"
    until(SENT_WITHIN, "the push", lambda: call("GET", where, key)["progress"]["sent"] == 1)


def main() -> int:
    """Run the whole of it; say how long it took to be ready."""
    program, state = sys.argv[1], Path(sys.argv[2])
    began = time.monotonic()
    process = subprocess.Popen([program, "dev", "--data-dir", str(state), "--port", "0"])
    try:
        facts_file = state / "dev.json"

        def ready() -> Any:
            if process.poll() is not None:
                raise RuntimeError(f"tocsin dev ended with {process.returncode}")
            return json.loads(facts_file.read_text()) if facts_file.exists() else None

        facts = until(READY_WITHIN, "ready", ready)
        print(f"ready after {time.monotonic() - began:.1f} s", flush=True)
        push(facts)
        pids = [*facts["pids"].values(), process.pid]
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    if code != 0 or left:
        print(f"tocsin dev ended with {code}, leaving {left}")
        return 1
    print(f"the installed wheel sent a push and left nothing behind ({Path(program).name})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
