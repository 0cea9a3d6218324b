"""One step of a migration: a file of SQL, run as it stands, its checksum kept.

In: the name of a file in a folder. Out: its statements executed in the migration's transaction.
"""

import hashlib
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import op

KEEP = "insert into storage.files (name, sha256) values ($1, $2)"


def checksum(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_file(revision_file: str, name: str) -> None:
    """Run the file `name` that lies one folder above `revision_file` (pass `__file__`) and keep its checksum.

    The whole text goes to the server in one message, so it may hold many statements; they share the transaction.
    """
    path = Path(revision_file).parent.parent / name
    connection = op.get_bind()
    # these open the transaction too; who waits for a lock makes everybody behind wait
    connection.execute(sqlalchemy.text("set local lock_timeout = '5s'"))
    connection.execute(sqlalchemy.text("set local statement_timeout = '10min'"))
    driver: Any = connection.connection.dbapi_connection
    driver.run_async(lambda raw: raw.execute(path.read_text("utf-8")))
    driver.run_async(lambda raw: raw.execute(KEEP, name, checksum(path)))
