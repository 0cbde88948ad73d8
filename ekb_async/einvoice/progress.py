"""How far a file has been read: its processor time, its format, and whether a part that may matter was left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal, ParamSpec, TypeVar

from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.libraries import MissingLibraryError
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Evidence

P = ParamSpec("P")
T = TypeVar("T")


class OutOfTimeError(Exception):
    """Raised when a file took its time without a further invoice."""


class LibrariesNeededError(Exception):
    """Raised where a file takes the libraries of the extra, and is to be read without them."""


class UnusableError(ValueError):
    """Raised for a file that can neither be read nor be recognised; its text says why."""


class NoInvoiceFileError(UnusableError):
    """Raised for a file that shows no invoice to anyone: empty, blank, or of another kind."""


class Progress:
    """What is known while a file is read."""

    def __init__(self, *, with_libraries: bool = True) -> None:
        self.format: Literal["pdf", "picture", "ofd", "xml", "zip", ""] = ""
        self.is_complete = True
        self._with_libraries = with_libraries
        self._found: set[str] = set()
        self._end = time.thread_time() + LIMITS.idle_seconds

    def leave_out(self) -> None:
        """Note that a part was not read which may show a further invoice."""
        self.is_complete = False

    def need_libraries(self) -> None:
        """Raise `LibrariesNeededError` if the file is to be read without libraries."""
        if not self._with_libraries:
            raise LibrariesNeededError

    def check(self) -> None:
        """Raise `OutOfTimeError` if the time is used up; called between the parts of a file."""
        if self._left <= 0:
            raise OutOfTimeError

    @property
    def is_short(self) -> bool:
        """Whether so much of the time is used up that only what is cheap should be tried."""
        return self._left < LIMITS.idle_seconds * 2 / 3

    @property
    def _left(self) -> float:
        return self._end - time.thread_time()

    def renew(self, evidence: Iterable[Evidence]) -> None:
        """Add time for each invoice that was not found before."""
        found = {key for each in evidence for key in keys(each)[:1]} - self._found
        if found:
            self._found |= found
            latest = time.thread_time() + LIMITS.idle_seconds
            self._end = min(latest, self._end + len(found) * LIMITS.invoice_seconds)


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
