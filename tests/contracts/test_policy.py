"""Under CI=true nothing that must be shown may be skipped."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLANTED = {
    "one": "import pytest\n\n\ndef test_x():\n    pytest.skip('no such browser')\n",
    "whole": "import pytest\n\npytest.skip('no such browser', allow_module_level=True)\n",
}


@pytest.fixture
def skipping() -> Iterator[list[str]]:
    """Two files of peer tests that skip themselves, in the place where peer tests lie."""
    files = {ROOT / "tests" / "peers" / f"test_planted_{os.getpid()}_{name}.py": text for name, text in PLANTED.items()}
    for file, text in files.items():
        file.write_text(text)
    yield [str(file) for file in files]
    for file in files:
        file.unlink()


@pytest.mark.parametrize(("ci", "code", "said"), [("true", 1, "CI does not allow here"), ("", 0, "2 skipped")])
def test_a_skipped_peer_test_fails_where_it_gates_and_is_told_elsewhere(
    skipping: list[str], ci: str, code: int, said: str
):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", *skipping],
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout
    assert said in done.stdout
    assert done.stdout.count("no such browser") >= 2
