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
    least_margin_share: float = 0.001
    """The least margin that is learned, as a share of the period."""
    least_shared_margin_share: float = 0.002
    """The same where several processes share a pace, whose starts are recorded in a store if they are late."""
    largest_margin_share: float = 1.0
    """The largest margin that is learned against jitter, as a share of the period."""
    first_margin_share: float = 0.004
    """The margin from which a refusal counts at least, as a share of the period."""

    # Learning, see `learning`
    aimed_refusals: float = 0.005
    """The share of refused calls at which the margin neither grows nor shrinks."""
    gain: float = 0.18
    """The steps of the margin's logarithm; a larger one follows changes sooner and is less exact."""
    largest_gain: float = 0.7
    """The largest step, after a refusal soon after another: it doubles the margin."""
    close_refusals: int = 20
    """Refusals with fewer accepted calls between them take larger steps."""
    margin_per_deviation: float = 2.6
    """The margin for the aimed refusals, as a multiple of the deviation of the gaps between arrivals."""
    least_deviation_seconds: float = 0.0004
    """A smaller deviation of answers counts as this one: clocks and event loops are not more exact."""
    answers_needed: int = 5
    """How many answers must be known before their times limit the margin."""
    answers_remembered: int = 30
    """Over how many answers their spread is measured."""
    congestion_decrease_share: float = 0.1
    """The share of what other programs' calls have added that an accepted call takes back."""
    least_congestion_seconds: float = 0.001
    """What is left of that is set to zero when it has shrunk to this."""
    refusals_without_retry: int = 16
    """For how many refusals the next call waits a whole interval, once one that came at once was refused as well."""

    shortest_wait_seconds: float = 1e-9
    """A wait for a slot is at least this long: more than the rounding error of a clock that runs for months."""

    # Shared paces
    ticket_patience_seconds: float = 0.25
    """How long a slot that is open is left to the process whose ticket is next; longer than its way to the store."""
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
