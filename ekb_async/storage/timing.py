"""How long programs wait for a shared database or file, and for one another.

All times are in seconds. The defaults suit hosts and networks as they are; smaller ones make a program notice sooner
that another has gone, and take a busy host for one that has gone as well. All programs that share a database should
have the same, so the environment can set them for all.
"""

from __future__ import annotations

import math
import os
from typing import Any, Self

import msgspec

from ekb_async.errors import ConfigError

VARIABLE = "EKB_TIMING"


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times in seconds. Raises `ConfigError` naming the field for what is no time."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, Timing):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigError(f"{field} must be a number of seconds, not {value!r:.40}")

    @classmethod
    def read(cls, variable: str, *, partly: bool = False) -> Self:
        """Return the times that a variable of the environment sets, the others at their defaults.

        With `partly`, fields of other structs are skipped. Raises `ConfigError` for what cannot be read.
        """
        try:
            values = msgspec.json.decode(os.environ.get(variable) or "{}", type=dict[str, Any])
            if partly:
                values = {name: value for name, value in values.items() if name in cls.__struct_fields__}
            return msgspec.convert(values, cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{variable} cannot be read: {error}") from None


class StorageTiming(Timing, frozen=True, kw_only=True):
    """Times of a shared database or file."""

    # Runs on a shared database
    dead_after: float = 10.0
    """For which a run was not seen, and the database was up, before others take its calls over."""
    heartbeat: float = 2.0
    """Between two signs of life of a run."""
    reconnect: float = 0.5
    """Until a lost connection is opened again."""
    goodbye: float = 2.0
    """For each statement of a run that ends."""

    # The database or file
    silence: float = 11.0
    """After which a connection whose other end says nothing is given up, by both ends; at least 3."""
    setup_patience: float = 10.0
    """For which a backlog that is opened waits for its database."""
    patience: float = 60.0
    """For which a single operation waits for its database, or for the lock of its file."""
    run_patience: float = 600.0
    """For which a run waits for its database, or for the lock of its file and room on its disk."""
    last_patience: float = 10.0
    """For which a run that ends waits for its database or file."""
    statement: float = 60.0
    """For one statement of a run."""
    lock_wait: float = 0.5
    """For which one attempt waits for the lock of a file; the next follows after a pause."""
    first_retry: float = 0.1
    """The first such pause; each is twice as long as the one before."""
    longest_retry: float = 2.0
    """The longest such pause."""
