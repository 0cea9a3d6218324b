"""Statements by name."""

from pathlib import Path

import pytest

from tocsin.storage import Queries

TEXT = """-- what these are for
-- name: find_it
select 1; -- once
-- a remark
-- name: change_it
update t
set x = 1;
"""


def test_a_statement_is_had_by_its_name_without_its_semicolon():
    queries = Queries(TEXT)
    assert queries.change_it == "update t\nset x = 1"
    assert queries.find_it.startswith("select 1")


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(AttributeError, match="no statement named lose_it"):
        _ = Queries(TEXT).lose_it


def test_statements_lie_beside_the_code_that_uses_them(tmp_path: Path):
    (tmp_path / "queries.sql").write_text(TEXT)
    (tmp_path / "reading.sql").write_text("-- name: read\nselect 2")
    assert Queries.beside(str(tmp_path / "store.py")).find_it
    assert Queries.beside(str(tmp_path / "store.py"), "reading.sql").read == "select 2"
