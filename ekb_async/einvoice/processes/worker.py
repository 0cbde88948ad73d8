"""The process of a `ReaderPool` that reads files: a path comes in, a result goes out, until the input is closed."""

from __future__ import annotations

import os
import struct
import sys
from typing import IO

import msgspec

from ekb_async.einvoice.libraries import MissingLibraryError
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Reading, with_types
from ekb_async.einvoice.reader import examine
from ekb_async.errors import ConfigError

_LENGTH = struct.Struct(">I")


class Result(msgspec.Struct):
    """What was read of a file, or why it was not."""

    reading: Reading
    unreadable: str = ""
    """Why the file cannot be opened."""
    missing: str = ""
    """Which library is not installed."""


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a message. Raises `OSError` or `ValueError` if the other side has gone."""
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Return the next message. Raises `EOFError`, `OSError` or `ValueError` if the other side has gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return stream.read(_LENGTH.unpack(head)[0])


def result_of(message: bytes) -> Result:
    """Return the result in a message. Raises `MsgspecError` for anything else."""
    result = msgspec.msgpack.decode(message, type=Result)
    result.reading = with_types(result.reading)
    return result


def main() -> None:
    """Read files until the input is closed. An empty message says that the process has started."""
    paths, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no result
    _limit_memory()
    try:
        send(results, b"")
        while True:
            send(results, msgspec.msgpack.encode(_result(os.fsdecode(receive(paths)))))
    except (EOFError, OSError, ValueError):
        return


def _result(path: str) -> Result:
    try:
        return Result(examine(path))
    except MissingLibraryError as error:
        return Result(Reading(), missing=str(error))
    except ConfigError as error:
        return Result(Reading(), unreadable=str(error))


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
