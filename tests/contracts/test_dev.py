"""`tocsin dev`: it comes up with everything, heals what dies, and leaves nothing behind."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rig.fixtures import reachable_dir
from tests.rig.platform import Platform

from tocsin.cli.state import StateDir

TOCSIN = [sys.executable, "-m", "tocsin.cli"]


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    path = reachable_dir()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def dev(directory: Path) -> Iterator[Platform]:
    """One that is running, in a directory where one was killed before."""
    state = directory / "state"
    state.mkdir()
    (state / "dev.json").write_text('{"pid": 4194399, "pids": {}}')
    running = Platform(state)
    running.start()
    yield running
    running.stop()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition, within: float = 20.0):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise TimeoutError


def get(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read().decode()


def test_what_runs_is_written_down_for_its_owner_only(dev: Platform):
    file = dev.directory / "dev.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    facts = dev.facts
    assert facts["api_key"].startswith("tk_test_")
    assert facts["data_dir"] == str(dev.directory)
    assert set(facts["pids"]) == {"postgres", "lab", "api", "worker-1", "worker-2", "keeper"}
    assert all(alive(pid) for pid in facts["pids"].values())
    assert get(f"{facts['api_url']}/readyz")[0] == 200
    assert get(f"{facts['lab_url']}/lab")[0] == 200


def test_it_prints_the_key_and_a_next_step_that_runs_as_typed(dev: Platform):
    until(lambda: "--watch" in dev.last_words(1000))
    said = dev.last_words(1000)
    assert dev.facts["api_key"] in said
    typed = said[said.index("  curl -X PUT") : said.index("  tocsin send")]
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["id"] == "phone-1", done
    words = ["send", "--user", "u1", "--title", "Hi", "--body", "from Tocsin", "--watch"]
    assert f"tocsin {words[0]} --user u1" in said
    env = {**os.environ, "TOCSIN_DATA_DIR": str(dev.directory)}
    sent = subprocess.run([*TOCSIN, *words], env=env, capture_output=True, text=True, timeout=60)
    assert (sent.returncode, "completed: 1 sent" in sent.stdout) == (0, True), sent


def test_doctor_finds_it_well(dev: Platform):
    told = dev.tocsin("doctor")
    assert {row["check"]: row["ok"] for row in told["checks"]} == dict.fromkeys(
        ["database", "role", "clock", "migrations", "partitions", "credentials", "api", "lab"], True
    )


def test_each_process_is_told_no_more_secrets_than_it_needs(dev: Platform):
    told = {name: environment(pid) for name, pid in dev.pids.items() if name != "postgres"}
    assert [name for name, env in told.items() if "TOCSIN_VAULT_KEYS" in env] == ["worker-1", "worker-2"]
    assert [name for name, env in told.items() if "TOCSIN_DATABASE_OWNER_URL" in env] == ["keeper"]
    assert [name for name, env in told.items() if "TOCSIN_DATABASE_KEEPER_URL" in env] == ["keeper"]
    assert [name for name, env in told.items() if "TOCSIN_RECEIPT_KEY" in env] == ["api", "worker-1", "worker-2"]
    assert "TOCSIN_DATABASE_URL" not in told["lab"]


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_the_demo_page_is_there(dev: Platform):
    assert 'data-state="idle"' in get(f"{dev.facts['api_url']}/demo/")[1]


def test_a_second_one_in_the_same_directory_says_who_was_first(dev: Platform):
    again = subprocess.run(
        [*TOCSIN, "dev", "--data-dir", str(dev.directory), "--port", "0"], capture_output=True, text=True, timeout=30
    )
    assert again.returncode == 1
    assert f"already runs here: process {dev.facts['pid']}" in again.stderr
    assert dev.facts["api_url"] in again.stderr
    assert get(f"{dev.facts['api_url']}/livez")[0] == 200


@pytest.mark.parametrize("name", ["worker-1", "api", "keeper", "lab", "postgres"])
def test_a_killed_child_is_started_again_at_once(dev: Platform, name: str):
    before = dev.pids[name]
    os.kill(before, signal.SIGKILL)
    after = until(lambda: dev.pids.get(name, before) != before and dev.pids[name])
    assert alive(after)
    assert not alive(before)
    assert stat.S_IMODE((dev.directory / "dev.json").stat().st_mode) == 0o600


def test_the_port_of_a_killed_api_refuses_nobody(dev: Platform):
    os.kill(dev.pids["api"], signal.SIGKILL)
    assert get(f"{dev.facts['api_url']}/livez")[0] == 200


def test_a_taken_port_is_told_with_what_to_do(directory: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*TOCSIN, "dev", "--data-dir", str(directory / "other"), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port 0" in done.stderr


def test_sigterm_ends_all_of_it_and_a_new_start_finds_its_state(dev: Platform):
    before, pids = dev.facts, [dev.facts["pid"], *dev.pids.values()]
    began = time.monotonic()
    assert dev.stop() == 0, dev.last_words()
    assert time.monotonic() - began < 30
    assert [pid for pid in pids if alive(pid)] == []
    assert not (dev.directory / "dev.json").exists()

    began = time.monotonic()
    dev.start()
    seconds = time.monotonic() - began
    assert seconds < 15, f"ready after {seconds:.1f} s, warm"
    assert dev.facts["api_key"] == before["api_key"]
    assert dev.facts["app_id"] == before["app_id"]
    assert "data" in dev.tocsin("devices", "list"), "the key is as good as before"


def test_sigkill_of_the_supervisor_leaves_no_process_and_heals(dev: Platform):
    before, children = dev.facts, list(dev.pids.values())
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in children))
    assert dev.stop() == -signal.SIGKILL
    assert json.loads((dev.directory / "dev.json").read_text())["pid"] == before["pid"]
    dev.start()
    assert dev.facts["api_key"] == before["api_key"]


def test_reset_leaves_no_state(dev: Platform):
    before = dev.facts
    dev.stop()
    process = subprocess.Popen(
        [*TOCSIN, "dev", "--reset", "--data-dir", str(dev.directory), "--port", "0", "--workers", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        assert facts["api_key"] != before["api_key"]
        assert set(facts["pids"]) == {"postgres", "lab", "api", "worker-1", "keeper"}
        assert dev.tocsin("devices", "list")["data"] == []
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert not any(alive(pid) for pid in facts["pids"].values())


def test_two_signals_end_it_in_a_hurry_also_while_it_comes_up(directory: Path):
    with subprocess.Popen(
        [*TOCSIN, "dev", "--data-dir", str(directory / "hurried"), "--port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first word of a child: something runs by now
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "ending" in said


def test_a_child_that_cannot_start_ends_the_start_with_its_reason(directory: Path):
    state = StateDir(directory / "broken")
    state.hold()
    state.prepare()
    state.receipt_key.write_text("short")
    state.release()
    done = subprocess.run(
        [*TOCSIN, "dev", "--data-dir", str(state.path), "--port", "0"], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 1
    assert "does not start; its last words" in done.stderr
    assert "a receipt key has at least" in done.stderr


def test_a_database_of_ones_own_needs_all_three_roles(directory: Path):
    done = subprocess.run(
        [*TOCSIN, "dev", "--data-dir", str(directory / "own"), "--port", "0"],
        env={**os.environ, "TOCSIN_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "TOCSIN_DATABASE_OWNER_URL" in done.stderr
