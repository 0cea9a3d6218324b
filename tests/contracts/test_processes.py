"""`serve`, `work`, `keep` and `lab` as processes: how they start, what keeps them from it, how they end."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tocsin.cli.exits import Exit
from tocsin.cli.running import write_private
from tocsin.storage.embedded import Dsns
from tocsin.tenants.vault import create_keyring

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def env(database_dsns: Dsns, tmp_path: Path) -> dict[str, str]:
    """The environment of processes that have all they need."""
    create_keyring(tmp_path / "vault.json")
    write_private(tmp_path / "receipt", "0" * 64)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return plain | {
        "TOCSIN_DATABASE_URL": database_dsns.app,
        "TOCSIN_DATABASE_OWNER_URL": database_dsns.owner,
        "TOCSIN_DATABASE_KEEPER_URL": database_dsns.keeper,
        "TOCSIN_VAULT_KEYS": str(tmp_path / "vault.json"),
        "TOCSIN_RECEIPT_KEY": str(tmp_path / "receipt"),
        "TOCSIN_DATA_DIR": str(tmp_path),
    }


@pytest.fixture
def start(env: dict[str, str]) -> Iterator[Start]:
    """Start `tocsin WORDS`; what still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(*words: str, **other: str | None) -> "subprocess.Popen[str]":
        given = {name: value for name, value in {**env, **other}.items() if value is not None}
        process = subprocess.Popen(
            [sys.executable, "-m", "tocsin.cli", *words],
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition: Callable[[], object], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def answers(url: str) -> tuple[int, Mapping[str, object]]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_the_api_takes_a_free_port_tells_it_and_ends_with_zero(start: Start, tmp_path: Path):
    told = tmp_path / "port"
    process = start("serve", "--port", "0", "--port-file", str(told), TOCSIN_DEMO="1")
    until(told.exists)
    url = f"http://127.0.0.1:{int(told.read_text())}"
    assert answers(f"{url}/livez")[0] == 200
    status, problem = answers(f"{url}/readyz")
    assert (status, "tocsin keep" in str(problem["detail"])) == (503, True)

    for name, kind in (("", "text/html"), ("app.js", "text/javascript"), ("sw.js", "text/javascript")):
        with urllib.request.urlopen(f"{url}/demo/{name}", timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith(kind)
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    with urllib.request.urlopen(f"{url}/demo", timeout=5) as answer:
        assert answer.url == f"{url}/demo/"
    assert answers(f"{url}/demo/settings.py")[0] == 404

    keeper = start("keep")
    until(lambda: answers(f"{url}/readyz")[0] == 200)
    for ended in (process, keeper):
        ended.send_signal(signal.SIGTERM)
        _, said = ended.communicate(timeout=30)
        assert ended.returncode == 0, said


def test_the_demo_page_is_served_by_wish_only(start: Start, tmp_path: Path):
    told = tmp_path / "port"
    process = start("serve", "--port", "0", "--port-file", str(told))
    until(told.exists)
    assert answers(f"http://127.0.0.1:{int(told.read_text())}/demo/")[0] == 404
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize("command", ["work", "keep"])
def test_a_process_waits_for_a_database_that_is_away(start: Start, command: str):
    away = "postgresql://x:x@127.0.0.1:1/x"
    process = start(command, TOCSIN_DATABASE_URL=away, TOCSIN_DATABASE_KEEPER_URL=away)
    assert process.stderr is not None
    assert "database.away" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("work", "TOCSIN_VAULT_KEYS"),
        ("work", "TOCSIN_RECEIPT_KEY"),
        ("work", "TOCSIN_DATABASE_URL"),
        ("keep", "TOCSIN_DATABASE_OWNER_URL"),
        ("keep", "TOCSIN_DATABASE_KEEPER_URL"),
    ],
)
def test_a_process_that_lacks_a_setting_names_it(start: Start, command: str, missing: str):
    process = start(command, **{missing: None})
    _, said = process.communicate(timeout=30)
    assert (process.returncode, f"set {missing}" in said) == (Exit.USAGE, True), said
    assert "Traceback" not in said


def test_a_worker_refuses_a_database_that_would_break_a_promise(start: Start, database_dsns: Dsns):
    process = start("work", TOCSIN_DATABASE_URL=database_dsns.owner)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "would break a promise" in said) == (Exit.FAILED, True), said
    assert "Traceback" not in said


def test_an_api_that_cannot_start_says_so(start: Start):
    process = start("serve", "--port", "0", TOCSIN_RECEIPT_KEY=None)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "TOCSIN_RECEIPT_KEY" in said, "did not start" in said) == (Exit.FAILED, True, True)


def test_a_port_that_is_not_ours_to_take_is_told(start: Start):
    process = start("serve", "--host", "203.0.113.1", "--port", "0")
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "cannot be used" in said) == (Exit.FAILED, True), said


def test_the_lab_says_where_it_answers_and_refuses_a_second_one(start: Start, tmp_path: Path):
    words = ("lab", "--dir", str(tmp_path / "lab"), "--port", "0", "--control-port", "0")
    first = start(*words)
    assert first.stdout is not None
    assert "The lab answers at https://localhost:" in first.stdout.readline()
    second = start(*words)
    _, said = second.communicate(timeout=30)
    assert (second.returncode, "another lab is running" in said) == (Exit.FAILED, True)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
    assert first.returncode == 0
