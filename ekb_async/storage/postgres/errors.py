"""What an error of PostgreSQL, or of its driver, means.

Errors quote what the server said, or name the kind of error: the driver's own messages may contain parts of a DSN.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import asyncpg

from ekb_async.errors import ConfigError, EkbConnectionError, StorageError

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


_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Parameters of a DSN that name files."""

_POOLER = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""Errors of a pooler that gives each transaction to another server process."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise `EkbConnectionError` for a database that is away, `StorageError` for one that refuses a statement."""
    try:
        yield
    except AWAY as error:
        raise EkbConnectionError(trouble(error)) from None
    except asyncpg.PostgresError as error:
        raise refused(error) from None


def trouble(error: BaseException) -> str:
    """Return what one of the errors in `AWAY` means."""
    # Without arguments, an error of asyncpg has no text.
    has_text = isinstance(error, asyncpg.PostgresError) and error.args
    said = str(error).partition("\n")[0] if has_text else type(error).__name__
    match error:
        case asyncpg.QueryCanceledError():
            return f"the PostgreSQL database ended a statement before its result: {said}"
        case asyncpg.TransactionRollbackError():
            return f"the PostgreSQL database undid a transaction: {said}"
        case asyncpg.ReadOnlySQLTransactionError():
            return f"the PostgreSQL database takes no changes: {said}"
        case asyncpg.DiskFullError():
            return f"the disk of the PostgreSQL database is full: {said}"
        case asyncpg.ProtocolViolationError():
            return f"the PostgreSQL server, or a pooler in front of it, refused the connection: {said}"
    return f"the PostgreSQL database is away: {said}"


def unreachable(error: BaseException, patience: float) -> EkbConnectionError:
    """Return the error for a database that could not be used for `patience` seconds."""
    raised = EkbConnectionError(f"{trouble(error)} (tried for {patience:g} s)")
    match error:
        case asyncpg.QueryCanceledError():
            raised.hint = "Raise statement_timeout for this role, or find out what the statement waits for."
        case asyncpg.TransactionRollbackError():
            raised.hint = "Find out what else writes to the same rows."
        case asyncpg.ReadOnlySQLTransactionError():
            raised.hint = "Name the primary server in the DSN."
        case asyncpg.DiskFullError():
            raised.hint = "Make room on the disk of the database."
        case asyncpg.ProtocolViolationError():
            raised.hint = "Connect to the database itself, or let the pooler work in session mode."
        case _:
            raised.hint = "Check that the database is running, and the network to it."
    return raised


def refused(error: asyncpg.PostgresError) -> StorageError:
    """Return the error for a statement that the database refused."""
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
        return StorageError(f"{error}: {_HINT}")
    if isinstance(error, _POOLER):
        said = str(error).partition("\n")[0]
        return StorageError(
            f"a pooler in transaction mode is in front of the PostgreSQL database ({said}): connect to the database "
            "itself, or let the pooler work in session mode"
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return StorageError(
            f"this role lacks a right in the PostgreSQL database ({error}): grant it SELECT, INSERT, UPDATE and DELETE "
            "on the tables, USAGE on their schema and sequences, and TEMPORARY on the database"
        )
    return StorageError(f"the PostgreSQL database refused: {error}")


def refused_connection(error: BaseException, dsn: str) -> StorageError | ConfigError | None:
    """Return the error for a connection that would be refused each time; None if it may be accepted later."""
    if (refused_for_tls := _refused_for_tls(error)) is not None:
        return refused_for_tls
    if isinstance(error, OSError) and (name := _unreadable_file(dsn)):
        return ConfigError(f"the file that the PostgreSQL DSN names with {name}=… cannot be read")
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in str(error):
        return StorageError(trouble(error))
    if isinstance(error, ValueError):
        # The driver's message may quote a part of the DSN.
        return ConfigError("the PostgreSQL DSN cannot be used as it is")
    return None


def _refused_for_tls(error: BaseException) -> StorageError | ConfigError | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return StorageError(
            f"the certificate of the PostgreSQL server cannot be verified: {error.verify_message}; name the "
            "certificate of its authority with sslrootcert=… in the DSN"
        )
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return StorageError("the PostgreSQL server does not use TLS, which the DSN requires with sslmode")
    if isinstance(error, asyncpg.ClientConfigurationError) and "root certificate file" in str(error):
        return ConfigError(
            "the PostgreSQL DSN requires with sslmode that the server's certificate is verified, and the certificate "
            "of its authority cannot be read: name its file with sslrootcert=…"
        )
    return None


def _unreadable_file(dsn: str) -> str:
    """Return the parameter of a DSN that names a file which cannot be read; "" if there is none."""
    parameters = parse_qs(urlsplit(dsn).query)
    named = [(name, parameters[name][0]) for name in _FILES if name in parameters]
    return next((name for name, path in named if not os.access(path, os.R_OK)), "")
