"""The settings of a process, read once at its start; a value that cannot be is said in words, naming its variable."""

from typing import TYPE_CHECKING

from tocsin.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from tocsin.settings import Settings


def load() -> "Settings":
    """Read the environment; raises Stop with code 2 naming every variable that is wrong."""
    from pydantic import ValidationError

    from tocsin.settings import Settings

    try:
        return Settings()
    except ValidationError as wrong:
        lines = [f"TOCSIN_{str(error['loc'][0]).upper()}: {error['msg']}" for error in wrong.errors()]
        raise Stop(
            Exit.USAGE,
            "The environment cannot be used:\n  " + "\n  ".join(lines),
            "docs/reference/settings.md says what each variable takes.",
        ) from None
