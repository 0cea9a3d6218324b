"""Imports go down, rooms do not know each other: every contract of pyproject.toml is shown to catch its violation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FLOORS = "Floors: imports go down, rooms do not know each other"
PROVIDERS = "Providers do not know each other"
BASE_ONLY = "Rooms see of providers the contract only"
STORES = "A room's store is its own"
TENANTS_STORE = "The store of tenants is its own, also for those above it"
DRIVER = "Only storage imports the database driver"
SOCKETS = "Only wire opens connections to the outside"
LAB_SHARES_NOTHING = "The lab shares the vocabulary with the house and nothing else"
LAB_IS_APART = "Only the command line knows the lab"

TRESPASSES = {
    "a room imports its neighbour": ("schedule/trespass.py", "import tocsin.audience", FLOORS),
    "a room imports its neighbour inside a function": (
        "dispatch/trespass.py",
        "def f():\n    from tocsin.ledger import book",
        FLOORS,
    ),
    "a room enqueues by itself": ("audience/trespass.py", "from tocsin.lanes import lane", FLOORS),
    "the lanes know a room": ("lanes/trespass.py", "import tocsin.ledger", FLOORS),
    "a room reads the settings": ("content/trespass.py", "import tocsin.settings", FLOORS),
    "the vocabulary imports the database": ("terms/trespass.py", "import tocsin.storage", FLOORS),
    "the doorframe knows a room": ("web/trespass.py", "import tocsin.intake", FLOORS),
    "a provider imports the tenants": ("providers/fcm/trespass.py", "import tocsin.tenants", FLOORS),
    "a new folder that nobody gave a floor": ("utils/__init__.py", "", FLOORS),
    "a provider imports another": ("providers/fcm/trespass.py", "import tocsin.providers.webpush", PROVIDERS),
    "a room imports one provider": ("dispatch/trespass.py", "import tocsin.providers.fcm", BASE_ONLY),
    "the map reaches into a room's tables": ("journey_trespass.py", "import tocsin.ledger.store", STORES),
    "a room reaches into the tables of tenants": ("intake/trespass.py", "import tocsin.tenants.store", TENANTS_STORE),
    "a room imports the driver": ("audience/trespass.py", "import asyncpg", DRIVER),
    "a room calls somebody": ("content/trespass.py", "import aiohttp", SOCKETS),
    "a provider opens a socket": ("providers/webpush/trespass.py", "import socket", SOCKETS),
    "the lab borrows from a provider": ("lab/trespass.py", "import tocsin.providers.base", LAB_SHARES_NOTHING),
    "the composition root starts the lab": ("wiring_trespass.py", "import tocsin.lab", LAB_IS_APART),
}


def lint(directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that a test may trespass in."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_the_house_as_it_stands_keeps_every_contract(house: Path):
    said = lint(house)
    assert "0 broken" in said, said
    for name in {contract for _, _, contract in TRESPASSES.values()}:
        assert f"{name} KEPT" in said, said


@pytest.mark.parametrize("case", TRESPASSES, ids=lambda case: case.replace(" ", "-"))
def test_a_trespass_is_caught(house: Path, case: str):
    where, code, contract = TRESPASSES[case]
    file = house / "src" / "tocsin" / where
    assert not file.exists()
    made = [] if file.parent.exists() else [file.parent]
    file.parent.mkdir(exist_ok=True)
    file.write_text(code + "\n")
    try:
        said = lint(house)
    finally:
        file.unlink()
        for folder in made:
            shutil.rmtree(folder)
    caught = f"{contract} BROKEN" in said
    # a folder without a floor is told of instead of a verdict
    assert caught or ("utils" in said and where.startswith("utils") and "KEPT" not in said), said
