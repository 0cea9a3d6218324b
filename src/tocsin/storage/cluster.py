"""The files of an embedded server: made once by initdb, its passwords kept beside them, its settings written anew.

In: a place, the user that runs the server, settings. Out: a directory that `postgres -D` takes. Nobody is trusted:
every connection shows a password (SCRAM). Refuses files that another major version made.
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tocsin.storage import roles
from tocsin.storage.places import Runner

ADMIN: Final = "postgres"

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "120",
    "shared_buffers": "'128MB'",
    "wal_level": "replica",
    "max_wal_size": "'2GB'",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "io_method": "sync",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_min_messages": "warning",
    "log_line_prefix": "'%m [%p] '",
    "log_checkpoints": "off",
    "lc_messages": "'C'",
    "autovacuum_naptime": "'15s'",
    "password_encryption": "'scram-sha-256'",
}
"""What the server runs with; a caller may override single ones. Durability is on: an answer of 2xx is on disk."""


class ServerFailed(Exception):
    """The server could not be made or did not come up; the text ends with what it said."""


def passwords(data_dir: Path) -> dict[str, str]:
    """The password of each role, from `roles.json` (mode 0600) in the data directory; made at random the first time."""
    path = data_dir / "roles.json"
    if path.exists():
        known: dict[str, str] = json.loads(path.read_text("utf-8"))
        return known
    made = {role: secrets.token_urlsafe(24) for role in (ADMIN, *roles.ROLES)}
    pending = path.with_name("roles.json.new")
    pending.unlink(missing_ok=True)
    pending.touch(mode=0o600, exist_ok=False)
    pending.write_text(json.dumps(made), "utf-8")
    pending.rename(path)
    return made


def prepare(runner: Runner, binaries: Path, directory: Path, password: str, settings: Mapping[str, str]) -> None:
    """Make the files in `directory` if there are none, with `password` for the superuser, and write the settings.

    Raises ServerFailed if initdb fails or another major version made the files.
    """
    if not (directory / "PG_VERSION").exists():
        _initialise(runner, binaries, directory, password)
    made = (directory / "PG_VERSION").read_text("ascii").strip()
    runs = runner.run([str(binaries / "postgres"), "--version"]).stdout.split()[2].split(".")[0]
    if made != runs:
        raise ServerFailed(
            f"the database at {directory} was made by PostgreSQL {made} and this is PostgreSQL {runs}: "
            "dump it with the version before and restore it here, or start with --reset for an empty one"
        )
    pending = directory / "tocsin.conf.new"
    pending.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()), "utf-8")
    if runner.lent:
        os.chown(pending, runner.uid, runner.gid)
    pending.chmod(0o600)
    pending.rename(directory / "tocsin.conf")


def _initialise(runner: Runner, binaries: Path, directory: Path, password: str) -> None:
    building = directory.with_name("data.new")  # renamed when whole, so that an interrupted one is never started
    shutil.rmtree(building, ignore_errors=True)
    secret = directory.with_name("password")
    secret.unlink(missing_ok=True)
    secret.touch(mode=0o600)
    try:
        if runner.lent:
            os.chown(secret, runner.uid, runner.gid)
        secret.write_text(password, "ascii")
        done = runner.run(
            [
                str(binaries / "initdb"),
                f"--pgdata={building}",
                f"--username={ADMIN}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
            ]
        )
    finally:
        secret.unlink()
    if done.returncode != 0:
        raise ServerFailed(f"initdb could not make a database at {building}. It said:\n{done.stderr.strip()}")
    with (building / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("include 'tocsin.conf'\n")
    (building / "pg_hba.conf").write_text("local all all scram-sha-256\n", "ascii")
    building.rename(directory)
