"""Runs the checker as the program it is, on the three ledgers of a run, and reads its verdict."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Judgement(NamedTuple):
    """What the checker said: its exit code, its whole text and the figures in it."""

    code: int
    text: str
    figures: dict[str, int]


def judge(client: Path, dsn: str, lab: Path, *, apps: tuple[str, ...] = (), slack: float = 12.0) -> Judgement:
    """Compare the three ledgers; `apps` restricts to these apps."""
    words = ["--client", str(client), "--dsn", dsn, "--lab", str(lab), "--slack", str(slack)]
    for app in apps:
        words += ["--app", app]
    done = subprocess.run(
        [sys.executable, "-m", "tests.checker", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    text = done.stdout + done.stderr
    line = re.search(r"^figures: (.*)$", text, re.MULTILINE)
    pairs = (part.rsplit(" ", 1) for part in line[1].split(", ")) if line else ()
    return Judgement(done.returncode, text, {name: int(value) for name, value in pairs})
