"""Print the reference pages from the code: API, settings, errors, outcomes, magic tokens.

In: nothing, or `--check`. Out: the pages under docs/reference/; with `--check` nothing is written, and the exit code is
1 if a page is not what the code says.
"""

import difflib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic_core import PydanticUndefined

from tocsin import lab, wiring
from tocsin.settings import Settings
from tocsin.storage import Database
from tocsin.terms import errors, outcomes
from tocsin.terms.clock import SystemClock
from tocsin.web import create

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
_PRINTED = "<!-- Printed from the code by scripts/print_docs.py: edit the code, then run it. -->\n"


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def document() -> Mapping[str, Any]:
    """The OpenAPI document of the API, made without a database."""
    nowhere = Database(cast("Any", None), cast("Any", None), patience=1.0)
    settings, clock = Settings(), SystemClock()
    movers = wiring.Movers(nowhere, clock)
    doors = wiring.routers(settings, nowhere, movers, wiring.Vendors(settings, clock).by_name, clock, b"")
    return create(doors, authenticator=cast("Any", None)).openapi()


def openapi() -> str:
    """The document itself, as JSON."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def api() -> str:
    """Every operation, with its parameters and what it answers."""
    found = document()
    parts = [
        f"# API\n\n{_PRINTED}\nThe same as [OpenAPI 3.1](openapi.json). Every call but the health checks, receipts and "
        "the public key of Web Push\nneeds `Authorization: Bearer tk_test_…` or `tk_live_…`. Every error is "
        "`application/problem+json`; [errors](errors.md) lists them.\n"
    ]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation, found["components"]["schemas"]))
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    text = (
        f"## {method.upper()} {path}\n\n{operation.get('summary', '')}. {operation.get('description', '')}\n".replace(
            "?.", "?"
        )
    )
    if given := operation.get("parameters"):
        text += "\n" + table(
            ("parameter", "in", "what"),
            ((f"`{one['name']}`", one["in"], one.get("description", _shape(one["schema"]))) for one in given),
        )
    if body := operation.get("requestBody"):
        for media_type, content in body["content"].items():
            text += f"\nBody, `{media_type}`:\n\n{_fields(content['schema'], schemas)}"
    answers = ", ".join(f"`{status}`" for status in operation["responses"] if status[0] == "2")
    return text + (f"\nAnswers {answers}.\n" if answers else "")


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str = "") -> str:
    return table(("field", "type", "what"), _rows(schema, schemas, prefix))


def _rows(schema: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str, str]]:
    schema = _resolved(schema, schemas)
    for name, field in schema.get("properties", {}).items():
        inner = _resolved(field, schemas)
        star = " (required)" if name in schema.get("required", ()) else ""
        yield f"`{prefix}{name}`{star}", _shape(field), inner.get("description", field.get("description", ""))
        if "properties" in inner:
            yield from _rows(inner, schemas, f"{prefix}{name}.")


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    named = [one for one in (schema, *schema.get("anyOf", ())) if "$ref" in one]
    return (
        {**schemas[named[0]["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in schema.items() if k == "description"}}
        if (named)
        else schema
    )


def _shape(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_shape(one) for one in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def settings() -> str:
    """Every setting."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        rows.append((f"`TOCSIN_{name.upper()}`", default, field.description))
    return (
        f"# Settings\n\n{_PRINTED}\nRead from the environment when a process starts; `tocsin dev` sets what its own "
        f"processes need.\n\n{table(('variable', 'default', 'what'), rows)}"
    )


def error_page() -> str:
    """The error table, by kind."""
    parts = [f"# Errors\n\n{_PRINTED}\nOne row each, as `terms/errors.py` has them.\n"]
    for title, rows in (
        ("Refusals: said to a caller at the door", errors.REFUSALS),
        ("Outcome codes: why a delivery or an attempt ended as it did", errors.OUTCOMES),
        ("Faults: ours or a provider's", errors.FAULTS),
    ):
        cells = (
            (f"`{row.code}`", row.status or "", _yes(row.retryable), _yes(row.ours), f"{row.gloss} {row.fix}")
            for row in rows
        )
        parts.append(
            f"## {title}\n\n" + table(("code", "status", "retryable", "ours to fix", "what and what to do"), cells)
        )
    return "\n".join(parts)


def outcome_page() -> str:
    """The ends of a delivery."""
    rows = ((f"`{one.state}`", one.gloss, _yes(one.ours), _yes(one.billable)) for one in outcomes.STATES)
    return (
        f"# Outcomes\n\n{_PRINTED}\nEvery delivery ends in exactly one of these. The code beside it, in "
        f"[errors](errors.md), says why.\n\n{table(('state', 'what', 'ours to fix', 'billable'), rows)}\n"
        "## Statuses of a notification\n\n"
        "`accepted → scheduled → running ⇄ paused → completed | cancelled | failed`; `cancelling` between the wish\n"
        "and the end. `failed` means that nothing could be planned.\n\n"
        "## Receipts\n\nFacts that a device reports after `sent`: "
        + ", ".join(f"`{one}`" for one in outcomes.Receipt)
        + ". They are not states.\n"
    )


def magic_tokens() -> str:
    """The tokens with which the simulated providers behave on command."""
    rows = ((f"`{row.provider}`", f"`{row.name}`", f"`{row.marker}…`", row.happens) for row in lab.rows())
    return (
        f"# Magic tokens\n\n{_PRINTED}\nThe lab's providers accept every well-formed token. These make them behave; "
        "`GET /lab/tokens` of the lab gives the\ntokens themselves, and `POST /lab/subscriptions` makes subscriptions "
        f"of a kind.\n\n{table(('provider', 'name', 'a token begins with', 'what happens'), rows)}"
    )


def _yes(value: bool) -> str:
    return "yes" if value else ""


ALL: Mapping[str, Callable[[], str]] = {
    "api.md": api,
    "openapi.json": openapi,
    "settings.md": settings,
    "errors.md": error_page,
    "outcomes.md": outcome_page,
    "magic-tokens.md": magic_tokens,
}


def main() -> int:
    """Write the pages, or compare them."""
    check = "--check" in sys.argv[1:]
    drift = 0
    for name, make in ALL.items():
        path, text = PAGES / name, make()
        kept = path.read_text("utf-8") if path.exists() else ""
        if kept == text:
            continue
        drift = 1
        if check:
            print(f"docs/reference/{name} is not what the code says; run scripts/print_docs.py")
            print("\n".join(list(difflib.unified_diff(kept.splitlines(), text.splitlines(), lineterm=""))[:20]))
        else:
            path.write_text(text, "utf-8")
            print(f"printed docs/reference/{name}")
    return drift if check else 0


if __name__ == "__main__":
    raise SystemExit(main())
