"""Limits of workers and of adding calls. Times of a worker that tests or hosts change are in `timing`."""

from __future__ import annotations

import msgspec


class EngineLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the engines' workers."""

    max_tries_per_call: int = 9
    """Attempts at a call that meets server errors, before it fails."""
    jobs_per_portion: int = 1_000
    """Jobs that are read and hashed at a time while they are added, and added by one statement."""
    calls_per_plan: int = 1_000
    """Calls that get their wakeups in one transaction."""
    wakeups_per_statement: int = 200
    """Wakeups whose claims, marks or results share one statement of the call table."""
    statements_in_flight: int = 2
    """Statements of each of these three that are executed at once."""
    share_of_latest_claim: float = 0.1
    """The weight of the latest claim in the average time of claims."""
    claims_waited_for: float = 4.0
    """How many times as long as a claim takes a call waits for its slot, besides `WorkerTiming.gate_wait`."""
    longest_lag_seconds: float = 20.0
    """The most that is added so."""
    enqueue_patience_seconds: float = 60.0
    """How long adding calls waits for the database."""
    results_passed_at_once: int = 20
    """Results that are passed to `on_result` at the same time."""
    results_read_at_once: int = 50
    """Results that are read for it at a time, if many wait."""
    record_patience_seconds: float = 600.0
    """How long a result waits for the database; without it, a paid answer would be lost."""
    statement_patience_seconds: float = 30.0
    """How long a statement of the engine itself waits for the database, before the engine ends its worker."""
    statement_pause_seconds: float = 0.02
    """The pause before such a statement is repeated; each is twice as long as the one before."""
    longest_statement_pause_seconds: float = 1.0
    """The longest of these pauses."""
    clock_tolerance_seconds: float = 10.0
    """How far the database's clock falls behind a worker's until it counts as set back; more than an answer takes."""
    settings_seconds: float = 10.0
    """How long a tenant's settings are waited for before its calls are planned by the default rates."""
    first_search_seconds: float = 2.0
    """How long a worker that starts waits for its first search; that may plan a whole backlog."""
    tenants_in_log: int = 5
    """Names of tenants that a worker logs when it is ready."""
    max_idle_sessions: int = 1_000
    """Unused sessions of tenants that a worker keeps open."""
    polling_interval_seconds: float = 0.2
    """How often a procrastinate worker looks for due wakeups while there may be some, unless the app sets it."""
    rest_seconds: float = 2.5
    """How long it looks for none when the next one is due later; another worker may postpone one meanwhile."""
    wakeups_per_worker: int = 20
    """Wakeups that a procrastinate worker handles at once, unless the app sets it."""


LIMITS = EngineLimits()
