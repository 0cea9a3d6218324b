"""The error and outcome tables: one row each, complete, and spoken of by no other name."""

import ast
import re
from pathlib import Path

import pytest

from tocsin.terms import errors, outcomes
from tocsin.terms.errors import Kind

SRC = Path(__file__).parents[3] / "src" / "tocsin"


def test_no_code_stands_twice_in_a_kind():
    rows = (*errors.REFUSALS, *errors.OUTCOMES, *errors.FAULTS)
    assert len(errors.TABLE) == len(rows)


@pytest.mark.parametrize("row", errors.TABLE.values(), ids=lambda row: f"{row.kind}:{row.code}")
def test_a_row_says_what_it_is_and_what_to_do(row):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", row.code)
    assert row.label == row.code
    assert row.gloss.endswith(".")
    assert row.fix.endswith(".")
    if row.kind is Kind.REFUSAL:
        assert 400 <= row.status < 500
        assert not row.ours
    elif row.kind is Kind.OUTCOME:
        assert row.status == 0
    else:
        assert row.ours
        assert row.status in (0, 500, 503)


def test_a_code_is_found_by_its_kind_and_no_other():
    assert errors.refusal("not_found").status == 404
    assert errors.outcome("unregistered").kind is Kind.OUTCOME
    assert errors.fault("internal").status == 500
    for look in (errors.refusal, errors.outcome, errors.fault):
        with pytest.raises(KeyError):
            look("no_such_code")


def test_every_state_is_glossed_once_and_every_status_is_open_or_ended():
    assert [gloss.state for gloss in outcomes.STATES] == list(outcomes.State)
    ended = set(outcomes.Status) - outcomes.OPEN
    assert {status.value for status in ended} == {"completed", "cancelled", "failed"}


def outcome_codes() -> set[str]:
    """Every text that the code gives an end or an attempt as its code."""
    found = set()
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = {"End": 2, "Attempt": 1, "Unreached": 1, "Stopped": 1, "Ended": 3, "end_all": 3}.get(name)
            argument = node.args[place] if place is not None and len(node.args) > place else None
            if isinstance(argument, ast.Constant):
                found.add(str(argument.value))
    return found


def test_every_outcome_code_that_is_used_has_its_row():
    used = outcome_codes()
    assert {"accepted", "ttl_passed", "poison", "no_credential", "retries_exhausted"} <= used
    assert used <= {row.code for row in errors.OUTCOMES}
