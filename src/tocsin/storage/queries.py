"""SQL by name: a `queries.sql` beside the code that uses it, each statement under a line `-- name: verb_noun`.

Gives the text of a statement as an attribute; refuses a name that is not in the file.
"""

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Queries:
    """The named statements of one `queries.sql`."""

    def __init__(self, text: str) -> None:
        parts = _NAME.split(text)
        self._statements = {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}

    @classmethod
    def beside(cls, module_file: str, name: str = "queries.sql") -> "Queries":
        """Read the file `name` in the folder of `module_file` (pass `__file__`)."""
        return cls(Path(module_file).with_name(name).read_text("utf-8"))

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"no statement named {name}") from None
