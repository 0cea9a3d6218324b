"""The gates of CI, one after the other: what each runs, how long it took, whether it held.

In: `check`, `test` or `peers`, and after `--` what is handed on to pytest. Out: exit code 0 if every gate held.
A gate that fails does not stop the others, so that one run shows everything there is to mend.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
PYTHON = str(BIN / "python")
UV = ROOT / ".tools" / "bin" / "uv"
FLOOR = 95
"""Branch coverage of src/ in percent, sub-processes included."""


class Said(NamedTuple):
    """How a command or a gate ended: whether it held, and the last line it said."""

    held: bool
    last: str


def run(*command: str | Path) -> Said:
    """Run a command, showing what it says as it says it."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    return Said(process.wait() == 0, last)


def runs(*commands: Sequence[str | Path]) -> Said:
    """Run several commands; the first that fails ends it."""
    said = Said(True, "")
    for words in commands:
        said = run(*words)
        if not said.held:
            break
    return said


def tools(*commands: Sequence[str]) -> Said:
    """Run several tools of the environment; the first that fails ends it."""
    return runs(*((str(BIN / words[0]), *words[1:]) for words in commands))


def style() -> Said:
    """Ruff: rules and layout."""
    return tools(("ruff", "check", "."), ("ruff", "format", "--check", "."))


def types() -> Said:
    """Mypy, strict."""
    return tools(("mypy",))


def floors() -> Said:
    """The direction of imports."""
    return tools(("lint-imports",))


def migrations() -> Said:
    """Squawk over the migrations: what locks a table for long, what cannot be undone."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src/tocsin/storage/migrations").rglob("*.sql"))
    return tools(("squawk", *files))


def docs() -> Said:
    """The reference pages say what the code says."""
    return run(PYTHON, "scripts/print_docs.py", "--check")


def coverage() -> Said:
    """All tests but those against foreign software, with branch coverage of every process they start."""
    for leftover in ROOT.glob(".coverage*"):
        leftover.unlink()
    summary = run(PYTHON, "-m", "coverage", "run", "-m", "pytest", "--ignore=tests/peers", *passed_on())
    tools(("coverage", "combine", "--quiet"))
    enough = tools(("coverage", "report", f"--fail-under={FLOOR}", "--skip-covered"))
    return Said(summary.held and enough.held, f"{summary.last}; {enough.last}")


def suite() -> Said:
    """All tests but those against foreign software."""
    return run(PYTHON, "-m", "pytest", "--ignore=tests/peers", *passed_on())


def peers() -> Said:
    """The tests against software nobody here wrote."""
    return run(PYTHON, "-m", "pytest", "tests/peers", *passed_on())


def wheel() -> Said:
    """Build the wheel, install it into an empty environment and start `tocsin dev` from there."""
    place = ROOT / "build" / "wheel-check"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    uv = UV if UV.exists() else Path(shutil.which("uv") or UV)
    locked = place / "locked.txt"
    steps: tuple[tuple[str | Path, ...], ...] = (
        (uv, "build", "--quiet", "--wheel", "--out-dir", place),
        (uv, "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project", "--output-file", locked),
        (uv, "venv", "--quiet", "--python", PYTHON, place / "env"),
    )
    made = runs(*steps)
    if not made.held:
        return made
    (built,) = place.glob("*.whl")
    into = ("--quiet", "--python", str(place / "env" / "bin" / "python"))
    return runs(
        (uv, "pip", "install", *into, "--requirements", locked),
        (uv, "pip", "install", *into, "--no-deps", built),
        (PYTHON, ROOT / "scripts" / "smoke.py", place / "env" / "bin" / "tocsin", place / "state"),
    )


@dataclass(frozen=True)
class Gate:
    """One gate: its name, and what runs it."""

    name: str
    ask: Callable[[], Said]


PLANS = {
    "check": [
        Gate("style", style),
        Gate("types", types),
        Gate("floors", floors),
        Gate("migrations", migrations),
        Gate("docs", docs),
        Gate("tests and coverage", coverage),
        Gate("wheel", wheel),
    ],
    "test": [Gate("tests", suite)],
    "peers": [Gate("peers", peers)],
}


def passed_on() -> list[str]:
    """What comes after `--` on the command line."""
    words = sys.argv[1:]
    return words[words.index("--") + 1 :] if "--" in words else []


def main() -> int:
    """Run the gates of the plan named on the command line."""
    plan = sys.argv[1] if len(sys.argv) > 1 else ""
    if plan not in PLANS:
        print(f"usage: gates.py {'|'.join(PLANS)} [-- pytest arguments]", file=sys.stderr)
        return 2
    rows: list[tuple[str, float, Said]] = []
    for gate in PLANS[plan]:
        print(f"\n--- {gate.name}", flush=True)
        began = time.monotonic()
        said = gate.ask()
        rows.append((gate.name, time.monotonic() - began, said))
    whole = sum(seconds for _, seconds, _ in rows)
    if len(rows) > 1:
        print("\ngate                  seconds  share")
        for name, seconds, said in rows:
            print(f"{name:20} {seconds:8.1f} {seconds / whole:6.0%}  {'ok' if said.held else 'FAILED'}: {said.last}")
    return 0 if all(said.held for _, _, said in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
