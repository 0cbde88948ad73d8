"""The figures of a backlog: how much is to do, for how long it has waited, what failed, and what works on it.

Their number does not grow with the backlog: of the tenants only some have figures of their own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.metrics.limits import LIMITS
from ekb_async.backlog.metrics.tenants import Halted, OtherTenants, TenantMetrics, Waits, of_tenants
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.reading.metrics import Figures, Load, PurgedCalls, living, over_budget, read_figures
from ekb_async.backlog.store.transactions.spending import Period
from ekb_async.backlog.store.values.calls import STATES, UNKNOWN
from ekb_async.models.wire.coerce import CHINA

OTHERS = "(others)"
"""Stands for classes of errors that have no figure of their own; no class has this name."""


class BacklogMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a backlog at one moment. Ages are in seconds.

    - `backlog` is the name of the file or database, `read_at` the time at UTC+8, `read_seconds` how long reading took.
    - `calls` counts calls by state and kind, `rows` rows by state; several rows may share a call.
    - `waiting` counts pending calls that are not made for now, by reason: `another_day`, `held` by a person, a `budget`
      that is spent, a tenant that a run at work has `given_up`, or `paused` by a run or worker while a tenant's calls
      fail. All other pending calls are ready.
    - `oldest_pending` is the age of the oldest pending call since it was added, `oldest_ready` that of the oldest one
      that is ready; 0 if there is none.
    - `in_flight` counts billed calls that were sent and are not answered, by kind.
    - `billed_attempts` is how often billed calls were sent and their outcome recorded, by kind, repetitions and purged
      calls included; `maybe_billed` is how many of these got no answer.
    - `failed` counts failed calls by the class of their error, the most frequent first, and `unconfirmed` those whose
      outcome is unknown, so that a person has to decide.
    - `runs` counts registered runs and workers: `active` ones, and `silent` ones that were not seen for some time, so
      that they have stopped or were killed. `silence` is the longest time for which one of them was not seen, None if
      a lock shows which are alive, or without runs.
    - `tenants` counts tenants by condition: those with `pending` calls, and those with calls `held`, those
      `over_budget`, `given_up` and `paused`.
    - `spent` counts the billed calls that were sent in the present `day` and `month` at UTC+8, as budgets count them,
      and `budgets` has the limits of all tenants together, of the periods that have one.
    - `top` are the tenants with the most pending calls and with the oldest ready ones, `others` all others together.
    """

    backlog: str
    read_at: datetime
    read_seconds: float
    calls: dict[str, dict[str, int]]
    rows: dict[str, int]
    waiting: dict[str, int]
    oldest_pending: float
    oldest_ready: float
    in_flight: dict[str, int]
    billed_attempts: dict[str, int]
    maybe_billed: int
    failed: dict[str, int]
    unconfirmed: int
    runs: dict[str, int]
    silence: float | None
    tenants: dict[str, int]
    spent: dict[Period, int]
    budgets: dict[Period, int]
    top: tuple[TenantMetrics, ...]
    others: OtherTenants


def printable(name: str) -> str:
    """Return the name of a backlog with escapes for what is no valid Unicode."""
    return name.encode(errors="backslashreplace").decode()


async def measure(store: CallStore, *, top: int, lost_after: float) -> BacklogMetrics:
    """Return the figures of a backlog, those of `top` tenants apart.

    A run that was not seen for `lost_after` seconds is silent.
    """
    began = time.perf_counter()
    figures = await read_figures(store)
    runs = await living(figures.runs, lost_after)
    seconds = time.perf_counter() - began
    waits = Waits(figures.held, over_budget(figures.budgets), Halted.by(runs))
    shown, others = of_tenants(figures.pending, waits, figures.moment, top)
    every: list[TenantMetrics | OtherTenants] = [*shown, others]
    return BacklogMetrics(
        backlog=printable(store.name),
        read_at=datetime.fromtimestamp(store.clock(), CHINA),
        read_seconds=seconds,
        calls=_calls(figures.loads),
        rows={state: sum(each.rows for each in figures.loads if each.state == state) for state in STATES},
        waiting=waits.counted(figures.pending),
        oldest_pending=max(each.oldest_pending for each in every),
        oldest_ready=max(each.oldest_ready for each in every),
        in_flight={kind: figures.in_flight.get(kind, 0) for kind in PAID},
        billed_attempts=_billed_attempts(figures),
        maybe_billed=figures.maybe_billed,
        failed=_most_frequent(figures.failed),
        unconfirmed=figures.failed.get(UNKNOWN, 0),
        runs={"active": len(runs), "silent": len(figures.runs) - len(runs)},
        silence=max((max(0.0, each.silent) for each in figures.runs if each.silent is not None), default=None),
        tenants=waits.tenants(figures.pending),
        spent=figures.spent,
        budgets={each.period: each.calls for each in figures.budgets if each.tenant is None},
        top=shown,
        others=others,
    )


def _calls(loads: Sequence[Load]) -> dict[str, dict[str, int]]:
    """Return the calls by state and kind, with all states of each kind that the backlog has."""
    kinds = sorted({each.kind for each in loads})
    counts = {(each.state, each.kind): each.calls for each in loads}
    return {state: {kind: counts.get((state, kind), 0) for kind in kinds} for state in STATES}


def _billed_attempts(figures: Figures) -> dict[str, int]:
    attempts: Counter[str] = Counter()
    sent: list[Load | PurgedCalls] = [*figures.loads, *figures.purged]
    for each in sent:
        attempts[each.kind] += each.attempts
    return {kind: attempts[kind] for kind in PAID}


def _most_frequent(failed: dict[str, int]) -> dict[str, int]:
    shown = dict([*failed.items()][: LIMITS.error_types])
    rest = sum(failed.values()) - sum(shown.values())
    return {**shown, OTHERS: rest} if rest else shown
