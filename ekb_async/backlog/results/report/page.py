"""The page of a report, section by section.

Each section has its figures in a table; a chart repeats those that are clearer as a picture. Charts of amounts show
only the currency of most invoices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from importlib.resources import files
from typing import TypeVar

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report import charts
from ekb_async.backlog.results.report.aggregate import NOT_STATED, Aggregate, Cause, Group, Invoices, Sum, Tally, Work
from ekb_async.backlog.results.report.charts import Bar, Caption
from ekb_async.backlog.results.report.html import Cell, Row, cards, figure, paragraph, safe, section, table
from ekb_async.backlog.results.report.i18n import LANGUAGES, Named, Texts
from ekb_async.backlog.results.tasks import Task
from ekb_async.backlog.store.accounting import Accounting, KindAccounting
from ekb_async.errors import ConfigError
from ekb_async.models.wire.exact import exactly

K = TypeVar("K", str, Cause)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Report:
    """Builds the report of a backlog from its tasks, added in order and any number at a time.

    `lang` is `zh` or `en`; raises `ConfigError` for another language. Memory does not grow with the number of tasks.
    """

    def __init__(self, lang: str = "zh") -> None:
        if lang not in LANGUAGES:
            raise ConfigError(f"lang must be one of {', '.join(LANGUAGES)}, not {lang!r}")
        self._texts = Texts(lang)
        self._aggregate = Aggregate()

    @exactly
    def add(self, tasks: Iterable[Task]) -> None:
        """Add tasks to the figures."""
        for task in tasks:
            self._aggregate.add(task)

    @exactly
    def html(self, title: str, now: datetime, accounting: Accounting | None = None) -> str:
        """Return the page about all tasks added so far; `title` names the backlog, `now` is shown as its time.

        With the accounting of the backlog, the page shows it if there are billed calls.
        """
        texts, aggregate = self._texts, self._aggregate
        body = [self._head(title, now)]
        if aggregate.work:
            body.append(self._figures())
            body += self._invoices("verified", aggregate.verified)
            body += self._invoices("recognised", aggregate.recognised)
            body += [self._failures(), self._throughput(), self._work(), self._accounting(accounting)]
            body += [self._tenants(), self._notes()]
        style = files("ekb_async.backlog.results.report").joinpath("report.css").read_text(encoding="utf-8")
        return (
            f'<!DOCTYPE html>\n<html lang="{texts.html_lang}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{safe(title)} – {texts('report')}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
            f"<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
        )

    def _head(self, title: str, now: datetime) -> str:
        texts, states = self._texts, self._aggregate.states
        rows, done, failed = states.total(), states["done"], states["failed"]
        counts = {"rows": rows, "done": done, "failed": failed, "open": rows - done - failed}
        state = (
            "nothing" if not rows else "all_done" if done == rows else "in_progress" if counts["open"] else "all_ended"
        )
        sentence = texts(state, **{name: texts.number(count) for name, count in counts.items()})
        drawn = ""
        if rows:
            caption = Caption("share", texts("progress"), sentence)
            drawn = charts.share(caption, Bar(texts("progress"), (done, failed, counts["open"]), sentence))
        times = texts("made", time=texts.time(now))
        throughput = self._aggregate.throughput
        if throughput.first and throughput.last:
            first, last = texts.time(throughput.first), texts.time(throughput.last)
            times = f"{texts('calls_ended', first=first, last=last)} · {times}"
        return (
            f"<header>\n{paragraph(texts('report'), 'over')}<h1><bdi>{safe(title)}</bdi></h1>\n"
            f"{paragraph(sentence, 'lead')}{drawn}{paragraph(times, 'note')}</header>\n"
        )

    def _figures(self) -> str:
        texts, states = self._texts, self._aggregate.states
        notes = [texts("running", count=texts.number(states["running"]))] if states["running"] else []
        if (until := self._aggregate.waits_until) is not None:
            notes.append(texts("waiting", count=texts.number(self._aggregate.waiting), time=texts.time(until)))
        rows: list[tuple[str, Cell, str]] = [
            (texts("rows"), states.total(), ""),
            (texts("done"), states["done"], ""),
            (texts("failed"), states["failed"], ""),
            (texts("pending"), states["pending"] + states["running"], " · ".join(notes)),
        ]
        lost = sum(work.maybe_billed for work in self._aggregate.work.values())
        found: list[tuple[str, Cell, str]] = [
            *self._invoice_figures("verified", self._aggregate.verified.total),
            *self._invoice_figures("recognised", self._aggregate.recognised.total),
            (texts("maybe_billed"), lost, texts("maybe_billed_note") if lost else ""),
        ]
        return cards(texts, rows) + cards(texts, found)

    def _invoice_figures(self, source: str, total: Group) -> Iterator[tuple[str, Cell, str]]:
        texts, with_usable = self._texts, source == "verified"
        if not total.count:
            return
        usable = texts.number(sum(each.usable for each in total.sums.values()))
        yield texts(f"{source}_found"), total.count, texts("usable_count", count=usable) if with_usable else ""
        for currency, each in _by_currency(total):
            if currency is not None:
                usable = texts("usable_of_it", amount=texts.number(each.usable_amount)) if with_usable else ""
                yield texts(f"{source}_total", currency=texts.currency(currency)), each.amount, usable

    def _invoices(self, source: str, invoices: Invoices) -> Iterator[str]:
        texts, total = self._texts, invoices.total
        if not total.count:
            return
        main = _main_currency(total)
        kinds = sorted(invoices.by_kind.ranked(), key=lambda item: -item[1].sums.get(main, Sum()).amount)
        months = sorted(invoices.by_month.groups.items(), key=lambda item: (not item[0], item[0]))
        named_months = [(texts.month(month), group) for month, group in months]
        if invoices.by_month.rest.count:
            named_months.append((texts("rest"), invoices.by_month.rest))
        parts = [
            f"<h3>{texts('by_kind')}</h3>\n",
            self._amount_chart(source, total, "kind", [(texts.kind(kind), group) for kind, group in kinds]),
            self._amount_table(source, "kind", [(texts.kind_with_label(kind), group) for kind, group in kinds], total),
            f"<h3>{texts('by_month')}</h3>\n",
            self._amount_chart(source, total, *_periods(invoices.by_month.groups)),
            self._amount_table(source, "month", named_months, total),
        ]
        if source == "verified":
            parts += [f"<h3>{texts('refused')}</h3>\n", self._refused(invoices.refused)]
        yield section(texts, source, *parts, note=f"{source}_note")

    def _amount_chart(self, source: str, total: Group, span: str, groups: Sequence[tuple[str, Group]]) -> str:
        """Return the chart of amounts in the main currency, "" if there are none."""
        texts = self._texts
        main = _main_currency(total)
        sums = [(name, group.sums.get(main, Sum())) for name, group in groups]
        if span == "kind":
            sums = [(name, each) for name, each in sums if each.count]
        if main is None or not any(each.count for _, each in sums):
            return ""
        currency = texts.currency(main)
        bars = [
            Bar(name, (each.usable_amount, each.amount - each.usable_amount), texts.number(each.amount))
            for name, each in sums
        ]
        low, high = (texts.number(end(each.amount for _, each in sums)) for end in (min, max))
        described = texts("amounts_from_to", count=texts.number(len(bars)), low=low, high=high)
        caption = Caption(f"{source}-{span}", texts(f"chart_by_{span}", currency=currency), described)
        drawn = charts.rows(caption, bars) if span == "kind" else charts.columns(caption, bars, texts.brief)
        series = [texts("usable"), texts("not_usable")] if source == "verified" else []
        note = texts("other_currencies", currency=currency) if len(total.sums.keys() - {None}) > 1 else ""
        return figure(caption.title, drawn, series, note)

    def _amount_table(self, source: str, first: str, groups: Iterable[tuple[str | Named, Group]], total: Group) -> str:
        """Return the table of counts and amounts, with one line per group and currency."""
        texts, with_usable = self._texts, source == "verified"
        columns = [first, "currency", "count", "amount", *(["usable_invoices", "usable_amount"] if with_usable else [])]
        return table(
            texts,
            texts(f"by_{first}"),
            columns,
            [self._amount_row(name, group, with_usable=with_usable) for name, group in groups],
            text_columns=2,
            total=self._amount_row(texts("total"), total, with_usable=with_usable),
        )

    def _amount_row(self, name: str | Named, group: Group, *, with_usable: bool) -> Row:
        lines: list[list[Cell]] = []
        for currency, each in _by_currency(group):
            known = currency is not None
            line: list[Cell] = [self._texts.currency(currency), each.count, each.amount if known else None]
            if with_usable:
                line += [each.usable, each.usable_amount if known else None]
            lines.append(line)
        return Row(name, lines)

    def _refused(self, refused: Tally[str]) -> str:
        texts = self._texts
        if not refused.groups:
            return paragraph(texts("none_refused"))
        groups = self._top(refused, lambda reason: reason or texts("no_reason"))
        rows = [self._amount_row(reason, group, with_usable=False) for reason, group in groups]
        return table(texts, texts("refused"), ("reason", "currency", "count", "amount"), rows, text_columns=2)

    def _failures(self) -> str:
        texts, failures = self._texts, self._aggregate.failures
        if not failures.groups:
            return section(texts, "failures", paragraph(texts("none_failed")))
        rows = [
            Row(texts.cause(cause), [[texts.advice(cause), group.count]])
            for cause, group in failures.ranked()[: LIMITS.reasons_listed]
        ]
        if (rest := _rest(failures)).count:
            rows.append(Row(texts("rest"), [[None, rest.count]]))
        listed = table(texts, texts("failures"), ("cause", "what_to_do", "failed_rows"), rows, text_columns=2)
        return section(texts, "failures", listed, note="retry")

    def _throughput(self) -> str:
        texts, throughput = self._texts, self._aggregate.throughput
        columns = list(throughput.columns())
        if not columns:
            return section(texts, "throughput", paragraph(texts("no_calls")))
        one_day = columns[0].start.date() == columns[-1].start.date()
        bars = [
            Bar(texts.column(start, throughput.width, one_day=one_day), (done, failed), texts.number(done + failed))
            for start, done, failed in columns
        ]
        title = texts("calls_per", width=texts.width(throughput.width))
        most = texts.number(max(done + failed for _, done, failed in columns))
        described = texts("calls_from_to", first=bars[0].label, last=bars[-1].label, most=most)
        drawn = charts.columns(Caption("throughput-chart", title, described), bars, texts.brief)
        rows = [Row(texts.time(start), [[done, failed]]) for start, done, failed in columns if done or failed]
        listed = table(texts, title, ("from_time", "done", "failed"), rows, text_columns=1)
        details = f"<details><summary>{texts('show_figures')}</summary>\n{listed}</details>\n"
        return section(texts, "throughput", figure(title, drawn, [texts("done"), texts("failed")]), details)

    def _work(self) -> str:
        texts = self._texts
        listed = self._work_table("work", "call", ((texts(kind), work) for kind, work in self._aggregate.work.items()))
        return section(texts, "work", listed)

    def _accounting(self, accounting: Accounting | None) -> str:
        """Return the section on billed calls made and saved, "" if there are none."""
        if accounting is None or not accounting.kinds:
            return ""
        texts = self._texts
        columns = ("call", "sent", "maybe_billed_short", "saved_content", "saved_invoice", "saved_ledger")
        kinds = [(texts(kind), each) for kind, each in accounting.kinds.items()]
        rows = [Row(name, [_billed(each)]) for name, each in kinds]
        total = Row(texts("total"), [_billed(accounting)]) if len(rows) > 1 else None
        listed = table(texts, texts("accounting"), columns, rows, text_columns=1, total=total)
        return section(texts, "accounting", listed, note="accounting_note")

    def _tenants(self) -> str:
        """Return the section with one line per tenant, "" if rows have no tenants."""
        texts, tenants = self._texts, self._aggregate.tenants
        if tenants.keys() <= {""}:
            return ""
        ranked = sorted(tenants.items(), key=lambda item: (-item[1].states.total(), item[0]))
        listed = [(tenant or texts("no_tenant"), work) for tenant, work in ranked[: LIMITS.tenants_listed]]
        if ranked[LIMITS.tenants_listed :]:
            rest = Work()
            for _, work in ranked[LIMITS.tenants_listed :]:
                rest += work
            listed.append((texts("rest"), rest))
        return section(texts, "tenants", self._work_table("tenants", "tenant", listed))

    def _work_table(self, caption: str, first: str, works: Iterable[tuple[str, Work]]) -> str:
        texts = self._texts
        columns = (first, "rows", "done", "failed", "pending", "shared", "sent", "maybe_billed_short")
        rows = []
        for name, work in works:
            states = work.states
            by_state = [states.total(), states["done"], states["failed"], states["pending"] + states["running"]]
            rows.append(Row(name, [[*by_state, work.shared, work.attempts, work.maybe_billed]]))
        return table(texts, texts(caption), columns, rows, text_columns=1)

    def _notes(self) -> str:
        texts, unreadable = self._texts, self._aggregate.unreadable
        notes = [texts(note) for note in ("note_currency", "note_shared", "note_found", "note_texts")]
        if unreadable:
            notes.append(texts("note_unreadable", count=texts.number(unreadable)))
        items = "".join(f"<li>{note}</li>\n" for note in notes)
        return section(texts, "notes", f"<ul>\n{items}</ul>\n")

    def _top(self, tally: Tally[K], name: Callable[[K], str]) -> Iterator[tuple[str, Group]]:
        for key, group in tally.ranked()[: LIMITS.reasons_listed]:
            yield name(key), group
        if (rest := _rest(tally)).count:
            yield self._texts("rest"), rest


def _billed(each: Accounting | KindAccounting) -> list[Cell]:
    return [each.calls, each.maybe_billed, each.same_content, each.same_invoice, each.ledger]


def _rest(tally: Tally[K]) -> Group:
    """Return the sum of the groups that are not among the most frequent."""
    rest = Group()
    rest += tally.rest
    for _, group in tally.ranked()[LIMITS.reasons_listed :]:
        rest += group
    return rest


def _by_currency(group: Group) -> list[tuple[str | None, Sum]]:
    """Return the sums of a group by currency code, then those without a currency, last those without an amount."""
    return sorted(group.sums.items(), key=lambda item: (item[0] is None, item[0] == NOT_STATED, item[0] or ""))


def _main_currency(group: Group) -> str | None:
    """Return the currency of most invoices, None if no invoice has an amount."""
    stated = ((each.count, currency) for currency, each in group.sums.items() if currency is not None)
    return max(stated, default=(0, None))[1]


def _periods(months: dict[str, Group]) -> tuple[str, list[tuple[str, Group]]]:
    """Return the unit, `month` or `year`, and the columns of a chart over time; of years only the latest."""
    dated = sorted(month for month in months if month)
    if not dated:
        return "month", []
    first, last = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (dated[0], dated[-1]))
    if last - first < LIMITS.months_drawn:
        names = (f"{index // 12:04}-{index % 12 + 1:02}" for index in range(first, last + 1))
        return "month", [(name, months.get(name, Group())) for name in names]
    years: dict[str, Group] = {}
    for month in dated:
        year = years.setdefault(month[:4], Group())
        year += months[month]
    return "year", list(years.items())[-LIMITS.years_drawn :]
