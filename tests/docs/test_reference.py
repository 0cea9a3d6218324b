"""The reference is what the code says: printed from it, and complete."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tocsin.settings import Settings
from tocsin.terms import errors, outcomes

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def test_the_printed_pages_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "print_docs.py"), "--check"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_drift_is_noticed(tmp_path):
    page = REFERENCE / "settings.md"
    script = (ROOT / "scripts" / "print_docs.py").read_text("utf-8")
    copy = tmp_path / "scripts" / "print_docs.py"
    copy.parent.mkdir()
    copy.write_text(script, "utf-8")
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    for kept in REFERENCE.iterdir():
        (tmp_path / "docs" / "reference" / kept.name).write_text(kept.read_text("utf-8"), "utf-8")
    (tmp_path / "docs" / "reference" / page.name).write_text("# Settings by hand\n", "utf-8")
    done = subprocess.run(
        [sys.executable, str(copy), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "docs/reference/settings.md is not what the code says" in done.stdout


@pytest.mark.parametrize("name", [f"TOCSIN_{name.upper()}" for name in Settings.model_fields])
def test_every_setting_is_described(name):
    assert f"`{name}`" in (REFERENCE / "settings.md").read_text("utf-8")


def test_every_error_and_outcome_has_its_row():
    page = (REFERENCE / "errors.md").read_text("utf-8")
    assert all(f"| `{row.code}` |" in page for row in errors.TABLE.values())
    page = (REFERENCE / "outcomes.md").read_text("utf-8")
    assert all(f"| `{one.state}` |" in page for one in outcomes.STATES)


def test_every_operation_is_described_and_its_fields_explained():
    document = json.loads((REFERENCE / "openapi.json").read_text("utf-8"))
    page = (REFERENCE / "api.md").read_text("utf-8")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), f"{method} {path} has no summary"
            assert f"## {method.upper()} {path}\n" in page
