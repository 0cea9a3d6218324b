"""The spine: every table that one send touches."""

from tocsin.storage.migrations.step import run_file

revision = "0001.before"
down_revision = None


def upgrade() -> None:
    """Run the file of this revision."""
    run_file(__file__, "0001_spine.before.sql")
