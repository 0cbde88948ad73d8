"""Stopping the thread in which folders and archives are read, between two files or two parts of a large one."""

from __future__ import annotations


class StoppedError(Exception):
    """Raised in a thread that is to stop; its caller has been cancelled, so it reaches no user."""


class Stopping:
    """A request that a thread stops. `stop` may be called from any other one."""

    def __init__(self) -> None:
        self._is_wanted = False

    def stop(self) -> None:
        """Make each further `check` raise."""
        self._is_wanted = True

    def check(self) -> None:
        """Raise `StoppedError` if the thread is to stop."""
        if self._is_wanted:
            raise StoppedError
