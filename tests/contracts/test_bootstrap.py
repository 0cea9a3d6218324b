"""`make run` on a machine with Python and make alone: what the bootstrap chooses, refuses and skips."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = (
    "sh",
    "cat",
    "cksum",
    "cmp",
    "cp",
    "dirname",
    "env",
    "make",
    "mkdir",
    "rm",
    "sed",
    "chmod",
    "echo",
    "id",
    "true",
)

PYTHON = """#!/bin/sh
# a Python of version {version} whose ensurepip is {ensurepip}
case "$*" in
  *'version_info < (3, 11)'*) exit {too_old} ;;
  *'version_info[:2]'*) echo {version} ;;
  *'import ensurepip'*) exit {lacks} ;;
  *sys.executable*) echo "$0" ;;
  -V) echo Python {version} ;;
  '-m venv '*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  '-m pip '*) echo "pip $*" >>"$LOG"; cp "$FAKE_UV" "${{0%/*}}/uv"; chmod +x "${{0%/*}}/uv" ;;
  *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""
UV = """#!/bin/sh
case "$1" in
  --version) echo uv 1 ;;
  sync) echo "uv $* env=$UV_PROJECT_ENVIRONMENT" >>"$LOG"; mkdir -p .venv/bin; cp "$FAKE_PYTHON" .venv/bin/python ;;
esac
"""


class Machine:
    """A checkout on a machine with a few ordinary programs and the Pythons it is given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "checkout"
        (self.checkout / "scripts").mkdir(parents=True)
        for name in (
            "scripts/bootstrap",
            "scripts/peers-install",
            "scripts/uv.txt",
            "Makefile",
            "pyproject.toml",
            "uv.lock",
        ):
            shutil.copy(ROOT / name, self.checkout / name)
        self.bin = root / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, f"this test needs {tool}"
            (self.bin / tool).symlink_to(found)
        self.log = root / "log"
        self.log.touch()
        (root / "uv").write_text(UV)

    def python(self, name: str = "python3", *, version: str = "3.11", ensurepip: bool = True) -> Path:
        old = tuple(int(part) for part in version.split(".")) < (3, 11)
        text = PYTHON.format(version=version, ensurepip=ensurepip, too_old=int(old), lacks=int(not ensurepip))
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        fake = next((path for path in self.bin.iterdir() if path.name.startswith("python")), self.bin / "none")
        given = {
            "PATH": str(self.bin),
            "LOG": str(self.log),
            "FAKE_UV": str(self.root / "uv"),
            "FAKE_PYTHON": str(fake),
            **env,
        }
        return subprocess.run(words, cwd=self.checkout, env=given, capture_output=True, text=True, timeout=30)

    def bootstrap(self, level: str = "run", **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("scripts/bootstrap", level, **env)

    def did(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_python_without_ensurepip_is_told_with_the_package_that_mends_it(machine: Machine):
    machine.python(version="3.12", ensurepip=False)
    done = machine.bootstrap()
    assert done.returncode == 1
    assert "its module ensurepip is missing" in done.stderr
    assert "apt install python3.12-venv" in done.stderr
    assert machine.did() == []


def test_make_run_says_it_too(machine: Machine):
    machine.python(version="3.11", ensurepip=False)
    done = machine.run("make", "run")
    assert done.returncode != 0
    assert "apt install python3.11-venv" in done.stderr


def test_a_second_python_that_can_is_taken_instead(machine: Machine):
    machine.python("python3", ensurepip=False)
    machine.python("python3.13", version="3.13")
    assert machine.bootstrap().returncode == 0
    assert "--python" in machine.did()[-1]
    assert "python3.13" in machine.did()[-1]


def test_no_python_at_all_is_told(machine: Machine):
    machine.python(version="3.10")
    done = machine.bootstrap()
    assert done.returncode == 1
    assert "no Python of 3.11 or newer on PATH" in done.stderr


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ({"version": "3.9"}, "needs Python 3.11 or newer"),
        ({"ensurepip": False}, "apt install python3.11-venv"),
    ],
)
def test_the_python_that_was_asked_for_is_judged_alone(machine: Machine, python, said: str):
    machine.python("python3")
    asked = machine.python("mine", **python)
    done = machine.bootstrap(PYTHON=str(asked))
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_a_python_that_is_no_program_is_told(machine: Machine):
    done = machine.bootstrap(PYTHON="/no/such/python")
    assert (done.returncode, "is not a program" in done.stderr) == (1, True)


def test_what_is_installed_is_pinned_by_hash_and_by_the_lock_file(machine: Machine):
    machine.python()
    assert machine.bootstrap().returncode == 0
    pip, sync = machine.did()
    assert "--require-hashes --only-binary :all: -r scripts/uv.txt" in pip
    assert "://" not in pip, "the index is the user's own"
    assert sync.startswith("uv sync --quiet --frozen")
    assert "--no-default-groups" in sync
    assert sync.endswith("env=.venv")


def test_a_warm_start_installs_nothing_and_a_higher_level_installs_the_rest(machine: Machine):
    machine.python()
    for level in ("run", "run", "test", "run", "test", "peers", "run"):
        assert machine.bootstrap(level).returncode == 0
    synced = [line for line in machine.did() if line.startswith("uv sync")]
    assert len(synced) == 3
    assert "--no-default-groups" in synced[0]
    assert "group" not in synced[1].replace("--python", "")
    assert "--group peers" in synced[2]
    assert sum(line.startswith("pip") for line in machine.did()) == 1


def test_a_new_lock_file_is_installed_at_the_level_that_was_there(machine: Machine):
    machine.python()
    machine.bootstrap("peers")
    (machine.checkout / "uv.lock").write_text("other")
    assert machine.bootstrap("run").returncode == 0
    assert "--group peers" in machine.did()[-1]


def test_a_checkout_that_was_moved_is_installed_again(machine: Machine):
    machine.python()
    machine.bootstrap()
    machine.checkout = machine.checkout.rename(machine.root / "moved")
    assert machine.bootstrap().returncode == 0
    assert sum(line.startswith("uv sync") for line in machine.did()) == 2


def test_a_stamp_that_was_cut_short_means_nothing(machine: Machine):
    machine.python()
    machine.bootstrap()
    (machine.checkout / ".venv" / ".tocsin-installed").write_text("1\n")
    assert machine.bootstrap().returncode == 0
    assert sum(line.startswith("uv sync") for line in machine.did()) == 2


def test_a_level_that_does_not_exist_is_refused(machine: Machine):
    machine.python()
    assert machine.bootstrap("everything").returncode == 2


def test_no_index_is_named_anywhere_in_the_bootstrap():
    for name in ("scripts/bootstrap", "scripts/uv.txt", "Makefile", "scripts/gates.py"):
        text = (ROOT / name).read_text()
        assert "://" not in text, name
        assert "--index" not in text, name


# ---------------------------------------------------------------------- foreign software


def test_foreign_software_that_is_there_is_left_alone(machine: Machine):
    firefox = machine.bin / "firefox-esr"
    firefox.write_text("#!/bin/sh\necho Mozilla Firefox 1\n")
    firefox.chmod(0o755)
    done = machine.run("scripts/peers-install")
    assert (done.returncode, "is there (Mozilla Firefox 1)" in done.stderr) == (0, True)


def test_a_system_without_apt_is_told_what_to_install(machine: Machine):
    done = machine.run("scripts/peers-install")
    assert (done.returncode, "no apt-get" in done.stderr, "firefox-esr" in done.stderr) == (3, True, True)


def test_an_ordinary_user_is_told_whom_to_ask(machine: Machine):
    (machine.bin / "id").unlink()
    for name, code in (("apt-get", "exit 9"), ("id", "echo 1000")):
        (machine.bin / name).write_text(f"#!/bin/sh\n{code}\n")
        (machine.bin / name).chmod(0o755)
    done = machine.run("scripts/peers-install")
    assert (done.returncode, "an ordinary user" in done.stderr, "apt install firefox-esr" in done.stderr) == (
        3,
        True,
        True,
    )


def test_root_installs_by_itself(machine: Machine):
    (machine.bin / "id").unlink()
    for name, code in (("apt-get", 'echo "apt-get $*" >>"$LOG"'), ("id", "echo 0")):
        (machine.bin / name).write_text(f"#!/bin/sh\n{code}\n")
        (machine.bin / name).chmod(0o755)
    assert machine.run("scripts/peers-install").returncode == 0
    assert machine.did() == ["apt-get update -q", "apt-get install -q -y --no-install-recommends firefox-esr"]


def test_ci_runs_the_rest_where_foreign_software_cannot_be_installed(machine: Machine):
    """`.ci/run` with a Makefile whose peers-install cannot: told as an ordinary user, a failure under CI=true."""
    (machine.checkout / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", machine.checkout / ".ci")
    (machine.checkout / "Makefile").write_text(
        "check:\n\t@true\npeers-install:\n\t@exit 3\ntest-peers:\n\t@echo tested\n"
    )
    (machine.bin / "bash").symlink_to(shutil.which("bash") or "")
    alone = machine.run(".ci/run")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert "the rest runs" in alone.stdout
    assert "tested" in alone.stdout
    gated = machine.run(".ci/run", CI="true")
    assert (gated.returncode, "failed: peers-install" in gated.stdout, "tested" in gated.stdout) == (1, True, True)


def test_the_scripts_can_be_run():
    for name in ("scripts/bootstrap", "scripts/peers-install", ".ci/run", ".githooks/pre-commit"):
        assert os.access(ROOT / name, os.X_OK), name
