"""The waits of a backlog: for its database or file, for other runs, and for the end of an outage.

The environment variable `EKB_TIMING` sets the times for all programs, as a JSON object such as `{"dead_after": 30}`. A
`BacklogTiming` that a program passes replaces it.
"""

from __future__ import annotations

from ekb_async.errors import ConfigError
from ekb_async.storage.timing import VARIABLE, StorageTiming

_DAY_SECONDS = 86_400


class BacklogTiming(StorageTiming, frozen=True, kw_only=True):
    """Times of a backlog, in seconds: `Backlog.open(place, timing=BacklogTiming(dead_after=30))`.

    Raises `ConfigError` naming the field if a value is not a number of seconds, or if `next_day` and `next_day_spread`
    are more than a day together.
    """

    # The vendor
    first_pause: float = 1.0
    """The first pause in an outage; each pause is twice as long as the one before."""
    longest_pause: float = 60.0
    """The longest pause in an outage."""
    hopeless_after: float = 1800.0
    """The time without any answer after which a run ends."""
    queue_full: float = 0.1
    """The wait until a full queue of the session is tried again."""

    # The tax authority
    next_day: float = 600.0
    """How long after midnight at UTC+8 the checks of a new day begin, of calls that wait for it."""
    next_day_spread: float = 600.0
    """The longest random delay after that, so that not all programs begin at the same moment."""

    # Polling
    other_runs: float = 1.0
    """The interval between two checks for new tenants, and for other runs that have ended."""
    report: float = 0.25
    """The shortest interval between two calls of `progress`."""
    say: float = 1.0
    """The shortest interval at which a run writes into the backlog what it waits for, for programs that watch it."""

    # Programs that follow a backlog
    follow: float = 0.5
    """Between two looks at a file for calls that have ended; a database notifies of them."""
    follow_anyway: float = 10.0
    """The longest time without a look, in case a notification was lost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.next_day + self.next_day_spread > _DAY_SECONDS:
            raise ConfigError("next_day and next_day_spread must be at most a day together")

    @classmethod
    def from_env(cls) -> BacklogTiming:
        """Return the times that `EKB_TIMING` sets, the others at their defaults.

        Raises `ConfigError` if the variable cannot be read.
        """
        return cls.read(VARIABLE)
