"""The operator's way to the database: for commands that make organisations, keys and credentials.

In: the DSNs of the environment, or those of a running `tocsin dev`. Out: the database in two roles.
Refuses to guess: without a DSN the command ends, saying which variable to set.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tocsin.cli.exits import Exit, Stop
from tocsin.cli.running import running
from tocsin.cli.settings import load

if TYPE_CHECKING:
    from tocsin.settings import Settings
    from tocsin.storage import Database
    from tocsin.tenants.vault import Keyring


@dataclass(frozen=True)
class Operator:
    """The database as `tocsin_app`, which makes things, and as `tocsin_owner`, which lists across tenants."""

    app: "Database"
    owner: "Database"


def settings() -> "Settings":
    """The settings of the environment, filled up from a running `tocsin dev` where they are not set."""
    given = load()
    facts = running()
    found: dict[str, Any] = {}
    from pydantic import SecretStr

    for name in ("database_url", "database_owner_url", "database_keeper_url"):
        if getattr(given, name) is None and facts.get(name):
            found[name] = SecretStr(facts[name])
    for name in ("vault_keys", "receipt_key", "lab_ca"):
        if getattr(given, name) is None and facts.get(name):
            found[name] = Path(facts[name])
    if given.lab_url is None and facts.get("lab_origin"):
        found["lab_url"] = facts["lab_origin"]
    return given.model_copy(update=found)


def dsn(given: "Settings", role: str) -> str:
    """The DSN of a role (app | owner | keeper); raises Stop naming the variable that is missing."""
    name = "database_url" if role == "app" else f"database_{role}_url"
    value = getattr(given, name)
    if value is None:
        raise Stop(
            Exit.USAGE,
            f"It is not known where the database is: TOCSIN_{name.upper()} is not set and no `tocsin dev` runs here.",
            f"Set TOCSIN_{name.upper()}, or start `tocsin dev` in this directory.",
        )
    text = value.get_secret_value()
    assert isinstance(text, str)
    return text


@asynccontextmanager
async def operator() -> AsyncIterator[Operator]:
    """Both databases for the time of a command; raises Stop with code 4 if the server does not answer."""
    given = settings()
    app = await _connect(dsn(given, "app"))
    try:
        owner = await _connect(dsn(given, "owner"))
        try:
            yield Operator(app, owner)
        finally:
            await owner.close()
    finally:
        await app.close()


async def _connect(where: str) -> "Database":
    from tocsin.storage import Database, Unavailable

    try:
        return await Database.connect(where, size=2)
    except (OSError, Unavailable) as fault:
        raise Stop(Exit.UNREACHABLE, f"The database cannot be reached: {fault}", "Run `tocsin doctor`.") from None


def keyring(given: "Settings") -> "Keyring":
    """The keys that seal credentials; raises Stop naming what is missing."""
    from tocsin.tenants.vault import BadKeyring, load_keyring

    if given.vault_keys is None:
        raise Stop(
            Exit.USAGE, "TOCSIN_VAULT_KEYS is not set.", "Make a keyring with `tocsin keys vault FILE` and set it."
        )
    try:
        return load_keyring(given.vault_keys)
    except BadKeyring as bad:
        raise Stop(Exit.FAILED, str(bad)) from None


def read_id(prefix: str, text: str) -> UUID:
    """The id in an argument; raises Stop with code 2 unless it is one of this kind."""
    from tocsin.terms import ids

    try:
        return ids.read(prefix, text)
    except ids.BadId as bad:
        raise Stop(Exit.USAGE, f"{text!r} is not such an id: {bad}.") from None
