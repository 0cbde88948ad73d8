"""How long programs wait for a shared database or file, and for one another.

All times are in seconds. The defaults suit ordinary hosts and networks. With shorter times a program notices sooner
that another one has ended, but may mistake a busy host for one that has ended. All programs that share a database
should have the same times, so the environment can set them for all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from typing import Any, Self

import msgspec

from ekb_async.errors import ConfigError

VARIABLE = "EKB_TIMING"
OF_BACKLOGS = frozenset(
    {
        "first_pause",
        "longest_pause",
        "hopeless_after",
        "queue_full",
        "other_runs",
        "report",
        "say",
        "follow",
        "follow_anyway",
        "next_day",
        "next_day_spread",
    }
)
"""Fields of the variable that only backlogs have; any other is misspelled, wherever the variable is read."""


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times in seconds. Raises `ConfigError` with the field's name for a value that is no time."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, Timing):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigError(f"{field} must be a number of seconds, not {value!r:.40}")

    @classmethod
    def read(cls, variable: str, *, skipped: Collection[str] = ()) -> Self:
        """Return the times that an environment variable sets, and the defaults for all others.

        Fields in `skipped` belong to another struct. Raises `ConfigError` if the variable cannot be read.
        """
        try:
            values = msgspec.json.decode(os.environ.get(variable) or "{}", type=dict[str, Any])
            own = {name: value for name, value in values.items() if name not in skipped}
            return msgspec.convert(own, cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{variable} cannot be read: {error}") from None


class StorageTiming(Timing, frozen=True, kw_only=True):
    """Times of a shared database or file."""

    # Runs on a shared database
    dead_after: float = 10.0
    """How long a run must be unseen, while the database is up, before other runs take over its calls."""
    heartbeat: float = 2.0
    """Between two heartbeats of a run."""
    reconnect: float = 0.5
    """Pause before a lost connection is opened again."""
    goodbye: float = 2.0
    """Limit of each statement of a run that ends."""

    # The database or file
    silence: float = 11.0
    """How long a connection's other end may be silent before both ends close it; at least 3."""
    setup_patience: float = 10.0
    """How long opening a backlog waits for its database."""
    patience: float = 60.0
    """How long a single operation waits for its database, or for the lock of its file."""
    run_patience: float = 600.0
    """How long a run waits for its database, or for the lock of its file and space on its disk."""
    last_patience: float = 10.0
    """How long a run that ends waits for its database or file."""
    statement: float = 60.0
    """Limit of one statement of a run."""
    lock_wait: float = 0.5
    """How long one attempt waits for the lock of a file; the next follows after a pause."""
    first_retry: float = 0.1
    """The first of these pauses; each is twice as long as the one before."""
    longest_retry: float = 2.0
    """The longest of these pauses."""

    @classmethod
    def from_env(cls) -> StorageTiming:
        """Return the times that `EKB_TIMING` sets, and the defaults for all others.

        Raises `ConfigError` if the variable cannot be read.
        """
        return cls.read(VARIABLE, skipped=OF_BACKLOGS)
