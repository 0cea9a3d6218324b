"""Commands of the operator, on a real database: organisations, keys, credentials, migrations, doctor."""

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tocsin.cli import checkup, main
from tocsin.cli.exits import Exit
from tocsin.lab.accounts import load as lab_accounts
from tocsin.storage import Database
from tocsin.storage.embedded import Dsns, EmbeddedPostgres
from tocsin.tenants import keys
from tocsin.tenants.vault import load_keyring


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
def tocsin(database_dsns: Dsns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> Run:
    """Run a command of an operator whose environment names a fresh database."""
    for name in ("TOCSIN_API_URL", "TOCSIN_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOCSIN_DATABASE_URL", database_dsns.app)
    monkeypatch.setenv("TOCSIN_DATABASE_OWNER_URL", database_dsns.owner)
    monkeypatch.setenv("TOCSIN_VAULT_KEYS", str(tmp_path / "vault.json"))
    monkeypatch.setenv("TOCSIN_LAB_URL", "https://localhost:9443")
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path / "none"))

    async def run(*words: str) -> Ran:
        code = await asyncio.to_thread(main, words)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
async def app(tocsin: Run) -> str:
    """An app that was made by commands."""
    tenant = (await tocsin("tenants", "create", "acme", "--json")).json["id"]
    made: str = (await tocsin("apps", "create", "shop", "--tenant", tenant, "--json")).json["id"]
    return made


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A service account of a lab."""
    file = tmp_path / "account.json"
    file.write_text(json.dumps(lab_accounts(tmp_path).service_account("https://localhost:9443")))
    return file


async def test_an_organisation_is_made_and_listed(tocsin: Run, app: str):
    tenants = (await tocsin("tenants", "list", "--json")).json["data"]
    assert [row["name"] for row in tenants] == ["acme"]
    apps = (await tocsin("apps", "list", "--tenant", tenants[0]["id"], "--json")).json["data"]
    assert [(row["id"], row["name"], row["mode"]) for row in apps] == [(app, "shop", "test")]
    assert app in (await tocsin("apps", "list")).out
    assert "acme" in (await tocsin("tenants", "list")).out


async def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(tocsin: Run, app: str):
    made = (await tocsin("keys", "create", "--app", app, "--name", "ci", "--json")).json
    assert keys.parse(made["key"]).key_id == made["id"]
    listed = await tocsin("keys", "list", "--app", app, "--json")
    assert [(row["id"], row["last4"], row["revoked_at"]) for row in listed.json["data"]] == [
        (made["id"], made["key"][-4:], None)
    ]
    assert made["key"] not in listed.out
    revoked = await tocsin("keys", "revoke", made["id"])
    assert (revoked.code, revoked.out.startswith(f"{made['id']} was revoked at ")) == (Exit.OK, True)
    assert made["id"] in (await tocsin("keys", "list")).out


async def test_a_credential_is_checked_sealed_listed_and_disabled(tocsin: Run, app: str, account: Path, tmp_path: Path):
    assert (await tocsin("keys", "vault", str(tmp_path / "vault.json"))).code == Exit.OK
    added = await tocsin("credentials", "add", str(account), "--app", app, "--provider", "fcm", "--json")
    listed = await tocsin("credentials", "list", "--app", app, "--json")
    (row,) = listed.json["data"]
    assert (row["id"], row["provider"], row["state"], row["version"]) == (added.json["id"], "fcm", "active", 1)
    assert row["public"]["project_id"] == "tocsin-lab"
    assert "PRIVATE KEY" not in listed.out
    assert (await tocsin("credentials", "disable", row["id"], "--app", app)).code == Exit.OK
    assert "disabled" in (await tocsin("credentials", "list", "--app", app)).out


async def test_a_credential_that_cannot_be_one_is_refused_in_words(tocsin: Run, app: str, tmp_path: Path):
    await tocsin("keys", "vault", str(tmp_path / "vault.json"))
    for text, code, said in (
        ("{}", Exit.FAILED, "cannot be a credential of fcm"),
        ("[]", Exit.USAGE, "no JSON object"),
        ("{", Exit.USAGE, "is not JSON"),
    ):
        (tmp_path / "bad.json").write_text(text)
        ran = await tocsin("credentials", "add", str(tmp_path / "bad.json"), "--app", app, "--provider", "fcm")
        assert (ran.code, said in ran.err) == (code, True), ran
    ran = await tocsin("credentials", "add", str(tmp_path / "absent"), "--app", app, "--provider", "fcm")
    assert (ran.code, "cannot be read" in ran.err) == (Exit.USAGE, True)
    (tmp_path / "bad.json").write_text("{}")
    ran = await tocsin("credentials", "add", str(tmp_path / "bad.json"), "--app", app, "--provider", "pigeon")
    assert (ran.code, "there is no provider 'pigeon'" in ran.err) == (Exit.FAILED, True)


NOBODY = {"tnt": "tnt_00000000000000000000000000", "app": "app_00000000000000000000000000"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["tenants", "create", " "], Exit.USAGE, "1 to 200 printable"),
        (["apps", "create", "x", "--tenant", NOBODY["tnt"]], Exit.FAILED, "no tenant tnt_"),
        (["apps", "create", "x", "--tenant", "app_1"], Exit.USAGE, "begins with tnt_"),
        (["keys", "create", "--app", NOBODY["app"]], Exit.FAILED, "no app app_"),
        (["keys", "revoke", "nobody12"], Exit.FAILED, "no key nobody12"),
        (
            ["credentials", "disable", "crd_00000000000000000000000000", "--app", NOBODY["app"]],
            Exit.FAILED,
            "no credential crd_",
        ),
    ],
)
async def test_what_is_not_there_is_said_with_its_id(tocsin: Run, words: list[str], code: Exit, said: str):
    ran = await tocsin(*words)
    assert (ran.code, said in ran.err) == (code, True), ran


async def test_names_that_cannot_be_are_refused(tocsin: Run, app: str):
    tenant = (await tocsin("tenants", "list", "--json")).json["data"][0]["id"]
    assert (await tocsin("apps", "create", " ", "--tenant", tenant)).code == Exit.USAGE
    assert (await tocsin("keys", "create", "--app", app, "--name", " ")).code == Exit.USAGE


async def test_an_app_nobody_has_gets_no_credential(tocsin: Run, account: Path, tmp_path: Path):
    await tocsin("keys", "vault", str(tmp_path / "vault.json"))
    ran = await tocsin("credentials", "add", str(account), "--app", NOBODY["app"], "--provider", "fcm")
    assert (ran.code, "no app app_" in ran.err) == (Exit.FAILED, True)


async def test_without_a_keyring_no_credential_is_taken(tocsin: Run, app: str, account: Path, monkeypatch):
    ran = await tocsin("credentials", "add", str(account), "--app", app, "--provider", "fcm")
    assert (ran.code, "tocsin keys vault" in ran.err) == (Exit.FAILED, True)
    monkeypatch.delenv("TOCSIN_VAULT_KEYS")
    ran = await tocsin("credentials", "add", str(account), "--app", app, "--provider", "fcm")
    assert (ran.code, "TOCSIN_VAULT_KEYS is not set" in ran.err) == (Exit.USAGE, True)


async def test_key_files_are_made_once_and_read_by_their_owner_only(tocsin: Run, tmp_path: Path):
    ring, receipt = tmp_path / "ring.json", tmp_path / "receipt"
    first = (await tocsin("keys", "vault", str(ring), "--json")).json["active"]
    assert (await tocsin("keys", "vault", str(ring))).code == Exit.FAILED
    second = (await tocsin("keys", "vault", str(ring), "--rotate", "--json")).json["active"]
    assert first != second
    assert load_keyring(ring).holds(first)
    assert (await tocsin("keys", "receipt", str(receipt))).code == Exit.OK
    again = await tocsin("keys", "receipt", str(receipt))
    assert (again.code, "is there already" in again.err) == (Exit.FAILED, True)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (ring, receipt)] == [0o600, 0o600]
    for command in ("vault", "receipt"):
        assert (await tocsin("keys", command, str(tmp_path / "no" / "folder"))).code == Exit.FAILED


async def test_migrations_say_where_they_stand(tocsin: Run):
    status = await tocsin("db", "status", "--json")
    assert (status.code, status.json["pending"]) == (Exit.OK, [])
    again = await tocsin("db", "migrate", "--json")
    assert (again.code, again.json["partitions_made"]) == (Exit.OK, [])


async def test_a_new_database_is_migrated_by_command(tocsin: Run, postgres: EmbeddedPostgres, monkeypatch):
    fresh = await postgres.create_database("cli_fresh")
    try:
        monkeypatch.setenv("TOCSIN_DATABASE_OWNER_URL", fresh.owner)
        before = await tocsin("db", "status", "--json")
        assert (before.code, bool(before.json["pending"])) == (Exit.FAILED, True)
        ran = await tocsin("db", "migrate", "--before")
        assert ran.code == Exit.OK, ran
        assert "ledger.runs_" in ran.out
    finally:
        await postgres.drop_database("cli_fresh")


async def test_an_edited_migration_is_refused_by_command(tocsin: Run, owner_database: Database):
    async with owner_database.transaction() as tx:
        await tx.execute("update storage.files set sha256 = 'other'")
    for command in ("migrate", "status"):
        ran = await tocsin("db", command)
        assert (ran.code, "0001" in ran.err) == (Exit.FAILED, True), ran


async def test_the_roles_are_sql_for_the_administrator(tocsin: Run):
    ran = await tocsin("db", "roles", "--database", "push", "--json")
    assert all(password in ran.json["sql"] for password in ran.json["passwords"].values())
    assert 'create database "push" owner tocsin_owner' in ran.json["sql"]
    assert "create role tocsin_app" in (await tocsin("db", "roles")).out


@pytest.mark.parametrize("words", [["tenants", "list"], ["db", "status"], ["db", "migrate"]])
async def test_a_database_that_is_away_has_an_exit_code_of_its_own(tocsin: Run, monkeypatch, words: list[str]):
    for name in ("TOCSIN_DATABASE_URL", "TOCSIN_DATABASE_OWNER_URL"):
        monkeypatch.setenv(name, "postgresql://x:x@127.0.0.1:1/x")
    ran = await tocsin(*words)
    assert (ran.code, "cannot be reached" in ran.err) == (Exit.UNREACHABLE, True), ran


async def test_without_a_database_the_command_says_which_variable(tocsin: Run, monkeypatch):
    monkeypatch.delenv("TOCSIN_DATABASE_URL")
    ran = await tocsin("tenants", "list")
    assert (ran.code, "TOCSIN_DATABASE_URL is not set" in ran.err) == (Exit.USAGE, True)


async def test_an_environment_that_cannot_be_is_named(tocsin: Run, monkeypatch):
    monkeypatch.setenv("TOCSIN_DATABASE_POOL", "many")
    ran = await tocsin("tenants", "list")
    assert (ran.code, "TOCSIN_DATABASE_POOL" in ran.err) == (Exit.USAGE, True)


# ---------------------------------------------------------------------- doctor


def checks(ran: Ran) -> dict[str, Any]:
    return {row["check"]: row for row in ran.json["checks"]}


async def test_doctor_finds_a_healthy_database_healthy(
    tocsin: Run, app: str, account: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.delenv("TOCSIN_LAB_URL")
    ran = await tocsin("doctor", "--json")
    assert ran.code == Exit.OK
    found = checks(ran)
    assert {name: row["ok"] for name, row in found.items()} == {
        "database": True,
        "role": True,
        "clock": True,
        "migrations": True,
        "partitions": True,
        "credentials": None,
        "api": None,
        "lab": None,
    }
    await tocsin("keys", "vault", str(tmp_path / "vault.json"))
    monkeypatch.setenv("TOCSIN_LAB_URL", "https://localhost:9443")
    await tocsin("credentials", "add", str(account), "--app", app, "--provider", "fcm")
    assert checks(await tocsin("doctor", "--json"))["credentials"]["ok"] is True


async def test_doctor_tells_people_what_is_wrong_and_what_mends_it(tocsin: Run, monkeypatch, database_dsns: Dsns):
    monkeypatch.setenv("TOCSIN_DATABASE_URL", database_dsns.owner)
    ran = await tocsin("doctor")
    assert ran.code == Exit.FAILED
    assert "FAIL  role" in ran.out
    assert "fix: Follow the detail" in ran.out


async def test_doctor_sees_a_keyring_that_cannot_open_what_is_sealed(
    tocsin: Run, app: str, account: Path, tmp_path: Path, monkeypatch
):
    await tocsin("keys", "vault", str(tmp_path / "vault.json"))
    await tocsin("credentials", "add", str(account), "--app", app, "--provider", "fcm")
    await tocsin("keys", "vault", str(tmp_path / "other.json"))
    monkeypatch.setenv("TOCSIN_VAULT_KEYS", str(tmp_path / "other.json"))
    found = checks(await tocsin("doctor", "--json"))["credentials"]
    assert found["ok"] is False
    assert "fcm/default" in found["detail"]
    monkeypatch.delenv("TOCSIN_VAULT_KEYS")
    assert "TOCSIN_VAULT_KEYS" in checks(await tocsin("doctor", "--json"))["credentials"]["detail"]


async def test_doctor_sees_missing_partitions_and_pending_migrations(
    tocsin: Run, postgres: EmbeddedPostgres, monkeypatch, owner_database: Database
):
    fresh = await postgres.create_database("cli_doctor")
    try:
        monkeypatch.setenv("TOCSIN_DATABASE_OWNER_URL", fresh.owner)
        assert "tocsin db migrate" in checks(await tocsin("doctor", "--json"))["migrations"]["fix"]
    finally:
        await postgres.drop_database("cli_doctor")


async def test_doctor_sees_partitions_that_nobody_made(tocsin: Run, owner_database: Database):
    from datetime import timedelta

    from tocsin.storage.partitions import today

    day = today() + timedelta(days=1)
    async with owner_database.transaction() as tx:
        await tx.execute(f"drop table ledger.runs_{day:%Y%m%d}")
    found = checks(await tocsin("doctor", "--json"))["partitions"]
    assert found["ok"] is False
    assert f"ledger.runs_{day:%Y%m%d}" in found["detail"]


async def test_doctor_sees_a_clock_that_is_off(tocsin: Run, monkeypatch):
    monkeypatch.setattr(checkup, "SKEW", -1.0)
    assert checks(await tocsin("doctor", "--json"))["clock"]["ok"] is False


async def test_doctor_sees_what_does_not_answer(tocsin: Run, monkeypatch):
    monkeypatch.setenv("TOCSIN_LAB_URL", "https://127.0.0.1:1")
    ran = await tocsin("doctor", "--json", "--api-url", "http://127.0.0.1:1")
    assert {name: checks(ran)[name]["ok"] for name in ("api", "lab")} == {"api": False, "lab": False}
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "postgresql://x:x@127.0.0.1:1/x")
    monkeypatch.setattr(checkup, "ANSWER", 0.2)
    found = checks(await tocsin("doctor", "--json"))
    assert found["database"]["ok"] is False
    assert "role" not in found
