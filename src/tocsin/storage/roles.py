"""The roles of the database: who they are, how they are made, and the check that a process makes before it serves.

In: passwords, or an open database. Out: SQL, or nothing if the database is safe. The owner owns the database and its
schemas and runs migrations; the app and the keeper own nothing. None is a superuser, none passes by row-level security.
"""

from collections.abc import Mapping
from typing import Final

from tocsin.storage.pool import Database

OWNER = "tocsin_owner"
APP = "tocsin_app"
KEEPER = "tocsin_keeper"

ROLES = (OWNER, APP, KEEPER)
OLDEST: Final = 16
"""The oldest PostgreSQL that Tocsin runs on."""

_FACTS: Final = """
select current_user::text as role, r.rolsuper, r.rolbypassrls,
  current_setting('server_version_num')::int / 10000 as version,
  (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'S') and n.nspname !~ '^(pg_|information_schema$)'
    and pg_has_role(current_user, c.relowner, 'MEMBER')) as owned,
  exists (select from pg_roles o where (o.rolsuper or o.rolbypassrls) and o.rolname <> current_user
    and pg_has_role(current_user, o.oid, 'MEMBER')) as rises,
  current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
  current_setting('synchronous_commit') as synchronous_commit
from pg_roles r where r.rolname = current_user
"""


class UnsafeDatabase(Exception):
    """The database would break a promise: rows of another app could be seen, or an accepted call could be lost.

    `faults` are the reasons, each a sentence that ends with what to do.
    """

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


async def verify(database: Database) -> None:
    """Refuse a database that a process must not serve from; call it once at the start, as the role that will serve.

    Raises UnsafeDatabase with every reason: a superuser, BYPASSRLS, an owner of tables, a member of such a role,
    fsync, full_page_writes or synchronous_commit off, a server older than OLDEST. Raises Unavailable if it is away.
    """
    async with database.transaction() as tx:
        facts = await tx.fetchrow(_FACTS)
    assert facts is not None
    role = facts["role"]
    use = f"use the role {APP} in TOCSIN_DATABASE_URL (`tocsin db roles` prints the SQL that makes it)"
    found = []
    if facts["version"] < OLDEST:
        found.append(f"The server is PostgreSQL {facts['version']}: upgrade it to {OLDEST} or newer.")
    if facts["rolsuper"]:
        found.append(f"The role {role} is a superuser, whom row-level security does not hold: {use}.")
    elif facts["rolbypassrls"]:
        found.append(f"The role {role} has BYPASSRLS, so it sees the rows of every app: {use}.")
    elif facts["rises"]:
        found.append(f"The role {role} is a member of a role that passes by row-level security: {use}.")
    elif facts["owned"]:
        found.append(f"The role {role} owns {facts['owned']} tables, whose policies it could take away: {use}.")
    found += [
        f"{setting} is off, so what was answered with 2xx could be lost with the power: "
        f"set {setting} = on for the server and for the role {role}."
        for setting in ("fsync", "full_page_writes", "synchronous_commit")
        if facts[setting] == "off"
    ]
    if found:
        raise UnsafeDatabase(tuple(found))


def _literal(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a password holds no zero byte")
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def create_role(role: str, password: str) -> str:
    """The statement that makes one role."""
    return (
        f"create role {role} login nosuperuser nobypassrls nocreaterole nocreatedb noreplication "
        f"password {_literal(password)};\n"
    )


def database_rights(database: str) -> str:
    """The statements that let the roles, and nobody else, into a database; nobody makes temporary tables in it."""
    name = _identifier(database)
    return (
        f"revoke all on database {name} from public;\n"
        f"grant connect on database {name} to {', '.join(ROLES)};\n"
        f"grant create on database {name} to {OWNER};\n"
    )


def statements(database: str, passwords: Mapping[str, str]) -> str:
    """The SQL that prepares a server of one's own: roles, with a password for each of ROLES, and the database.

    Run it as a role that may create roles and databases; it need not be a superuser (RDS, Aurora, Cloud SQL).
    """
    return (
        "".join(create_role(role, passwords[role]) for role in ROLES)
        # since PostgreSQL 16 one must be able to become a role to give it a database
        + f"grant {OWNER} to current_user;\n"
        + f"create database {_identifier(database)} owner {OWNER} template template0 encoding 'UTF8';\n"
        + database_rights(database)
        + f"revoke {OWNER} from current_user;\n"
    )
