"""How long an engine's worker waits. The environment variable `EKB_WORKER_TIMING` sets the times for all workers."""

from __future__ import annotations

import msgspec

from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.storage.timing import Timing


class WorkerTiming(Timing, frozen=True, kw_only=True):
    """Times of an engine's worker, in seconds: `register(…, timing=WorkerTiming(close_timeout=30))`.

    Raises `ConfigError` naming the field whose value is not a time.
    """

    gate_wait: float = 2.0
    """How long a call waits for its slot in the worker before its wakeup goes back to the engine."""
    file_wait: float = 60.0
    """How much longer a call may wait for its file to be uploaded, or for the file's URL to be fetched."""
    look_again: float = 5.0
    """Delay before a wakeup is handed out again whose call another worker has, or whose result cannot be recorded."""
    soon: float = 0.5
    """Delay before a wakeup is handed out again for which no call is planned yet."""
    reserve_patience: float = 2.0
    """How long reserving a slot waits for the database."""
    close_timeout: float = 60.0
    """How long a worker that ends waits for calls in progress."""
    first_pause: float = 5.0
    """The first pause of a tenant whose calls cannot be made; each is twice as long as the one before."""
    longest_pause: float = 300.0
    """The longest pause of a tenant."""
    after_fault: float = 60.0
    """Delay before an engine tries again after an error that does not come from this package."""
    upkeep: float = 3.0
    """Interval between two searches for calls of dead workers and for calls that are not planned."""
    upkeep_patience: float = 5.0
    """How long such a search waits for the database."""
    say: float = 2.0
    """The shortest interval at which a worker writes into the call table what it pauses, for programs that show it."""
    stranded_after: float = 120.0
    """How late the last planned call of a tenant and kind must be before its calls are planned again."""
    backlog: BacklogTiming = msgspec.field(default_factory=BacklogTiming.from_env)
    """Times of the call table."""

    @classmethod
    def from_env(cls) -> WorkerTiming:
        """Return the times that `EKB_WORKER_TIMING` sets, the others at their defaults.

        Raises `ConfigError` if the variable cannot be read.
        """
        return cls.read("EKB_WORKER_TIMING")
