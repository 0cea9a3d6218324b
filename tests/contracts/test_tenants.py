"""Tenants, apps, keys and credentials, in the database."""

import asyncio

import pytest

from tocsin.storage import UniqueViolation
from tocsin.tenants import BadSeal, Keyring, active_credentials, credential, find_key, keys, organisations
from tocsin.tenants import public_credential as public
from tocsin.tenants.credentials import (
    Sealed,
    add_credential,
    disable_credential,
    list_credentials,
    open_credential,
)
from tocsin.terms import ids
from tocsin.terms.clock import SystemClock
from tocsin.terms.errors import Refused
from tocsin.terms.outcomes import Mode
from tocsin.web import KeyAuthenticator

RING = Keyring("k1", {"k1": b"1" * 32})
SECRET = {"private_key": "a canary that must never be seen"}


async def make_app(database, mode=Mode.TEST):
    tenant_id = await organisations.create_tenant(database, "acme")
    return tenant_id, await organisations.create_app(database, tenant_id, "shop", mode)


async def add(database, app_id, provider="fcm", name="main", secret=SECRET, ring=RING):
    return await add_credential(
        database, ring, app_id, provider=provider, name=name, secret=secret, check=lambda *_: {"project": "p"}
    )


async def sealed(database, app_id, credential_id) -> Sealed:
    async with database.scope(app_id) as tx:
        found = await credential(tx, app_id, credential_id)
    assert found is not None
    return found


async def test_what_is_made_is_listed_by_the_operator(database, owner_database):
    tenant_id, app_id = await make_app(database, Mode.LIVE)
    other_tenant, other_app = await make_app(database)
    key = await organisations.create_key(database, app_id, "server")
    assert [each.tenant_id for each in await organisations.list_tenants(owner_database)] == [tenant_id, other_tenant]
    assert [each.app_id for each in await organisations.list_apps(owner_database)] == [app_id, other_app]
    (app,) = await organisations.list_apps(owner_database, tenant_id)
    assert (app.name, app.mode, app.tenant_id) == ("shop", Mode.LIVE, tenant_id)
    (listed,) = await organisations.list_keys(owner_database)
    assert (listed.key_id, listed.last4, listed.mode, listed.revoked_at) == (key.key_id, key.last4, Mode.LIVE, None)
    assert await organisations.list_keys(owner_database, other_app) == []


async def test_the_runtime_role_lists_nothing_across_tenants(database):
    await make_app(database)
    assert await organisations.list_tenants(database) == []
    assert await organisations.list_apps(database) == []
    assert await organisations.list_keys(database) == []


async def test_a_key_is_found_by_its_id_and_only_its_digest_is_stored(database):
    tenant_id, app_id = await make_app(database)
    key = await organisations.create_key(database, app_id, "server", pepper=b"pepper")
    async with database.transaction() as tx:
        found = await find_key(tx, key.key_id)
        assert await tx.fetchval("select count(*) from tenants.api_keys") == 1, "this transaction sees this key only"
    assert found == keys.Found(tenant_id, app_id, Mode.TEST, keys.digest(key.secret, b"pepper"), True)
    assert keys.matches(found, key, b"pepper")
    async with database.transaction() as tx:
        assert await find_key(tx, "nobody00") is None


async def test_a_revoked_key_is_refused_by_every_process_within_five_seconds(database):
    _, app_id = await make_app(database)
    key = await organisations.create_key(database, app_id, "server")

    class Later(SystemClock):
        ahead = 0.0

        def monotonic(self):
            return super().monotonic() + self.ahead

    clock = Later()
    processes = [KeyAuthenticator(database, clock) for _ in range(2)]
    for authenticate in processes:
        assert (await authenticate(key.text)).app_id == app_id
    revoked_at = await organisations.revoke_key(database, key.key_id)
    assert await organisations.revoke_key(database, key.key_id) == revoked_at, "said twice, meant once"
    clock.ahead = 4.9
    for authenticate in processes:
        with pytest.raises(Refused):
            await authenticate(key.text)


async def test_what_is_not_there_is_named(database):
    with pytest.raises(LookupError, match="tnt_"):
        await organisations.create_app(database, ids.new(), "shop", Mode.TEST)
    with pytest.raises(LookupError, match="app_"):
        await organisations.create_key(database, ids.new(), "server")
    with pytest.raises(LookupError, match="nobody00"):
        await organisations.revoke_key(database, "nobody00")
    with pytest.raises(LookupError, match="app_"):
        await add(database, ids.new())
    with pytest.raises(LookupError, match="crd_"):
        await disable_credential(database, ids.new(), ids.new())


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\nb"])
async def test_a_name_that_cannot_be_shown_is_refused(database, name):
    with pytest.raises(ValueError, match="1 to 200"):
        await organisations.create_tenant(database, name)


async def test_a_credential_opens_as_it_was_with_the_keyring_only(database):
    _, app_id = await make_app(database)
    credential_id = await add(database, app_id)
    held = await sealed(database, app_id, credential_id)
    assert open_credential(held, RING).secret == SECRET
    assert (held.provider, held.mode, held.version) == ("fcm", Mode.TEST, 1)
    with pytest.raises(BadSeal):
        open_credential(held, Keyring("k2", {"k2": b"2" * 32}))
    shown = f"{held!r} {open_credential(held, RING)!r} {await list_credentials(database, app_id)!r}"
    assert "canary" not in shown
    async with database.scope(app_id) as tx:
        assert "canary" not in str(await tx.fetchrow("select c::text, sealed from tenants.credentials c"))


async def test_seals_swapped_between_rows_do_not_open(database):
    _, mine = await make_app(database)
    _, his = await make_app(database)
    places = [
        (mine, await add(database, mine)),
        (mine, await add(database, mine, name="other")),
        (mine, await add(database, mine, provider="webpush")),
        (his, await add(database, his)),
    ]
    rows = [await sealed(database, *place) for place in places]
    for row in rows:
        for other in rows:
            swapped = Sealed(row.app_id, row.credential_id, row.provider, row.mode, row.version, other.sealed)
            if row is other:
                assert open_credential(swapped, RING).secret == SECRET
            else:
                with pytest.raises(BadSeal):
                    open_credential(swapped, RING)


async def test_a_replaced_secret_keeps_its_id_and_the_old_seal_does_not_come_back(database):
    _, app_id = await make_app(database)
    credential_id = await add(database, app_id)
    old = await sealed(database, app_id, credential_id)
    assert await add(database, app_id, secret={"new": "secret"}) == credential_id
    new = await sealed(database, app_id, credential_id)
    assert new.version == 2
    assert open_credential(new, RING).secret == {"new": "secret"}
    with pytest.raises(BadSeal):
        open_credential(Sealed(app_id, credential_id, "fcm", Mode.TEST, 2, old.sealed), RING)


async def test_the_credential_in_use_is_the_one_set_last_and_not_disabled(database):
    _, app_id = await make_app(database)
    first, second = await add(database, app_id), await add(database, app_id, name="other")
    web = await add(database, app_id, provider="webpush")
    async with database.scope(app_id) as tx:
        assert await active_credentials(tx, app_id) == {"fcm": second, "webpush": web}
        assert await public(tx, app_id, "webpush") == {"project": "p"}
        assert await public(tx, app_id, "apns") is None
    await disable_credential(database, app_id, second)
    await disable_credential(database, app_id, web)
    async with database.scope(app_id) as tx:
        assert await active_credentials(tx, app_id) == {"fcm": first}
        assert await public(tx, app_id, "webpush") is None
    async with database.scope(app_id) as tx:
        assert await credential(tx, app_id, second) is None
    listed = [(each.provider, each.name, each.state) for each in await list_credentials(database, app_id)]
    assert listed == [("fcm", "main", "active"), ("fcm", "other", "disabled"), ("webpush", "main", "disabled")]
    await add(database, app_id, name="other")
    assert (await sealed(database, app_id, second)).version == 2, "a new secret puts it back in use"


async def test_what_the_provider_s_check_refuses_is_not_stored(database):
    _, app_id = await make_app(database)

    def refuse(secret, mode):
        assert (secret, mode) == (SECRET, Mode.TEST)
        raise ValueError("not a service account")

    with pytest.raises(ValueError, match="not a service account"):
        await add_credential(database, RING, app_id, provider="fcm", name="main", secret=SECRET, check=refuse)
    assert await list_credentials(database, app_id) == []


async def test_two_that_add_the_same_credential_at_once_leave_one(database):
    _, app_id = await make_app(database)
    done = await asyncio.gather(*(add(database, app_id) for _ in range(4)), return_exceptions=True)
    assert any(not isinstance(each, BaseException) for each in done)
    assert all(isinstance(each, UniqueViolation) for each in done if isinstance(each, BaseException))
    (listed,) = await list_credentials(database, app_id)
    assert open_credential(await sealed(database, app_id, listed.credential_id), RING).secret == SECRET


async def test_another_app_sees_no_credential(database):
    _, mine = await make_app(database)
    _, his = await make_app(database)
    credential_id = await add(database, mine)
    async with database.scope(his) as tx:
        assert await credential(tx, mine, credential_id) is None
        assert await active_credentials(tx, mine) == {}
    with pytest.raises(LookupError):
        await disable_credential(database, his, credential_id)
    assert await list_credentials(database, his) == []
