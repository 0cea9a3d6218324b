"""`tocsin doctor`: looks at everything Tocsin needs and says of each whether it is well and, if not, what mends it.

In: the settings, or a running `tocsin dev`. Out: a line a check; exit code 1 if one failed. A check that does not apply
here (no lab, no API) says so and is no fault.
"""

import typer

from tocsin.cli import show
from tocsin.cli.client import ApiUrl, run
from tocsin.cli.exits import Exit


def doctor(api_url: ApiUrl = None, json: show.Json = False) -> None:
    """Check database, roles, migrations, partitions, clock, keys, credentials, API, keeper and lab."""
    from tocsin.cli.checkup import examine
    from tocsin.cli.operator import settings
    from tocsin.cli.running import running

    facts = running()
    findings = run(examine(settings(), api_url or facts.get("api_url")))
    sick = any(finding.ok is False for finding in findings)
    rows = [
        {"check": finding.name, "ok": finding.ok, "detail": finding.detail, "fix": finding.fix} for finding in findings
    ]

    def words() -> None:
        for finding in findings:
            mark = {True: "ok  ", False: "FAIL", None: "–   "}[finding.ok]
            show.line(f"{mark}  {finding.name:12} {finding.detail}")
            if finding.ok is False and finding.fix:
                show.line(f"      fix: {finding.fix}")

    show.result({"ok": not sick, "checks": rows}, words)
    if sick:
        raise typer.Exit(Exit.FAILED)
