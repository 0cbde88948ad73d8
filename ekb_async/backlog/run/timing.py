"""How long a backlog waits: for its database or file, for other runs, and for the vendor to come back.

The environment variable `EKB_TIMING` sets the times for all programs, as a JSON object such as `{"dead_after": 30}`.
What a program passes itself goes before that.
"""

from __future__ import annotations

from ekb_async.storage.timing import VARIABLE, StorageTiming


class BacklogTiming(StorageTiming, frozen=True, kw_only=True):
    """Times of a backlog, in seconds: `Backlog.open(place, timing=BacklogTiming(dead_after=30))`.

    Raises `ConfigError` naming the field for what is no time.
    """

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
        return cls.read(VARIABLE)
