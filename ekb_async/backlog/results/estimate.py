"""What a run will do and what is billed of it, before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import ModuleType
from typing import NamedTuple

import msgspec

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.transactions.accounting import SharingCount, WorkCount, shared_of
from ekb_async.config import SessionConfig
from ekb_async.storage.statements import Statements

_TO_DO = ("pending", "running")


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to do: rows that are pending or running.

    `calls` has the billed calls that runs will make by kind, `free` the free ones; both without those of the `waiting`
    rows, which wait for another day, and of the `held` rows, which wait for a person. `running` counts those of the
    calls that a run has claimed: it is making them, or was interrupted, and then they are made again. `repeated` counts
    the billed calls that were sent before and may have been billed without an answer; a run sends them again if its
    session has `repeat_unknown`. `same_content` and `same_invoice` count the billed calls that are not needed, as in
    `Accounting`, for the rows left to do. `in_ledger` counts the billed calls whose invoices are named well enough that
    the ledger can be asked for them first. `warnings` counts the rows with a warning. `seconds` is the time that the
    billed calls take at the rate of the session.
    """

    rows: int
    calls: dict[str, int]
    free: dict[str, int]
    waiting: int
    running: int
    repeated: int
    same_content: int
    same_invoice: int
    in_ledger: int
    warnings: int
    seconds: float
    held: int = 0

    @property
    def billed(self) -> int:
        """The number of billed calls of all kinds."""
        return sum(self.calls.values())


class _OpenCount(NamedTuple):
    """Calls and rows of one tenant and kind that are pending, running, waiting or held."""

    tenant: str
    kind: str
    state: str
    calls: int
    rows: int


async def estimate(statements: Statements, sql: ModuleType, now: float, config: SessionConfig) -> Estimate:
    """Return what a run with this configuration will do; `now` is in epoch seconds."""
    found = await statements.fetch_as(_OpenCount, sql.COUNT_OPEN)
    waiting = await statements.fetch_as(_OpenCount, sql.COUNT_WAITING, now=now)
    work = await statements.fetch_as(WorkCount, sql.COUNT_WORK)
    sharing = await statements.fetch_as(SharingCount, sql.COUNT_SAME_INVOICE)
    shared = shared_of(
        (each for each in work if each.kind in PAID and each.state in _TO_DO),
        (each for each in sharing if each.kind in PAID and each.state in _TO_DO),
    )
    calls = _by_kind(found, waiting)
    return Estimate(
        rows=sum(each.rows for each in found),
        calls={kind: count for kind, count in calls.items() if kind in PAID},
        free={kind: count for kind, count in calls.items() if kind not in PAID},
        waiting=sum(each.rows for each in waiting if each.state == "waiting"),
        held=sum(each.rows for each in waiting if each.state == "held"),
        running=sum(each.calls for each in found if each.state == "running"),
        repeated=await statements.value(sql.COUNT_REPEATED),
        same_content=sum(each.same_content for each in shared.values()),
        same_invoice=sum(each.same_invoice for each in shared.values()),
        in_ledger=await statements.value(sql.COUNT_IN_LEDGER),
        warnings=await statements.value(sql.COUNT_WARNED),
        seconds=_seconds(found, waiting, config),
    )


def _by_kind(found: Iterable[_OpenCount], waiting: Iterable[_OpenCount]) -> dict[str, int]:
    """Return the number of calls to make by kind."""
    calls: Counter[str] = Counter()
    for each in found:
        calls[each.kind] += each.calls
    for each in waiting:
        calls[each.kind] -= each.calls
    return {kind: calls[kind] for kind in sorted(calls) if calls[kind] > 0}


def _seconds(found: Iterable[_OpenCount], waiting: Iterable[_OpenCount], config: SessionConfig) -> float:
    """Return the time of the tenant and kind that take longest: each has an interface and a rate of its own."""
    calls: Counter[tuple[str, str]] = Counter()
    for each in found:
        calls[each.tenant, each.kind] += each.calls
    for each in waiting:
        calls[each.tenant, each.kind] -= each.calls
    intervals = {
        kind: 1 / (config.ocr_rate if kind == "ocr" else config.verify_rate) + config.rate_guard for kind in PAID
    }
    return max((count * intervals[kind] for (_, kind), count in calls.items() if kind in PAID), default=0.0)
