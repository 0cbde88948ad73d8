"""What a backlog has paid for, and which calls it has saved and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import NamedTuple

import msgspec

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.transactions.purged import counts_of_purged
from ekb_async.storage.statements import Statements

LEDGER = "ledger"
"""The source of answers from the vendor's ledger."""


class KindAccounting(msgspec.Struct, frozen=True, kw_only=True):
    """The accounting of one kind of billed call; its fields are those of `Accounting`."""

    calls: int = 0
    maybe_billed: int = 0
    same_content: int = 0
    same_invoice: int = 0
    ledger: int = 0
    purged: int = 0


class Accounting(msgspec.Struct, frozen=True, kw_only=True):
    """The billed calls of a backlog, and those that it saves.

    `calls` is how often a billed call was sent and its outcome recorded, repetitions included and refusals for the rate
    not; `maybe_billed` is how many of these were left without an answer. The others are calls saved. `same_content` and
    `same_invoice` count, over all rows whether their call is made yet or not, the calls that are not needed because
    another row has the same file or invoice ID, and because another file shows the same invoice. `ledger` counts the
    calls that the vendor's ledger answered.
    Calls that were purged with a summary are counted in all of these; `purged` says how many of `calls` these are.
    `kinds` has the same by kind of call, for the kinds that the backlog has.
    """

    calls: int
    maybe_billed: int
    same_content: int
    same_invoice: int
    ledger: int
    kinds: dict[str, KindAccounting]
    purged: int = 0

    @property
    def saved(self) -> int:
        """The number of all calls saved."""
        return self.same_content + self.same_invoice + self.ledger


class WorkCount(NamedTuple):
    """The calls of one kind, state and source, their rows and their attempts; of one tenant if it is given."""

    kind: str
    state: str
    source: str
    calls: int
    rows: int
    attempts: int
    tenant: str = ""


class SharingCount(NamedTuple):
    """How many calls of one kind and state are not needed because files show the same invoice."""

    kind: str
    state: str
    calls: int


class Shared(NamedTuple):
    """How many calls of some kind are not needed, by what their rows share."""

    same_content: int
    same_invoice: int


def shared_of(work: Iterable[WorkCount], sharing: Iterable[SharingCount]) -> dict[str, Shared]:
    """Return for each kind how many calls are not needed."""
    rows: Counter[str] = Counter()
    for each in work:
        rows[each.kind] += each.rows - each.calls
    same_invoice: Counter[str] = Counter()
    for each_sharing in sharing:
        same_invoice[each_sharing.kind] += each_sharing.calls
    # A run or another program may add rows between two queries.
    return {kind: Shared(max(0, more - same_invoice[kind]), same_invoice[kind]) for kind, more in rows.items()}


async def account(
    statements: Statements, sql: ModuleType, purge_sql: ModuleType, work_counts: Sequence[WorkCount] | None = None
) -> Accounting:
    """Return the accounting of a backlog; the statements are those about invoices and about purges.

    `work_counts` is what `COUNT_WORK` finds, if that is known; it may have several counts of the same work.
    """
    purged = await counts_of_purged(statements, purge_sql)
    counted = await statements.fetch_as(WorkCount, sql.COUNT_WORK) if work_counts is None else [*work_counts]
    counted += [WorkCount(each.kind, each.state, each.source, each.calls, each.rows, each.attempts) for each in purged]
    work = [each for each in counted if each.kind in PAID]
    sharing = await statements.fetch_as(SharingCount, sql.COUNT_SAME_INVOICE)
    sharing += [SharingCount(each.kind, each.state, each.same_invoice) for each in purged]
    shared = shared_of(work, sharing)
    maybe_billed = Counter({kind: int(calls) for kind, calls in await statements.fetch(sql.COUNT_MAYBE_BILLED)})
    maybe_billed.update(_by_kind((each.kind, each.maybe_billed) for each in purged))
    purged_calls = _by_kind((each.kind, each.attempts) for each in purged)
    kinds = {
        kind: KindAccounting(
            calls=sum(each.attempts for each in work if each.kind == kind),
            maybe_billed=maybe_billed[kind],
            same_content=shared[kind].same_content,
            same_invoice=shared[kind].same_invoice,
            ledger=sum(each.calls for each in work if each.kind == kind and each.source == LEDGER),
            purged=purged_calls[kind],
        )
        for kind in PAID
        if kind in shared
    }
    totals = {name: sum(getattr(each, name) for each in kinds.values()) for name in KindAccounting.__struct_fields__}
    return Accounting(**totals, kinds=kinds)


def _by_kind(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for kind, count in counts:
        sums[kind] += count
    return sums
