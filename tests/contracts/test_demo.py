"""The demo tenant of `tocsin dev`: made once, found again, mended where something of it was lost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tocsin.cli import demo
from tocsin.cli.state import StateDir
from tocsin.storage import Database
from tocsin.tenants import find_key, keys
from tocsin.tenants.credentials import list_credentials
from tocsin.tenants.organisations import list_apps, revoke_key
from tocsin.tenants.vault import load_keyring, rotate_keyring
from tocsin.terms.outcomes import Mode

ACCOUNTS = {"fcm": {"private_key": "a"}, "webpush": {"private_key": "b"}}


def check(_provider: str, _secret: Mapping[str, Any], mode: Mode) -> Mapping[str, Any]:
    assert mode is Mode.TEST
    return {"public": True}


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path)
    made.prepare()
    return made


async def provide(state: StateDir, database: Database, accounts: Mapping[str, Any] = ACCOUNTS) -> demo.Demo:
    return await demo.provide(state, database, load_keyring(state.vault_keys), accounts, check)


async def versions(database: Database, made: demo.Demo) -> dict[str, int]:
    return {row.provider: row.version for row in await list_credentials(database, made.app_id)}


async def test_it_has_a_test_app_a_good_key_and_every_account(state: StateDir, database: Database):
    made = await provide(state, database)
    key = keys.parse(made.api_key)
    async with database.transaction() as tx:
        assert keys.matches(await find_key(tx, key.key_id), key)
    assert key.mode is Mode.TEST
    assert await versions(database, made) == {"fcm": 1, "webpush": 1}
    assert made.api_key not in repr(made)
    assert state.demo.stat().st_mode & 0o777 == 0o600


async def test_it_is_found_again_as_it_was(state: StateDir, database: Database, owner_database: Database):
    first = await provide(state, database)
    assert await provide(state, database) == first
    assert await versions(database, first) == {"fcm": 1, "webpush": 1}
    assert len(await list_apps(owner_database)) == 1


async def test_an_account_that_the_lab_made_anew_replaces_the_one_before(state: StateDir, database: Database):
    made = await provide(state, database)
    await provide(state, database, {**ACCOUNTS, "fcm": {"private_key": "c"}})
    assert await versions(database, made) == {"fcm": 2, "webpush": 1}


async def test_a_new_keyring_seals_everything_anew(state: StateDir, database: Database):
    made = await provide(state, database)
    rotate_keyring(state.vault_keys)
    await provide(state, database)
    assert await versions(database, made) == {"fcm": 2, "webpush": 2}


@pytest.mark.parametrize("text", ["", "{}", '{"app_id": "x", "api_key": "y", "accounts": {}}'])
async def test_what_was_kept_badly_is_made_anew(state: StateDir, database: Database, text: str):
    first = await provide(state, database)
    state.demo.write_text(text)
    assert (await provide(state, database)).app_id != first.app_id


async def test_a_key_that_was_revoked_is_not_handed_out_again(state: StateDir, database: Database):
    first = await provide(state, database)
    await revoke_key(database, keys.parse(first.api_key).key_id)
    assert (await provide(state, database)).api_key != first.api_key
