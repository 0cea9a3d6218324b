"""Which errors of the driver say that the database cannot be used just now, and the one word for all of them.

In: an exception. Out: whether it means "try again later": no server, no connection to spare, a session that was ended,
a server that stops, starts or has become a standby. Everything else (a constraint, a lock, a defect) keeps its name.
"""

from typing import Final

import asyncpg


class Unavailable(Exception):
    """The database cannot be reached or has no connection to spare."""


class CommitUnknown(Unavailable):
    """The connection was lost while a commit was on its way: it may have happened or not."""


AWAY: Final[tuple[type[Exception], ...]] = (
    asyncpg.PostgresConnectionError,  # 08xxx: refused, lost, never there
    asyncpg.OperatorInterventionError,  # 57Pxx: shutdown, crash, starting up, database dropped
    asyncpg.InsufficientResourcesError,  # 53xxx: too many connections, disk full, out of memory
    asyncpg.ReadOnlySQLTransactionError,  # 25006: the server became a standby
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03
    asyncpg.TransactionTimeoutError,  # 25P04
)
_CONNECTING: Final = (*AWAY, OSError, TimeoutError, asyncpg.InterfaceError)


def is_away(error: BaseException, *, closed: bool) -> bool:
    """Whether `error`, raised while a connection was used, says that the database is away; `closed` if it ended."""
    if isinstance(error, asyncpg.QueryCanceledError):  # 57014 is a statement stopped on request, not a server gone
        return False
    return isinstance(error, AWAY) or (closed and isinstance(error, (asyncpg.InterfaceError, OSError)))


def is_refusal(error: BaseException) -> bool:
    """Whether `error`, raised while connecting, may be over when one tries again."""
    return isinstance(error, _CONNECTING) and not isinstance(error, asyncpg.QueryCanceledError)
