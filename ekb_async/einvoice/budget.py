"""The processor time that one file may take, and the errors that a foreign file may cause."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ekb_async.einvoice.libraries import MissingLibraryError
from ekb_async.einvoice.limits import LIMITS

P = ParamSpec("P")
T = TypeVar("T")


class OutOfTimeError(Exception):
    """Raised when a file took its time without a further invoice."""


class Budget:
    """Counts the processor time since the last invoice that was found in a file."""

    def __init__(self) -> None:
        self._since = time.thread_time()

    def check(self) -> None:
        """Raise `OutOfTimeError` if the time is used up; called between the parts of a file."""
        if time.thread_time() - self._since > LIMITS.idle_seconds:
            raise OutOfTimeError

    @property
    def is_short(self) -> bool:
        """Whether so much of the time is used up that only what is cheap should be tried."""
        return time.thread_time() - self._since > LIMITS.idle_seconds / 3

    def renew(self) -> None:
        """Start the time anew, because an invoice was found."""
        self._since = time.thread_time()


def tried(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Return what `read` returns for these arguments, or None if this part of the file is damaged.

    `MissingLibraryError` and `OutOfTimeError` pass through.
    """
    try:
        return read(*args, **kwargs)
    except (MissingLibraryError, OutOfTimeError):
        raise
    except Exception:  # noqa: BLE001 - the libraries raise a dozen classes for damaged files, MemoryError among them
        return None
