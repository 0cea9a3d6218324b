"""The client's reply log: what the rig asked for and what it was told, one JSON line each, flushed as it happens."""

import json
import time
from pathlib import Path
from typing import Any


class ClientLog:
    """An open log; the checker reads the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, op: str, **members: Any) -> None:
        """Add a line, with the time now unless `at` is given."""
        self.write_all([{"op": op, "at": time.time(), **members}])

    def write_all(self, lines: list[dict[str, Any]]) -> None:
        """Add several lines at once."""
        self._file.write("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
