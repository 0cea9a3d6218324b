"""The `dev.json` of a running `tocsin dev`: written by the supervisor, read by every other command.

It holds an API key and database passwords, so only its owner may read it (mode 0600). It is there while `tocsin dev`
is ready, and is taken away when it ends; one whose process has died is as good as absent.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "dev.json"


def data_dir() -> Path:
    """Where `tocsin dev` keeps its state: TOCSIN_DATA_DIR, or .tocsin here."""
    return Path(os.environ.get("TOCSIN_DATA_DIR") or ".tocsin")


def alive(pid: int) -> bool:
    """Whether there is a process of this id, of whomever."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def running(directory: Path | None = None) -> Mapping[str, Any]:
    """What the running `tocsin dev` of this directory has written; empty if none runs."""
    try:
        facts = json.loads(((directory or data_dir()) / FILE).read_text("utf-8"))
        supervisor = facts["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return facts if isinstance(supervisor, int) and alive(supervisor) else {}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
