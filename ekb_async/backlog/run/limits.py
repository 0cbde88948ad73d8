"""Limits of a run: how much is claimed and done at a time, and how many failures mean what."""

from __future__ import annotations

import msgspec


class RunLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a run. The vendor's own limits are in `SessionConfig`, the waits in `BacklogTiming`."""

    # Tenants
    tenants_at_once: int = 200
    """Tenants that are served at the same time; each has a session with connections of its own."""
    tenants_named: int = 10
    """Tenants that an error lists by name, so that its text stays readable."""

    # Claims
    downloads_claimed_ahead: int = 200
    """Downloads that are claimed at a time: more than run at once, so that the session does not wait for claims."""
    lookup_rounds_claimed_ahead: int = 2
    """Full rounds of batched look-ups that are claimed at a time: one in flight and one to follow."""
    refill_share: float = 0.75
    """The share of claimed calls still unfinished at which more are claimed, so that claims are few and large."""
    ledger_calls_claimed_ahead: int = 200
    """Billed calls that are claimed at a time, at least, if the ledger is asked first: two full requests."""
    ledger_refill_share: float = 0.5
    """As `refill_share`, for calls that the ledger is asked for, so that their requests are full."""

    # Bounds
    clock_check_seconds: float = 10.0
    """The longest time between two looks at the clock by a run that has an end."""

    # Failures
    failures_per_outage: int = 3
    """Tries of one kind in a row that servers failed to answer, and that count as an outage, not as the rows' fault."""
    postponements_per_call: int = 3
    """Times that a call is postponed while no other call is answered, before its failure is final."""
    tries_begun_again: int = 12
    """Tries of a call that failed before it was taken back for outages, after which its failure is final."""
    refusals_per_staff_id: int = 3
    """Refusals in a row that stop calls with a staff ID, and calls in flight with it until one is accepted."""
    staff_refusal_seconds: float = 300.0
    """The time after which workers of job engines try a refused staff ID again."""

    # Checks at the tax authority
    checks_per_day: int = 5
    """Checks of one invoice in a day, after which the tax authority refuses more."""
    days_waited: int = 3
    """Days that a check waits for, one after another, before its refusal is final."""

    # What it shows
    causes_counted: int = 500
    """Different causes of failure that a run counts; those that come later are counted by the class of their error."""
    causes_shown: int = 50
    """Causes of failure that the progress of a run has, the most frequent ones."""
    refused_people_shown: int = 20
    """Refused staff IDs that the progress of a run names."""
    slow_pace_share: float = 0.8
    """The share of the allowed rate below which a pace counts as slowed down."""
    throttled_seconds: float = 60.0
    """How long after a refusal for the rate a slow pace is explained by it."""

    # Load
    files_read_at_once: int = 2
    """Files and manifests that one tenant's calls read at the same time, to spare the disk."""
    polling_share: float = 0.05
    """The largest share of a run's time that its repeated queries take; large backlogs are queried less often."""

    watching_share: float = 0.05
    """The same for a program that watches runs."""


LIMITS = RunLimits()
