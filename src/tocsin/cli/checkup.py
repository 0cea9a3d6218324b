"""The checks of `tocsin doctor`, one function each, in the order in which one depends on another.

In: settings. Out: findings. A check never raises: what goes wrong in it is its finding.
"""

import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tocsin.cli.exits import Stop
from tocsin.cli.operator import dsn, keyring
from tocsin.settings import Settings
from tocsin.storage import Database, Unavailable, migrations, partitions
from tocsin.storage.roles import UnsafeDatabase, verify
from tocsin.tenants.credentials import list_credentials
from tocsin.tenants.organisations import list_apps
from tocsin.terms import ids

SKEW: Final = 2.0
"""Seconds that this machine's clock may differ from the database's."""
AHEAD: Final = 2
"""Days whose partitions must be there already; the keeper makes seven."""
ANSWER: Final = 5.0
"""Seconds that a check waits for an answer."""


@dataclass(frozen=True)
class Finding:
    """What a check found. `ok` is None if it does not apply here; `fix` says what mends it."""

    name: str
    ok: bool | None
    detail: str
    fix: str | None = None


async def examine(settings: Settings, api_url: str | None) -> list[Finding]:
    """Every finding, in order."""
    findings = await _database(settings)
    findings.append(await _asked("api", lambda: _api(api_url), "Start it: `tocsin serve`, or `tocsin dev`."))
    findings.append(await _asked("lab", lambda: _lab(settings), "Start it: `tocsin lab`, or `tocsin dev`."))
    return findings


async def _asked(name: str, check: Callable[[], Awaitable[Finding]], fix: str) -> Finding:
    """A check's finding, or what kept it from finding anything."""
    try:
        return await check()
    except Stop as stop:
        return Finding(name, False, stop.message, stop.fix)
    except Exception as fault:
        return Finding(name, False, f"{fault}" or type(fault).__name__, fix)


async def _database(settings: Settings) -> list[Finding]:
    """Everything that needs the database; one finding only if it cannot be reached."""
    try:
        where, owner_dsn = dsn(settings, "app"), dsn(settings, "owner")
        database = await Database.connect(where, size=1, patience=ANSWER)
    except Stop as stop:
        return [Finding("database", False, stop.message, stop.fix)]
    except Unavailable as fault:
        return [Finding("database", False, str(fault), "Start it, or correct TOCSIN_DATABASE_URL.")]
    try:
        findings = [
            Finding("database", True, "it answers"),
            await _asked("role", lambda: _role(database), "Use the role tocsin_app."),
            await _asked("clock", lambda: _clock(database), "Set this machine's clock."),
            await _asked("migrations", lambda: _migrations(owner_dsn), "Run `tocsin db migrate`."),
            await _asked("partitions", lambda: _partitions(owner_dsn), "Run `tocsin db migrate`."),
            await _asked("credentials", lambda: _credentials(settings, database, owner_dsn), "See the detail."),
        ]
    finally:
        await database.close()
    return findings


async def _role(database: Database) -> Finding:
    try:
        await verify(database)
    except UnsafeDatabase as unsafe:
        return Finding("role", False, " ".join(unsafe.faults), "Follow the detail, then run this again.")
    return Finding("role", True, "it owns nothing, is held by row-level security, and commits reach the disk")


async def _clock(database: Database) -> Finding:
    async with database.transaction() as tx:
        there: datetime = await tx.fetchval("select clock_timestamp()")
    skew = abs((datetime.now(UTC) - there).total_seconds())
    if skew > SKEW:
        return Finding("clock", False, f"{skew:.1f} s off the database's", "Let NTP set the clocks of both machines.")
    return Finding("clock", True, f"within {SKEW:.0f} s of the database's")


async def _migrations(owner_dsn: str) -> Finding:
    found = await migrations.status(owner_dsn)
    if found.pending:
        return Finding("migrations", False, f"pending: {', '.join(found.pending)}", "Run `tocsin db migrate`.")
    return Finding("migrations", True, f"all done, to {found.done[-1]}")


async def _partitions(owner_dsn: str) -> Finding:
    missing = await partitions.missing(owner_dsn, AHEAD)
    if missing:
        listed = ", ".join(missing[:3])
        return Finding(
            "partitions",
            False,
            f"{len(missing)} missing of the days to come: {listed} …",
            "Start `tocsin keep`, which makes them ahead; `tocsin db migrate` makes them now.",
        )
    return Finding("partitions", True, f"there for the next {AHEAD} days at least")


async def _credentials(settings: Settings, database: Database, owner_dsn: str) -> Finding:
    """Every credential in use has to open with the keyring that the workers get."""
    owner = await Database.connect(owner_dsn, size=1, patience=ANSWER)
    try:
        apps = await list_apps(owner)
    finally:
        await owner.close()
    in_use = [
        (app.app_id, row)
        for app in apps
        for row in await list_credentials(database, app.app_id)
        if row.state == "active"
    ]
    if not in_use:
        return Finding("credentials", None, "no app has any", "Add one with `tocsin credentials add`.")
    ring = keyring(settings)
    lost = [(app_id, row) for app_id, row in in_use if not ring.holds(row.envelope_key_id)]
    if lost:
        app_id, row = lost[0]
        return Finding(
            "credentials",
            False,
            f"{len(lost)} of {len(in_use)} cannot be opened with this keyring, such as {row.provider}/{row.name} of "
            f"{ids.show(ids.APP, app_id)}, sealed with key {row.envelope_key_id}",
            "Point TOCSIN_VAULT_KEYS to the ring that holds the key, or add the credential anew.",
        )
    return Finding("credentials", True, f"all {len(in_use)} in use can be opened")


async def _api(api_url: str | None) -> Finding:
    """The API's own word: its probes tell of its database and of the keeper's age."""
    if api_url is None:
        return Finding("api", None, "not known where it is (TOCSIN_API_URL)")
    status, told = await _get(f"{api_url}/readyz")
    failed = [f"{check['name']}: {check['reason']}" for check in told.get("checks", []) if not check["ok"]]
    if status != 200 or failed:
        return Finding("api", False, "; ".join(failed) or f"it answered {status}", "See the reasons, one by one.")
    names = ", ".join(check["name"] for check in told.get("checks", []))
    return Finding("api", True, f"ready ({names})")


async def _lab(settings: Settings) -> Finding:
    if settings.lab_url is None:
        return Finding("lab", None, "none is set (TOCSIN_LAB_URL); test apps cannot send without one")
    trusted = ssl.create_default_context(cafile=None if settings.lab_ca is None else str(settings.lab_ca))
    status, _ = await _get(settings.lab_url, trusted)
    return Finding("lab", True, f"it answers over TLS with a certificate of its own authority ({status} at its root)")


async def _get(url: str, trusted: ssl.SSLContext | None = None) -> tuple[int, dict[str, Any]]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=ANSWER)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, ssl=trusted or True) as answer:
        text = await answer.text()
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    return answer.status, told if isinstance(told, dict) else {}
