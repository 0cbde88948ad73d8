"""What an error of PostgreSQL, or of its driver, means.

Errors quote what the server said, or name the kind of error: the driver's own messages may contain parts of a DSN.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import asyncpg

from ekb_async.errors import EkbConnectionError, StorageError

AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Errors that a repetition may not meet again."""

_HINT = (
    "run install_schema(dsn) once, imported from ekb_async.postgres, or from ekb_async.ext.pgqueuer or "
    "ekb_async.ext.procrastinate if you use that engine"
)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise `EkbConnectionError` for a database that is away, `StorageError` for one that refuses a statement."""
    try:
        yield
    except AWAY as error:
        raise EkbConnectionError(f"the PostgreSQL database is away: {type(error).__name__}") from None
    except asyncpg.PostgresError as error:
        raise refused(error) from None


def unreachable(error: BaseException, patience: float) -> EkbConnectionError:
    """Return the error for a database that was away for `patience` seconds."""
    raised = EkbConnectionError(f"the PostgreSQL database was away for {patience:g} s: {type(error).__name__}")
    raised.hint = "Check that the database is running, and the network to it."
    return raised


def refused(error: asyncpg.PostgresError) -> StorageError:
    """Return the error for a statement that the database refused."""
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
        return StorageError(f"{error}: {_HINT}")
    return StorageError(f"the PostgreSQL database refused: {error}")
