"""The tunables of pacing. Processes that share a pace should have the same ones."""

from __future__ import annotations

import msgspec


class PacingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits, waits and steps of the pace."""

    # The rule
    lead_seconds: float = 0.02
    """How long before it opens a slot may be taken: about as long as the way to a store takes."""
    lead_share: float = 0.25
    """The largest share of an interval that this lead may be, for calls of a high rate."""
    tolerated_lateness_seconds: float = 0.001
    """How late a call may leave without its start being recorded; a recorded one moves all slots after it."""
    first_margin_share: float = 0.02
    """The least margin after a refusal, as a share of the period."""
    margin_decrease_share: float = 0.1
    """The share of the extra margin that an accepted call takes back."""
    least_extra_margin_seconds: float = 0.001
    """An extra margin that has shrunk to this is set to zero, so that accepted calls need no more changes."""

    shortest_wait_seconds: float = 1e-9
    """A wait for a slot is at least this long: more than the rounding error of a clock that runs for months."""

    # Shared paces
    recheck_seconds: float = 0.25
    """How long a claim waits at most before it reads the bucket again; an interval if that is longer."""
    tolerated_delay_seconds: float = 0.05
    """How late a start may be although the process was not stopped, where intervals are shorter than that."""
    changes_together: int = 1_000
    """How many changes of a bucket by one process are saved together."""
    close_seconds: float = 10.0
    """How long closing a pace waits until its notes are saved."""
    keys_per_statement: int = 100
    """How many buckets one pair of PostgreSQL statements reads and writes."""
    busy_timeout_seconds: float = 10.0
    """How long a change waits for other processes that write to the SQLite file."""


LIMITS = PacingLimits()
