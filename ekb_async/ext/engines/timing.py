"""How long an engine's worker waits. The environment variable `EKB_WORKER_TIMING` sets the times for all workers."""

from __future__ import annotations

import msgspec

from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.storage.timing import Timing


class WorkerTiming(Timing, frozen=True, kw_only=True):
    """Times of an engine's worker, in seconds: `register(…, timing=WorkerTiming(close_timeout=30))`.

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
        return cls.read("EKB_WORKER_TIMING")
