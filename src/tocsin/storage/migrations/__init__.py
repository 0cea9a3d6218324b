"""Migrations: plain SQL in pairs, run in order by the owner, each once.

`NNNN_name.before.sql` is run before new code starts and must suit the old code too; `NNNN_name.after.sql`, where there
is one, is run when no old code is left. Refuses a landed file that was edited since: its checksum is kept.
"""

from tocsin.storage.migrations.run import Edited, Phase, Status, migrate, status
from tocsin.storage.migrations.step import run_file

__all__ = ["Edited", "Phase", "Status", "migrate", "run_file", "status"]
