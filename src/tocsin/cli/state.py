"""What `tocsin dev` keeps in its data directory, and the lock that keeps a second one out of it.

In: the directory. Out: paths, keys made when they are absent, an empty directory on request.
Refuses a directory that another `tocsin dev` holds, naming it.
"""

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import IO

from tocsin.cli.exits import Exit, Stop
from tocsin.cli.running import FILE, running, write_private


class StateDir:
    """The data directory of one `tocsin dev`. Nothing in it but what is named here is ever deleted."""

    def __init__(self, directory: Path) -> None:
        self.path = directory.absolute()
        self.database = self.path / "database"
        self.keys = self.path / "keys"
        self.lab = self.path / "lab"
        self.logs = self.path / "logs"
        self.vault_keys = self.keys / "vault.json"
        self.receipt_key = self.keys / "receipt"
        self.demo = self.path / "demo.json"
        self.dev = self.path / FILE
        self.env = self.path / "env"
        self._lock: IO[str] | None = None

    def hold(self) -> None:
        """Take the directory for this process until it ends; raises Stop if another has it."""
        # the server may run as another user, who has to pass through to its own folder and may see nothing else
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._lock = (self.path / "dev.lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            self._lock = None
            where = running(self.path).get("api_url")
            raise Stop(
                Exit.FAILED,
                f"`tocsin dev` already runs here: process {holder}" + (f", API at {where}" if where else ""),
                "Use that one, end it with Ctrl-C, or start a second one with --data-dir ANOTHER --port 0.",
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()
        self.forget()  # what one that was killed had told

    def release(self) -> None:
        """Give the directory back."""
        self.forget()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def erase(self) -> None:
        """Delete all state but the lock itself. The database has to be erased before, by its own means."""
        for folder in (self.database, self.keys, self.lab, self.logs):
            shutil.rmtree(folder, ignore_errors=False) if folder.exists() else None
        self.demo.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Take away what tells others where the platform is."""
        for file in (self.dev, self.env):
            file.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the folders and the keys that are not there yet; turn the logs of the run before aside."""
        from tocsin.tenants.vault import create_keyring

        for folder in (self.keys, self.lab, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not self.vault_keys.exists():
            create_keyring(self.vault_keys)
        if not self.receipt_key.exists():
            write_private(self.receipt_key, secrets.token_hex(32) + "\n")
        for log in self.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
