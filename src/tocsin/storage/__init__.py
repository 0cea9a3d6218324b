"""The database machine: pools, scopes, roles, named queries, migrations, partitions and the embedded server.

In: an app's id. Out: a transaction that sees that app's rows and no others. It owns no business table.
Refuses to start on a role or a server that would break a promise (superuser, owner of tables, fsync off …).
"""

from tocsin.storage.pool import CommitUnknown, Database, LockTimeout, Tx, Unavailable, UniqueViolation
from tocsin.storage.queries import Queries

__all__ = ["CommitUnknown", "Database", "LockTimeout", "Queries", "Tx", "Unavailable", "UniqueViolation"]
