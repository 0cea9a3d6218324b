"""The room's tables: every statement of `queries.sql` that a file of this room runs, under its name.

In: an open transaction of the app. Out: rows. Nobody outside the room imports it.
"""

from typing import Final

from tocsin.storage import Queries

SQL: Final = Queries.beside(__file__)
"""`SQL.upsert` is the text under `-- name: upsert`."""
