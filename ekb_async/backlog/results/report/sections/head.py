"""The beginning of a page: title, state of the work, and the figures that matter most."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ekb_async.backlog.results.report import charts
from ekb_async.backlog.results.report.charts import Bar, Caption
from ekb_async.backlog.results.report.collected.aggregate import Aggregate
from ekb_async.backlog.results.report.collected.groups import OTHERS, Group
from ekb_async.backlog.results.report.formats import NONE, Formats, shown
from ekb_async.backlog.results.report.sections.money import by_currency
from ekb_async.backlog.results.report.view import Card, Drawing, Head
from ekb_async.backlog.store.transactions.accounting import Accounting


def head(
    formats: Formats,
    aggregate: Aggregate,
    accounting: Accounting | None,
    title: str | None,
    now: datetime,
    *,
    purged: int = 0,
) -> Head:
    """Return the beginning of a page."""
    texts = formats.texts
    sentence = _sentence(formats, aggregate, purged)
    share = None
    if aggregate.work:
        states = aggregate.states
        rows, done, failed = states.total(), states["done"], states["failed"]
        caption = Caption("share", texts("Progress"), sentence)
        drawn = charts.share(caption, Bar(texts("Progress"), (done, failed, rows - done - failed), sentence))
        share = Drawing(drawn)
    note = texts("Made {time} (UTC+8)", time=formats.time(now))
    if (span := aggregate.throughput.span) is not None:
        first, last = map(formats.time, span)
        note = texts("Calls ended {first} to {last}", first=first, last=last) + " · " + note
    groups = [list(_results(formats, aggregate)), list(_work(formats, aggregate, accounting))] if aggregate.work else []
    return Head(shown(title) if title else texts("Invoice report"), sentence, share, note, groups)


def _sentence(formats: Formats, aggregate: Aggregate, purged: int) -> str:
    texts, states = formats.texts, aggregate.states
    rows, done, failed = states.total(), states["done"], states["failed"]
    left = rows - done - failed
    if not rows and purged:
        return texts("The row was purged.", "All {count:,} rows were purged.", count=purged)
    if not rows:
        return texts("The backlog is empty: no rows have been added yet.")
    if left:
        return texts(
            "{done:,} of {rows:,} rows done, {failed:,} failed, {left:,} still to do.",
            done=done,
            rows=rows,
            failed=failed,
            left=left,
        )
    if failed:
        return texts(
            "All {rows:,} rows have been worked through; {failed:,} failed.", rows=rows, failed=failed, count=rows
        )
    return texts("The row is done.", "All {count:,} rows are done.", count=rows)


def _results(formats: Formats, aggregate: Aggregate) -> Iterator[Card]:
    """Yield the cards about money and about what needs attention, the most important first."""
    texts, attention = formats.texts, aggregate.attention
    verified = aggregate.verified.total
    cards = [card for _, card in sorted(_verified(formats, verified), key=lambda item: -item[0])]
    yield from cards[:1]
    remarks = [texts("Nothing has failed, and all invoices are usable.")]
    if attention.count:
        remarks = [
            texts("{count:,} failed row", "{count:,} failed rows", count=attention.failed),
            texts("{count:,} invoice not usable", "{count:,} invoices not usable", count=attention.unusable),
        ]
        if attention.empty:
            remarks.append(
                texts("{count:,} file without an invoice", "{count:,} files without an invoice", count=attention.empty)
            )
    tone = "bad" if attention.count else "good"
    yield Card(texts("Needs attention"), formats.number(attention.count), remarks, "attention", tone)
    for currency, each in by_currency(verified):
        amount = each.amount - each.usable_amount
        if currency not in {None, OTHERS} and amount:
            name = texts("Not usable ({currency})", currency=formats.currency(currency))
            yield Card(name, formats.number(amount), (), "refused")
    yield from cards[1:]
    yield from _recognised(formats, aggregate)


def _verified(formats: Formats, verified: Group) -> Iterator[tuple[int, Card]]:
    """Yield a card for each currency, with the number of its invoices."""
    texts = formats.texts
    for currency, each in by_currency(verified):
        if currency in {None, OTHERS}:
            continue
        remarks = [
            texts(
                "{usable:,} of {count:,} invoice is usable",
                "{usable:,} of {count:,} invoices are usable",
                usable=each.usable,
                count=each.count,
            ),
            texts("verified in total: {amount}", amount=formats.number(each.amount)),
        ]
        name = texts("Verified and usable ({currency})", currency=formats.currency(currency))
        yield each.count, Card(name, formats.number(each.usable_amount), remarks, "kinds", "good")


def _recognised(formats: Formats, aggregate: Aggregate) -> Iterator[Card]:
    texts, total = formats.texts, aggregate.recognised.total
    for currency, each in by_currency(total):
        amount = formats.number(each.amount) if currency not in {None, OTHERS} else NONE
        remark = texts("{count:,} invoice, not verified", "{count:,} invoices, not verified", count=each.count)
        yield Card(texts("Recognised only"), amount, [remark], "recognised")


def _work(formats: Formats, aggregate: Aggregate, accounting: Accounting | None) -> Iterator[Card]:
    """Yield the cards about rows and calls."""
    texts, states = formats.texts, aggregate.states
    left = states["pending"] + states["running"]
    yield Card(texts("Rows done"), formats.number(states["done"]), [_of_all(formats, states.total())])
    if left:
        remarks = [texts("{count:,} of them running", count=states["running"])] if states["running"] else []
        if (until := aggregate.waits_until) is not None:
            count, time = aggregate.waiting, formats.time(until)
            remarks.append(texts("{count:,} of them wait for another day, until {time}", count=count, time=time))
        yield Card(texts("Rows to do"), formats.number(left), remarks)
    if aggregate.duplicates.count:
        yield Card(texts("Duplicates"), formats.number(aggregate.duplicates.count), (), "duplicates")
    if accounting is not None and accounting.kinds:
        saved = texts("{count:,} call saved", "{count:,} calls saved", count=accounting.saved)
        yield Card(texts("Billed calls"), formats.number(accounting.calls), [saved], "accounting")
    if lost := sum(work.maybe_billed for work in aggregate.work.values()):
        yield Card(
            texts("Calls maybe billed without a result"),
            formats.number(lost),
            [texts("sent, but the answer was lost")],
            "accounting",
        )


def _of_all(formats: Formats, rows: int) -> str:
    return formats.texts("of {count:,} row", "of {count:,} rows", count=rows)
