"""The page of a report, section by section.

Each section has its figures as a table; a chart repeats what a picture shows better. A chart of amounts has the one
currency that most invoices are in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from importlib.resources import files
from typing import TypeVar

from ekb_async.backlog.results.report import charts
from ekb_async.backlog.results.report.aggregate import NOT_STATED, Cause, Findings, Group, Invoices, Sum, Tally, Work
from ekb_async.backlog.results.report.charts import Bar, Caption
from ekb_async.backlog.results.report.html import Cell, Row, cards, figure, paragraph, safe, section, table
from ekb_async.backlog.results.report.i18n import Named, Words

K = TypeVar("K", str, Cause)

_REASONS = 20
_TENANTS = 200
_MONTHS_DRAWN = 36
_YEARS_DRAWN = 40
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Page:
    """Writes findings down in one language."""

    def __init__(self, findings: Findings, words: Words) -> None:
        self._findings = findings
        self._words = words

    def html(self, title: str, now: datetime) -> str:
        """The whole document."""
        words, findings = self._words, self._findings
        body = [self._head(title, now)]
        if findings.work:
            body.append(self._figures())
            body += self._invoices("verified", findings.verified)
            body += self._invoices("recognised", findings.recognised)
            body += [self._failures(), self._throughput(), self._work(), self._tenants(), self._notes()]
        style = files("ekb_async.backlog.results.report").joinpath("report.css").read_text(encoding="utf-8")
        return (
            f'<!DOCTYPE html>\n<html lang="{words.html_lang}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{safe(title)} – {words('report')}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
            f"<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
        )

    def _head(self, title: str, now: datetime) -> str:
        words, states = self._words, self._findings.states
        rows, done, failed = states.total(), states["done"], states["failed"]
        counts = {"rows": rows, "done": done, "failed": failed, "open": rows - done - failed}
        state = (
            "nothing" if not rows else "all_done" if done == rows else "under_way" if counts["open"] else "all_ended"
        )
        sentence = words(state, **{name: words.number(count) for name, count in counts.items()})
        drawn = ""
        if rows:
            caption = Caption("share", words("progress"), sentence)
            drawn = charts.share(caption, Bar(words("progress"), (done, failed, counts["open"]), sentence))
        times = words("made", time=words.time(now))
        throughput = self._findings.throughput
        if throughput.first and throughput.last:
            first, last = words.time(throughput.first), words.time(throughput.last)
            times = f"{words('calls_ended', first=first, last=last)} · {times}"
        return (
            f"<header>\n{paragraph(words('report'), 'over')}<h1><bdi>{safe(title)}</bdi></h1>\n"
            f"{paragraph(sentence, 'lead')}{drawn}{paragraph(times, 'note')}</header>\n"
        )

    def _figures(self) -> str:
        words, states = self._words, self._findings.states
        running = words("running", count=words.number(states["running"])) if states["running"] else ""
        rows: list[tuple[str, Cell, str]] = [
            (words("rows"), states.total(), ""),
            (words("done"), states["done"], ""),
            (words("failed"), states["failed"], ""),
            (words("pending"), states["pending"] + states["running"], running),
        ]
        lost = sum(work.maybe_billed for work in self._findings.work.values())
        found: list[tuple[str, Cell, str]] = [
            *self._invoice_figures("verified", self._findings.verified.total),
            *self._invoice_figures("recognised", self._findings.recognised.total),
            (words("maybe_billed"), lost, words("maybe_billed_note") if lost else ""),
        ]
        return cards(words, rows) + cards(words, found)

    def _invoice_figures(self, source: str, total: Group) -> Iterator[tuple[str, Cell, str]]:
        words, judged = self._words, source == "verified"
        if not total.count:
            return
        usable = words.number(sum(each.usable for each in total.sums.values()))
        yield words(f"{source}_found"), total.count, words("usable_count", count=usable) if judged else ""
        for currency, each in _by_currency(total):
            if currency is not None:
                usable = words("usable_of_it", amount=words.number(each.usable_amount)) if judged else ""
                yield words(f"{source}_total", currency=words.currency(currency)), each.amount, usable

    def _invoices(self, source: str, invoices: Invoices) -> Iterator[str]:
        words, total = self._words, invoices.total
        if not total.count:
            return
        main = _main_currency(total)
        kinds = sorted(invoices.by_kind.ranked(), key=lambda item: -item[1].sums.get(main, Sum()).amount)
        months = sorted(invoices.by_month.groups.items(), key=lambda item: (not item[0], item[0]))
        named_months = [(words.month(month), group) for month, group in months]
        if invoices.by_month.rest.count:
            named_months.append((words("rest"), invoices.by_month.rest))
        parts = [
            f"<h3>{words('by_kind')}</h3>\n",
            self._drawn(source, total, "kind", [(words.kind(kind), group) for kind, group in kinds]),
            self._sums(source, "kind", [(words.kind_with_label(kind), group) for kind, group in kinds], total),
            f"<h3>{words('by_month')}</h3>\n",
            self._drawn(source, total, *_periods(invoices.by_month.groups)),
            self._sums(source, "month", named_months, total),
        ]
        if source == "verified":
            parts += [f"<h3>{words('refused')}</h3>\n", self._refused(invoices.refused)]
        yield section(source, words(source), words(f"{source}_note"), parts)

    def _drawn(self, source: str, total: Group, span: str, groups: Sequence[tuple[str, Group]]) -> str:
        """The chart of amounts in the main currency."""
        words = self._words
        main = _main_currency(total)
        sums = [(name, group.sums.get(main, Sum())) for name, group in groups]
        if span == "kind":
            sums = [(name, each) for name, each in sums if each.count]
        if main is None or not any(each.count for _, each in sums):
            return ""
        currency = words.currency(main)
        bars = [
            Bar(name, (each.usable_amount, each.amount - each.usable_amount), words.number(each.amount))
            for name, each in sums
        ]
        low, high = (words.number(end(each.amount for _, each in sums)) for end in (min, max))
        described = words("amounts_from_to", count=words.number(len(bars)), low=low, high=high)
        caption = Caption(f"{source}-{span}", words(f"chart_by_{span}", currency=currency), described)
        drawn = charts.rows(caption, bars) if span == "kind" else charts.columns(caption, bars, words.brief)
        series = [words("usable"), words("not_usable")] if source == "verified" else []
        note = words("other_currencies", currency=currency) if len(total.sums.keys() - {None}) > 1 else ""
        return figure(caption.title, drawn, series, note)

    def _sums(self, source: str, first: str, groups: Iterable[tuple[str | Named, Group]], total: Group) -> str:
        """Counts and amounts, one line per group and currency."""
        words, judged = self._words, source == "verified"
        columns = [first, "currency", "count", "amount", *(["usable_invoices", "usable_amount"] if judged else [])]
        return table(
            words,
            words(f"by_{first}"),
            [words(column) for column in columns],
            [self._sum(name, group, judged=judged) for name, group in groups],
            texts=2,
            total=self._sum(words("total"), total, judged=judged),
        )

    def _sum(self, name: str | Named, group: Group, *, judged: bool) -> Row:
        lines: list[list[Cell]] = []
        for currency, each in _by_currency(group):
            known = currency is not None
            line: list[Cell] = [self._words.currency(currency), each.count, each.amount if known else None]
            if judged:
                line += [each.usable, each.usable_amount if known else None]
            lines.append(line)
        return Row(name, lines)

    def _refused(self, refused: Tally[str]) -> str:
        words = self._words
        if not refused.groups:
            return paragraph(words("none_refused"))
        columns = [words(column) for column in ("reason", "currency", "count", "amount")]
        groups = self._top(refused, lambda reason: reason or words("no_reason"))
        rows = [self._sum(reason, group, judged=False) for reason, group in groups]
        return table(words, words("refused"), columns, rows, texts=2)

    def _failures(self) -> str:
        words, failures = self._words, self._findings.failures
        if not failures.groups:
            return section("failures", words("failures"), "", [paragraph(words("none_failed"))])
        columns = [words(column) for column in ("cause", "what_to_do", "failed_rows")]
        rows = [
            Row(words.cause(cause), [[words.advice(cause), group.count]])
            for cause, group in failures.ranked()[:_REASONS]
        ]
        if (rest := _rest(failures)).count:
            rows.append(Row(words("rest"), [[None, rest.count]]))
        listed = table(words, words("failures"), columns, rows, texts=2)
        return section("failures", words("failures"), words("retry"), [listed])

    def _throughput(self) -> str:
        words, throughput = self._words, self._findings.throughput
        columns = list(throughput.columns())
        if not columns:
            return section("throughput", words("throughput"), "", [paragraph(words("no_calls"))])
        one_day = columns[0].start.date() == columns[-1].start.date()
        bars = [
            Bar(words.column(start, throughput.width, one_day=one_day), (done, failed), words.number(done + failed))
            for start, done, failed in columns
        ]
        title = words("calls_per", width=words.width(throughput.width))
        most = words.number(max(done + failed for _, done, failed in columns))
        described = words("calls_from_to", first=bars[0].label, last=bars[-1].label, most=most)
        drawn = charts.columns(Caption("throughput-chart", title, described), bars, words.brief)
        heads = [words(head) for head in ("from_time", "done", "failed")]
        rows = [Row(words.time(start), [[done, failed]]) for start, done, failed in columns if done or failed]
        listed = table(words, title, heads, rows, texts=1)
        details = f"<details><summary>{words('show_figures')}</summary>\n{listed}</details>\n"
        series = [words("done"), words("failed")]
        return section("throughput", words("throughput"), "", [figure(title, drawn, series), details])

    def _work(self) -> str:
        words = self._words
        listed = self._listed("work", "call", ((words(kind), work) for kind, work in self._findings.work.items()))
        return section("work", words("work"), "", [listed])

    def _tenants(self) -> str:
        """A line for each tenant, nothing where there is none."""
        words, tenants = self._words, self._findings.tenants
        if tenants.keys() <= {""}:
            return ""
        ranked = sorted(tenants.items(), key=lambda item: (-item[1].states.total(), item[0]))
        shown = [(tenant or words("no_tenant"), work) for tenant, work in ranked[:_TENANTS]]
        if ranked[_TENANTS:]:
            rest = Work()
            for _, work in ranked[_TENANTS:]:
                rest += work
            shown.append((words("rest"), rest))
        return section("tenants", words("tenants"), "", [self._listed("tenants", "tenant", shown)])

    def _listed(self, caption: str, first: str, works: Iterable[tuple[str, Work]]) -> str:
        words = self._words
        columns = (first, "rows", "done", "failed", "pending", "shared", "sent", "maybe_billed_short")
        rows = []
        for name, work in works:
            states = work.states
            by_state = [states.total(), states["done"], states["failed"], states["pending"] + states["running"]]
            rows.append(Row(name, [[*by_state, work.shared, work.sent, work.maybe_billed]]))
        return table(words, words(caption), [words(column) for column in columns], rows, texts=1)

    def _notes(self) -> str:
        words, unreadable = self._words, self._findings.unreadable
        notes = [words(note) for note in ("note_currency", "note_shared", "note_found", "note_texts")]
        if unreadable:
            notes.append(words("note_unreadable", count=words.number(unreadable)))
        items = "".join(f"<li>{note}</li>\n" for note in notes)
        return section("notes", words("notes"), "", [f"<ul>\n{items}</ul>\n"])

    def _top(self, tally: Tally[K], name: Callable[[K], str]) -> Iterator[tuple[str, Group]]:
        for key, group in tally.ranked()[:_REASONS]:
            yield name(key), group
        if (rest := _rest(tally)).count:
            yield self._words("rest"), rest


def _rest(tally: Tally[K]) -> Group:
    """What is not among the most frequent groups."""
    rest = Group()
    rest += tally.rest
    for _, group in tally.ranked()[_REASONS:]:
        rest += group
    return rest


def _by_currency(group: Group) -> list[tuple[str | None, Sum]]:
    """The currencies of a group in their order; behind them what has none, and last what has no amount."""
    return sorted(group.sums.items(), key=lambda item: (item[0] is None, item[0] == NOT_STATED, item[0] or ""))


def _main_currency(group: Group) -> str | None:
    """The currency of most invoices, None if there is no amount."""
    stated = ((each.count, currency) for currency, each in group.sums.items() if currency is not None)
    return max(stated, default=(0, None))[1]


def _periods(months: dict[str, Group]) -> tuple[str, list[tuple[str, Group]]]:
    """The columns of a chart over time: every month if they are few, else the years that have invoices."""
    dated = sorted(month for month in months if month)
    if not dated:
        return "month", []
    first, last = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (dated[0], dated[-1]))
    if last - first < _MONTHS_DRAWN:
        names = (f"{place // 12:04}-{place % 12 + 1:02}" for place in range(first, last + 1))
        return "month", [(name, months.get(name, Group())) for name in names]
    years: dict[str, Group] = {}
    for month in dated:
        year = years.setdefault(month[:4], Group())
        year += months[month]
    return "year", list(years.items())[-_YEARS_DRAWN:]
