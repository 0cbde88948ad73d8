"""How long backlogs and workers wait: for databases, for one another, and for the vendor to come back.

All times are in seconds. The defaults suit hosts and networks as they are; smaller ones make a program notice sooner
that another has gone, and take a busy host for one that has gone as well. All programs that share a backlog should have
the same, so the environment can set them for all: `EKB_TIMING` those of backlogs and `EKB_WORKER_TIMING` those of
workers, each a JSON object such as `{"dead_after": 30}`. What a program passes itself goes before that.
"""

from __future__ import annotations

import math
import os
from typing import Self

import msgspec

from ekb_async.errors import ConfigError


class _Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, _Timing):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigError(f"{field} must be a number of seconds, not {value!r:.40}")

    @classmethod
    def _from(cls, variable: str) -> Self:
        try:
            return msgspec.json.decode(os.environ.get(variable) or "{}", type=cls)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{variable} cannot be read: {error}") from None


class BacklogTiming(_Timing, frozen=True, kw_only=True):
    """Times of a backlog: `Backlog.open(place, timing=BacklogTiming(dead_after=30))`.

    Raises `ConfigError` naming the field for what is no time.
    """

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

    # The vendor
    first_pause: float = 1.0
    """The first pause in an outage; each is twice as long as the one before."""
    longest_pause: float = 60.0
    """The longest pause in an outage."""
    hopeless_after: float = 1800.0
    """Without any answer, after which a run ends."""
    queue_full: float = 0.1
    """Until a full queue of the session is tried again."""

    # Looking
    other_runs: float = 1.0
    """Between two looks for new tenants, and for other runs that have ended."""
    report: float = 0.25
    """Between two calls of `progress`."""

    @classmethod
    def from_env(cls) -> BacklogTiming:
        """Return the times that `EKB_TIMING` sets, the others at their defaults.

        Raises `ConfigError` for what cannot be read.
        """
        return cls._from("EKB_TIMING")


class WorkerTiming(_Timing, frozen=True, kw_only=True):
    """Times of an engine's worker: `register(…, timing=WorkerTiming(close_timeout=30))`.

    Raises `ConfigError` naming the field for what is no time.
    """

    gate_wait: float = 2.0
    """For which a call waits for its slot in the worker; if that takes longer, it goes back to the engine."""
    file_wait: float = 60.0
    """For which a file may be uploaded, or its URL fetched, before the slot."""
    look_again: float = 5.0
    """Until a call that another worker has, or that cannot be recorded, is looked at again."""
    soon: float = 0.5
    """Until the engine tries again when no call is planned yet."""
    reserve_patience: float = 2.0
    """For which reserving a slot waits for the database."""
    close_timeout: float = 60.0
    """For which a worker that ends waits for calls under way."""
    first_pause: float = 5.0
    """The first pause of a tenant whose calls cannot be made; each is twice as long as the one before."""
    longest_pause: float = 300.0
    """The longest pause of a tenant."""
    after_fault: float = 60.0
    """Until an engine tries again after an error that is none of this package."""
    upkeep: float = 3.0
    """Between two looks for calls of workers that have gone, and for calls that are not planned."""
    upkeep_patience: float = 5.0
    """For which such a look waits for the database."""
    stranded_after: float = 120.0
    """By which the last planned call of a tenant and kind is overdue when calls are planned anew."""
    backlog: BacklogTiming = msgspec.field(default_factory=BacklogTiming.from_env)
    """Times of the ledger."""

    @classmethod
    def from_env(cls) -> WorkerTiming:
        """Return the times that `EKB_WORKER_TIMING` sets, the others at their defaults.

        Raises `ConfigError` for what cannot be read.
        """
        return cls._from("EKB_WORKER_TIMING")
