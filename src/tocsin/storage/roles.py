"""The roles of the database: who they are, how they are made.

In: passwords. Out: SQL. The owner owns the database and its schemas and runs migrations; the app and the keeper own nothing.
None is a superuser and none passes by row-level security.
"""

OWNER = "tocsin_owner"
APP = "tocsin_app"
KEEPER = "tocsin_keeper"

ROLES = (OWNER, APP, KEEPER)


def _literal(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a password holds no zero byte")
    quoted = text.replace("'", "''")
    if "\\" in quoted:
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


def create_role(role: str, password: str) -> str:
    """The statement that makes one role."""
    return (
        f"create role {role} login nosuperuser nobypassrls nocreaterole nocreatedb noreplication "
        f"password {_literal(password)}"
    )


def database_rights(database: str) -> str:
    """The statements that let the roles, and nobody else, into a database; nobody makes temporary tables in it."""
    name = '"' + database.replace('"', '""') + '"'
    return (
        f"revoke all on database {name} from public;\n"
        f"grant connect on database {name} to {OWNER}, {APP}, {KEEPER};\n"
        f"grant create on database {name} to {OWNER};\n"
    )
