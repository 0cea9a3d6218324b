"""How a command ends: five exit codes that scripts may rely on, and the exception that carries one.

0 it worked · 1 it failed · 2 it was called wrongly · 3 the API refused it · 4 what it needs cannot be reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The exit codes. They never change their meaning."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4


@dataclass(eq=False)
class Stop(Exception):
    """End the command with `code`, saying `message` and, if there is one, the `fix`.

    `problem` is what the API answered, or what is written of the fault under `--json`.
    """

    code: Exit
    message: str
    fix: str | None = None
    problem: Mapping[str, Any] | None = None

    def as_json(self) -> Mapping[str, Any]:
        """What `--json` writes: the API's own problem, or the same shape for a fault of another kind."""
        if self.problem is not None:
            return self.problem
        kind = self.code.name.lower()
        return {"code": kind, "detail": self.message, "suggestion": self.fix, "exit_code": int(self.code)}
