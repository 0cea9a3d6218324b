"""The README's tour and the tutorial, typed as they are written, by somebody who has nothing but the clone."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from tocsin.cli import app

ROOT = Path(__file__).parents[2]


def snippets(page: str, marker: str) -> list[str]:
    """The shell blocks of a page that stand under the marker."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"<!-- {marker} -->\n```sh\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def clone(tmp_path, platform):
    """A folder that looks like a clone in which `make run` has been typed."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / ".tocsin").symlink_to(platform.directory)
    return tmp_path


def typed(clone: Path, blocks: list[str]) -> str:
    """Type the blocks into one shell; what they print. A command that fails ends it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=clone, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.journey
def test_the_tour_of_the_readme_runs_as_typed(clone):
    blocks = snippets("README.md", "tour")
    assert len(blocks) == 6
    said = typed(clone, blocks)
    assert '"status":"accepted"' in said
    assert "100001/100001" in said, "the broadcast has reached everybody"
    assert "fcm accepted it" in said


@pytest.mark.journey
def test_the_tutorial_runs_as_typed(clone):
    blocks = snippets("docs/tutorials/first-push.md", "tutorial")
    assert len(blocks) == 6
    said = typed(clone, blocks)
    assert "unregistered" in said
    assert "dead" in said


@pytest.mark.journey
def test_the_import_runs_as_typed(clone):
    blocks = snippets("docs/how-to/import-devices.md", "import")
    assert len(blocks) == 2
    said = typed(clone, [". .tocsin/env", 'export PATH="$PWD/.venv/bin:$PATH"', *blocks])
    assert said.count("some lines were refused") == 3
    assert "pigeon" in said
    assert '"lines":4,"accepted":3,"rejected":1,"finished":true' in said


def commands() -> list[list[str]]:
    """Every call of `tocsin` in a code block of any page, as words."""
    found = []
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"```(?:sh)?\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            calls = re.findall(r"(?:^|\| |\$\()tocsin ([^|>#&\n]+)", block, re.MULTILINE)
            found += [shlex.split(call.strip(), comments=True) for call in calls]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_in_the_docs_exists_and_takes_these_options(words):
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    assert not hasattr(command, "commands"), "a group is no command"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_every_page_is_reached_from_the_readme_or_the_index():
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    linked = set()
    for source in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", source.read_text("utf-8")):
            if not target.startswith("http"):
                path = (source.parent / target).resolve()
                assert path.exists(), f"{source.relative_to(ROOT)} points to {target}, which is not there"
                linked.add(path.relative_to(ROOT).as_posix())
    decisions = {page for page in pages if page.startswith("docs/decisions/")}
    assert pages - decisions - {"docs/README.md"} <= linked
