"""Making failed calls pending again, and what that would cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.values.calls import CANCELLED, UNKNOWN
from ekb_async.backlog.store.values.reports import RetryReport
from ekb_async.storage.statements import Statements


class FailedRows(NamedTuple):
    """Which failed rows are meant: those for which everything that is given is true.

    `cause` is a part of the error's class or text, `file` of the file or the invoice ID, `rows` are numbers. With
    `unknown` calls with an unknown outcome are meant, with `cancelled` those that a person has cancelled, otherwise the
    others.
    """

    cause: str = ""
    unknown: bool = False
    rows: Sequence[int] | None = None
    file: str | None = None
    tenant: str | None = None
    ref: str | None = None
    kind: str | None = None
    cancelled: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statements."""
        return {**self._asdict(), "unknown_type": UNKNOWN, "cancelled_type": CANCELLED}


class _Failed(NamedTuple):
    """Failed calls of a kind."""

    kind: str
    is_unknown: bool
    is_cancelled: bool
    calls: int
    rows: int
    sent: int
    maybe_billed: int


class _OfState(NamedTuple):
    state: str
    rows: int


async def retry_rows(store: CallStore, wanted: FailedRows) -> RetryReport:
    """Make failed calls pending again, and those of dead runs; return which."""

    async def work(statements: Statements) -> RetryReport:
        await store.settle_dead(statements)
        if lock := store.retry_sql.LOCK_TO_RETRY:
            await statements.fetch(lock, **wanted.values)
        report = await _report(statements, store, wanted)
        await statements.execute(store.retry_sql.RETRY, **wanted.values)
        return report

    return await store.change(work)


async def rows_to_retry(store: CallStore, wanted: FailedRows) -> RetryReport:
    """Return what `retry_rows` would do, without doing it, except for the calls of dead runs, which it settles too."""

    async def work(statements: Statements) -> RetryReport:
        await store.settle_dead(statements)
        return await _report(statements, store, wanted)

    if await store.can_write():
        return await store.change(work)
    return await store.read(lambda statements: _report(statements, store, wanted))


async def _report(statements: Statements, store: CallStore, wanted: FailedRows) -> RetryReport:
    failed = await statements.fetch_as(_Failed, store.retry_sql.FAILED, **wanted.values)
    states = []
    if wanted.rows is not None:
        states = await statements.fetch_as(_OfState, store.retry_sql.COUNT_BY_ROW, rows=wanted.rows)
    asked = wanted.unknown, wanted.cancelled
    chosen = [each for each in failed if (bool(each.is_unknown), bool(each.is_cancelled)) == asked]
    paid = [each for each in chosen if each.kind in PAID]
    return RetryReport(
        rows=_sum(each.rows for each in chosen),
        calls=_sum(each.calls for each in chosen),
        billed=_sum(each.calls for each in paid),
        sent_before=_sum(each.sent for each in paid),
        maybe_billed=_sum(each.maybe_billed for each in paid),
        unknown=0 if wanted.unknown else _sum(each.rows for each in failed if each.is_unknown),
        cancelled=0 if wanted.cancelled else _sum(each.rows for each in failed if each.is_cancelled),
        not_failed=_sum(each.rows for each in states if each.state != "failed"),
        missing=0 if wanted.rows is None else len(set(wanted.rows)) - _sum(each.rows for each in states),
    )


def _sum(numbers: Iterable[int]) -> int:
    # PostgreSQL sums up whole numbers as decimals.
    return int(sum(numbers))
