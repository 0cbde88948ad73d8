"""What is known of calls that were purged: how many there were, what was paid for them, and what they found."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from decimal import Context, Decimal
from types import ModuleType
from typing import NamedTuple

import msgspec

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.storage.statements import Statements

_EXACT = Context(prec=200)
_DIGEST_BYTES = 16


class PurgedInvoices(msgspec.Struct, frozen=True, kw_only=True):
    """The invoices of one kind of call, verdict and currency in answers that were purged, and the sum of their totals.

    The verdict is `usable`, `refused` or `read` (recognised only). The currency is "" where the answers state one that
    cannot be read; recognition and the tax authority state none for yuan.
    """

    kind: str
    verdict: str
    currency: str
    invoices: int
    total: Decimal


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """What was purged with a summary: calls, rows, rows by state, billed attempts, and those without an answer."""

    calls: int = 0
    rows: int = 0
    done: int = 0
    failed: int = 0
    billed: int = 0
    maybe_billed: int = 0
    invoices: tuple[PurgedInvoices, ...] = ()


class PurgedCount(NamedTuple):
    """Purged calls of one kind, state and source, their rows and attempts, and the calls saved by files that share."""

    kind: str
    state: str
    source: str
    calls: int
    rows: int
    attempts: int
    maybe_billed: int
    same_invoice: int


class InvoiceSum(NamedTuple):
    """The number of invoices in the answers of purged calls, and the sum of their totals as a decimal."""

    tenant: str
    kind: str
    verdict: str
    currency: str
    invoices: int
    total: str


class _Sum(NamedTuple):
    """What is summed up of purged calls."""

    tenant: str
    kind: str
    state: str
    source: str
    error_type: str
    calls: int
    rows: int
    attempts: int
    maybe_billed: int
    same_invoice: int


class _Digest(NamedTuple):
    """What a purged row is recognised by, and the day on which its call ended."""

    digest: str
    tenant: str
    day: int


def digest(text: str) -> str:
    """Return what is kept to recognise a row."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[: 2 * _DIGEST_BYTES]


def plus(one: str, other: str) -> str:
    """Return the exact sum of two decimals."""
    return str(_EXACT.add(Decimal(one), Decimal(other)))


async def counts_of_purged(statements: Statements, sql: ModuleType) -> list[PurgedCount]:
    """Return how many calls were purged."""
    return await statements.fetch_as(PurgedCount, sql.PURGED)


async def purged_of(statements: Statements, sql: ModuleType) -> Purged:
    """Return what was purged with a summary."""
    counts = await counts_of_purged(statements, sql)
    if not counts:
        return Purged()
    numbers: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    totals: defaultdict[tuple[str, str, str], str] = defaultdict(lambda: "0")
    for each in await statements.fetch_as(InvoiceSum, sql.PURGED_INVOICES):
        key = each.kind, each.verdict, each.currency
        numbers[key] += each.invoices
        totals[key] = plus(totals[key], each.total)
    return Purged(
        calls=sum(each.calls for each in counts),
        rows=sum(each.rows for each in counts),
        done=sum(each.rows for each in counts if each.state == "done"),
        failed=sum(each.rows for each in counts if each.state == "failed"),
        billed=sum(each.attempts for each in counts if each.kind in PAID),
        maybe_billed=sum(each.maybe_billed for each in counts),
        invoices=tuple(
            PurgedInvoices(kind=kind, verdict=verdict, currency=currency, invoices=count, total=Decimal(totals[key]))
            for key, count in numbers.items()
            for kind, verdict, currency in [key]
        ),
    )


async def copy_purged(
    reader: Statements, read: ModuleType, target: Statements, sql: ModuleType, *, is_new: bool
) -> None:
    """Copy what is known of purged calls; the sums only into a new backlog, since another may have counted them."""
    if is_new:
        await target.write(sql.ADD_SUMS, await reader.fetch_as(_Sum, read.READ_SUMS))
        await target.write(sql.KEEP_INVOICES, await reader.fetch_as(InvoiceSum, read.PURGED_INVOICES))
    last = "0" * 2 * _DIGEST_BYTES
    while page := await reader.fetch_as(_Digest, read.READ_DIGESTS, after=last, limit=LIMITS.entries_per_purged_page):
        await target.write(sql.ADD_DIGESTS, page)
        last = page[-1].digest
