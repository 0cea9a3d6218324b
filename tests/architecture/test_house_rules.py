"""The rules of the house that no linter knows: sizes, names, whose tables a room names, what stays in the lab."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "tocsin"
CEILING = 500
DRAWERS = {
    "utils",
    "util",
    "common",
    "core",
    "helpers",
    "helper",
    "manager",
    "managers",
    "misc",
    "shared",
    "base_classes",
}
ROOMS = ("tenants", "web", "intake", "content", "audience", "dispatch", "schedule", "ledger", "lanes")
SCHEMA = re.compile(rf"\b({'|'.join(ROOMS)})\.([a-z_]+)\b")

PYTHON = sorted(SRC.rglob("*.py"))
SQL = sorted(path for path in SRC.rglob("*.sql") if "migrations" not in path.parts)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def too_long(path: Path) -> bool:
    return len(path.read_text("utf-8").splitlines()) > CEILING


def drawer(path: Path) -> bool:
    parts = {part.removesuffix(".py") for part in path.relative_to(SRC).parts}
    return bool(parts & DRAWERS)


def without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql)


def foreign_schemas(sql: str, room: str) -> set[str]:
    """The schemas of other rooms that a statement names; aliases such as `b.sent` are no schemas."""
    return {schema for schema, _ in SCHEMA.findall(without_comments(sql)) if schema != room}


def opens_sockets(tree: ast.Module) -> list[str]:
    """Ways to the outside that an import linter cannot see."""
    found = []
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
        if name in {"open_connection", "create_connection", "create_datagram_endpoint", "urlopen", "sock_connect"}:
            found.append(name)
        if isinstance(node, ast.ImportFrom | ast.Import):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [module for module in modules if module in {"urllib.request", "http.client"}]
    return found


def test_no_file_is_over_the_ceiling():
    assert [named(path) for path in PYTHON if too_long(path)] == []


def test_there_is_no_drawer_for_things_without_a_name():
    assert [named(path) for path in PYTHON if drawer(path)] == []


def test_every_module_says_what_it_is_for():
    silent = [named(path) for path in PYTHON if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_a_room_names_its_own_tables_only():
    found = {named(path): foreign_schemas(path.read_text("utf-8"), path.parent.name) for path in SQL}
    assert {name: schemas for name, schemas in found.items() if schemas} == {}


def test_there_are_statements_to_look_at():
    assert {path.parent.name for path in SQL} >= {"tenants", "web", "intake", "audience", "ledger", "lanes"}


def test_nothing_but_wire_lab_and_cli_has_a_way_to_the_outside():
    inside = [path for path in PYTHON if path.relative_to(SRC).parts[0] not in {"wire", "lab", "cli"}]
    found = {named(path): opens_sockets(ast.parse(path.read_text("utf-8"))) for path in inside}
    assert {name: ways for name, ways in found.items() if ways} == {}


def test_no_magic_token_is_known_outside_the_lab():
    from tocsin.lab.tokens import SCENARIOS

    names = [f"lab-{name}" for name in SCENARIOS]
    found = [
        (named(path), name)
        for path in [*PYTHON, *SQL]
        if "lab" not in path.relative_to(SRC).parts
        for name in names
        if name in path.read_text("utf-8")
    ]
    assert found == []


def test_the_rules_see_what_they_are_for():
    assert foreign_schemas("select * from ledger.runs join audience.devices d using (app_id)", "ledger") == {"audience"}
    assert foreign_schemas("-- audience.devices\nselect b.sent from ledger.batches b", "ledger") == set()
    assert drawer(SRC / "ledger" / "utils.py")
    assert opens_sockets(ast.parse("import asyncio\nasyncio.open_connection('h', 1)")) == ["open_connection"]
    assert opens_sockets(ast.parse("from urllib.request import urlopen")) == ["urllib.request"]
    assert opens_sockets(ast.parse("from urllib.parse import urlsplit")) == []
