"""The process of `read_many` that reads files: a path comes in, a result goes out, until the connection is closed."""

from __future__ import annotations

import signal
from multiprocessing.connection import Connection

import msgspec

from ekb_async.einvoice.libraries import MissingLibraryError
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import EInvoice
from ekb_async.einvoice.reader import read
from ekb_async.errors import ConfigError


class Ready(msgspec.Struct):
    """Sent once, when the process has started."""


class Result(msgspec.Struct):
    """What was read of a file, or why it was not."""

    invoices: list[EInvoice] = []
    unreadable: str = ""
    """Why the file cannot be opened."""
    missing: str = ""
    """Which library is not installed."""


def work(connection: Connection) -> None:
    """Read files until the connection is closed. Interrupts are for the program, which closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory()
    try:
        connection.send(Ready())
        while True:
            connection.send(_result(connection.recv()))
    except (EOFError, OSError):
        return


def _result(path: str) -> Result:
    try:
        return Result(invoices=read(path))
    except MissingLibraryError as error:
        return Result(missing=str(error))
    except ConfigError as error:
        return Result(unreadable=str(error))


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = LIMITS.process_bytes if hard == resource.RLIM_INFINITY else min(LIMITS.process_bytes, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    except (OSError, ValueError):  # not allowed, or macOS, which cannot
        return
