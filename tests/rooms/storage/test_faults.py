"""Which errors mean "the database is away" and which keep their own name."""

import asyncpg
import pytest

from tocsin.storage import faults


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("lost"),
        asyncpg.AdminShutdownError("stopping"),
        asyncpg.CrashShutdownError("crashed"),
        asyncpg.CannotConnectNowError("starting"),
        asyncpg.TooManyConnectionsError("full"),
        asyncpg.DiskFullError("full"),
        asyncpg.ReadOnlySQLTransactionError("a standby now"),
        asyncpg.IdleInTransactionSessionTimeoutError("slow"),
        asyncpg.TransactionTimeoutError("slow"),
    ],
)
def test_a_server_that_is_away_is_away(error: Exception):
    assert faults.is_away(error, closed=False)
    assert faults.is_refusal(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("twice"),
        asyncpg.LockNotAvailableError("held"),
        asyncpg.QueryCanceledError("asked to"),
        asyncpg.UndefinedTableError("a defect"),
        ValueError("a defect"),
    ],
)
def test_an_error_of_a_statement_keeps_its_name(error: Exception):
    assert not faults.is_away(error, closed=False)
    assert not faults.is_refusal(error)


def test_what_the_driver_and_the_system_say_counts_only_when_the_connection_ended():
    for error in (asyncpg.InterfaceError("connection is closed"), ConnectionResetError()):
        assert faults.is_away(error, closed=True)
        assert not faults.is_away(error, closed=False)
    assert not faults.is_away(ValueError(), closed=True)


def test_a_door_that_does_not_open_may_open_later():
    for error in (ConnectionRefusedError(), FileNotFoundError(), TimeoutError()):
        assert faults.is_refusal(error)
    assert not faults.is_refusal(asyncpg.InvalidPasswordError("wrong"))
