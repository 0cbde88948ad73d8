"""What `ekb backlog run` says at its end: what is done, what it is worth, what needs attention, what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from ekb_async.backlog import Summary, Verified
from ekb_async.cli.backlog.showing.budgets import over_budget_lines
from ekb_async.cli.backlog.showing.status import cause_lines, counts_text, held_lines, waiting_lines
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.errors import CallCancelledError, OutcomeUnknownError

_UNKNOWN, _CANCELLED = OutcomeUnknownError.__name__, CallCancelledError.__name__


def ending_lines(place: Location, summary: Summary, *, has_directory: bool) -> Iterator[str]:
    """Yield about ten lines; `has_directory` says whether downloads had a directory."""
    yield counts_text(summary.counts)
    if summary.verified.invoices:
        yield verified_text(summary.verified)
    yield from _attention(place, summary)
    yield from waiting_lines(summary.waiting)
    yield from held_lines(summary.held, place)
    yield from over_budget_lines(summary.over_budget)
    waiting = summary.waiting.rows + summary.over_budget.rows + summary.held
    left = summary.counts["pending"] - sum(summary.refused_staff.values()) - waiting
    if left > 0 and not has_directory and not summary.stopped:
        yield texts("Rows of kind download need a directory: ekb backlog run {place} --files DIR", place=place)
    yield from _next_commands(place, summary)


def verified_text(verified: Verified) -> str:
    """Return how many invoices were verified, and what they are worth, by currency."""
    if verified.usable == verified.invoices:
        return texts(
            "This run verified {count:,} invoice, usable: {amount}",
            "This run verified {count:,} invoices, all usable: {amount}",
            count=verified.invoices,
            amount=_amount_text(verified.amounts),
        )
    return texts(
        "This run verified {count:,} invoice: {amount}; {usable:,} usable: {usable_amount}",
        "This run verified {count:,} invoices: {amount}; {usable:,} usable: {usable_amount}",
        count=verified.invoices,
        amount=_amount_text(verified.amounts),
        usable=verified.usable,
        usable_amount=_amount_text(verified.usable_amounts),
    )


def _amount_text(amounts: Mapping[str, Decimal]) -> str:
    stated = {currency: amount for currency, amount in amounts.items() if amount}
    return " + ".join(f"{currency} {amount:,.2f}".lstrip() for currency, amount in sorted(stated.items())) or "0.00"


def _attention(place: Location, summary: Summary) -> Iterator[str]:
    """Yield what a person has to look at."""
    refused = summary.verified.invoices - summary.verified.usable
    found = [
        texts("{count:,} row failed", "{count:,} rows failed", count=summary.counts["failed"])
        if summary.counts["failed"]
        else "",
        texts("{count:,} invoice not usable", "{count:,} invoices not usable", count=refused) if refused else "",
        texts(
            "{count:,} call may have been billed without a result",
            "{count:,} calls may have been billed without a result",
            count=summary.maybe_billed,
        )
        if summary.maybe_billed
        else "",
    ]
    if any(found):
        yield texts("Needs attention: {list}", list=texts(", ").join(filter(None, found)))
    yield from cause_lines(summary.causes[: LIMITS.ending_causes], summary.counts["failed"], place)
    for staff_id, rows in summary.refused_staff.items():
        yield texts(
            "{count:,} row waits: the vendor refused its staff_id {staff_id}. Add it again with the right one, or run "
            "again when that person is active.",
            "{count:,} rows wait: the vendor refused their staff_id {staff_id}. Add them again with the right one, or "
            "run again when that person is active.",
            count=rows,
            staff_id=staff_id,
        )


def _next_commands(place: Location, summary: Summary) -> Iterator[str]:
    if summary.counts["failed"]:
        yield texts("List the failed rows with: ekb backlog export {place} failed.xlsx --state failed", place=place)
    # Cancelled rows are not made again unless a person asks for them.
    if summary.failures.keys() - {_UNKNOWN, _CANCELLED}:
        yield texts("Make failed rows pending again with: ekb backlog retry {place}", place=place)
    if _UNKNOWN in summary.failures:
        yield texts(
            "Retry calls that may already have been billed with: ekb backlog retry {place} --unknown", place=place
        )
    if summary.counts["done"] + summary.counts["failed"]:
        yield texts("Show everything on one page with: ekb backlog report {place}", place=place)
