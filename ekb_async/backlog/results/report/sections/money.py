"""The sections about invoices and amounts: by kind, by month, and by reason of those that are not usable."""

from __future__ import annotations

from collections.abc import Sequence

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report import charts
from ekb_async.backlog.results.report.charts import Bar, Caption
from ekb_async.backlog.results.report.collected.aggregate import Invoices
from ekb_async.backlog.results.report.collected.groups import NOT_STATED, OTHERS, Group, Sum
from ekb_async.backlog.results.report.formats import NONE, Formats, shown
from ekb_async.backlog.results.report.view import (
    Cell,
    Chart,
    Column,
    Drawing,
    Heading,
    Line,
    Paragraph,
    Part,
    Section,
    Table,
)


def by_currency(group: Group) -> list[tuple[str | None, Sum]]:
    """Return the sums of a group by currency code, then those without a currency, last those without an amount."""
    order = {None: 3, OTHERS: 2, NOT_STATED: 1}
    return sorted(group.sums.items(), key=lambda item: (order.get(item[0], 0), item[0] or ""))


def kinds_section(formats: Formats, source: str, invoices: Invoices) -> Section:
    """Return the section of amounts by kind of invoice, and for recognised invoices also by month."""
    texts, verified = formats.texts, source == "verified"
    if not invoices.total.count:
        return Section(source, "", [])
    main = main_currency(invoices.total)
    kinds = sorted(invoices.by_kind.ranked(), key=lambda item: -item[1].sums.get(main, Sum()).amount)
    named = [(formats.kind(kind), group) for kind, group in kinds]
    if verified:
        note = texts(
            "Invoices that were verified. Red (credit) invoices are negative and reduce the totals. An invoice counts "
            "once, however many files show it."
        )
        table = amount_table(formats, "by-kind", texts("By invoice kind"), texts("Invoice kind"), named, invoices.total)
        return Section("kinds", texts("By invoice kind"), [Paragraph(note, is_quiet=True), table])
    note = texts(
        "Invoices from OCR alone, not verified. Do not add these to the verified ones: the same invoice may be in both."
    )
    caption = texts("Recognised only, by invoice kind")
    kind_table = amount_table(
        formats, "recognised-by-kind", caption, texts("Invoice kind"), named, invoices.total, usable=False
    )
    months = _month_parts(formats, "recognised", invoices)
    parts = [Paragraph(note, is_quiet=True), kind_table, Heading(texts("By month of the invoice date")), *months]
    return Section("recognised", texts("Recognised only"), parts)


def months_section(formats: Formats, invoices: Invoices) -> Section:
    """Return the section of verified amounts by month."""
    if not invoices.total.count:
        return Section("months", "", [])
    title = formats.texts("By month of the invoice date")
    return Section("months", title, _month_parts(formats, "verified", invoices))


def _month_parts(formats: Formats, source: str, invoices: Invoices) -> list[Part]:
    texts, verified = formats.texts, source == "verified"
    dated = sorted(month for month in invoices.by_month.groups if month)
    latest, older = dated[-LIMITS.months_listed :], dated[: -LIMITS.months_listed]
    groups = invoices.by_month.groups
    rest = Group()
    rest.include(invoices.by_month.rest)
    for month in older:
        rest.include(groups[month])
    named = [(Cell(month), groups[month]) for month in latest]
    if "" in groups:
        named.append((Cell(formats.month("")), groups[""]))
    if rest.count:
        named.append((Cell(texts("All others")), rest))
    caption = texts("By month of the invoice date") if verified else texts("Recognised only, by month")
    table = amount_table(
        formats, f"{source}-by-month", caption, texts("Month"), named, invoices.total, usable=verified, bars=False
    )
    return [*_chart(formats, source, invoices), table]


def _chart(formats: Formats, source: str, invoices: Invoices) -> list[Part]:
    """Return the chart of amounts over time in the main currency, nothing if there are none."""
    texts, main = formats.texts, main_currency(invoices.total)
    span, groups = _periods(invoices.by_month.groups)
    sums = [(name, group.sums.get(main, Sum())) for name, group in groups]
    if main is None or len(sums) < 2 or not any(each.count for _, each in sums):
        return []
    currency = formats.currency(main)
    bars = [
        Bar(name, (each.usable_amount, each.amount - each.usable_amount), formats.number(each.amount))
        for name, each in sums
    ]
    low, high = (formats.number(end(each.amount for _, each in sums)) for end in (min, max))
    described = texts(
        "{count:,} bars, from {low} to {high}; the table below has the figures.", count=len(bars), low=low, high=high
    )
    code = {"currency": currency}
    titles = {
        ("verified", "month"): texts("Amount by month ({currency})", **code),
        ("verified", "year"): texts("Amount by year ({currency})", **code),
        ("recognised", "month"): texts("Recognised amount by month ({currency})", **code),
        ("recognised", "year"): texts("Recognised amount by year ({currency})", **code),
    }
    title = titles[source, span]
    drawn = charts.columns(Caption(f"{source}-{span}", title, described), bars, formats.brief)
    series = [texts("usable"), texts("not usable")] if source == "verified" else []
    others = len(invoices.total.sums.keys() - {None}) > 1
    note = texts("The chart has {currency} only; the table has all currencies.", currency=currency) if others else ""
    return [Chart(title=title, drawn=Drawing(drawn), series=series, note=note)]


def refused_section(formats: Formats, invoices: Invoices) -> Section:
    """Return the section that sums up unusable invoices by reason."""
    texts = formats.texts
    largest, rest = invoices.refused.largest(LIMITS.reasons_listed)
    if not largest:
        return Section("refused", "", [])
    named = [
        (Cell(shown(reason, LIMITS.reason_characters) or texts("No reason given")), each) for reason, each in largest
    ]
    if rest.count:
        named.append((Cell(texts("All others")), rest))
    title = texts("Not usable, by reason")
    reason = texts("Reason, in the words of the verification")
    table = amount_table(formats, "by-reason", title, reason, named, None, usable=False, bars=False)
    return Section("refused", title, [table])


def amount_table(
    formats: Formats,
    name: str,
    caption: str,
    first: str,
    groups: Sequence[tuple[Cell, Group]],
    total: Group | None,
    *,
    usable: bool = True,
    bars: bool = True,
) -> Table:
    """Return the table of counts and amounts, with one line per group and currency."""
    everything = Group()
    for _, group in groups:
        everything.include(group)
    sole, main = sole_currency(everything), main_currency(everything)
    columns = [Column(first), *amount_columns(formats, sole, usable=usable)]
    most = max((abs(group.sums[main].amount) for _, group in groups if main in group.sums), default=0)
    rows = []
    for head, group in groups:
        bar = None
        if bars and len(groups) > 1 and most and main in group.sums:
            mine = group.sums[main]
            good = max(0.0, float(mine.usable_amount / most) * 100)
            bar = (round(good, 1), round(max(0.0, float(mine.amount / most) * 100 - good), 1))
        rows.append(Line(head._replace(bars=bar), currency_lines(formats, group, sole, usable=usable)))
    foot = None
    if total is not None and len(rows) > 1:
        foot = Line(Cell(formats.texts("Sum")), currency_lines(formats, total, sole, usable=usable))
    return Table(id=name, caption=caption, columns=columns, rows=rows, total=foot, has_search=len(rows) > 10)


def amount_columns(formats: Formats, sole: str | None, *, usable: bool) -> list[Column]:
    """Return the columns that `currency_lines` fills."""
    texts = formats.texts
    if sole is None:
        currency, amount, usable_amount = [Column(texts("Currency"))], texts("Amount"), texts("Usable amount")
    else:
        code = formats.currency(sole)
        currency, amount = [], texts("Amount ({currency})", currency=code)
        usable_amount = texts("Usable amount ({currency})", currency=code)
    columns = [*currency, Column(texts("Invoice count"), is_number=True), Column(amount, is_number=True)]
    if usable:
        columns += [Column(texts("Usable count"), is_number=True), Column(usable_amount, is_number=True)]
    return columns


def currency_lines(formats: Formats, group: Group, sole: str | None, *, usable: bool) -> list[list[Cell]]:
    """Return a line for each currency of a group; if `sole` is the only one of a table, it is not repeated."""
    lines = []
    for currency, each in by_currency(group):
        amounts = (each.amount, each.usable_amount) if currency not in {None, OTHERS} else (None, None)
        amount, usable_amount = (NONE if value is None else formats.number(value) for value in amounts)
        line = [] if sole is not None else [Cell(formats.currency(currency))]
        line += [Cell(formats.number(each.count)), Cell(amount)]
        lines.append([*line, Cell(formats.number(each.usable)), Cell(usable_amount)] if usable else line)
    return lines


def sole_currency(group: Group) -> str | None:
    """Return the currency that all invoices have, None if there are several, or amounts without one."""
    codes = group.sums.keys()
    return next(iter(codes)) if len(codes) == 1 and not codes & {None, NOT_STATED, OTHERS} else None


def main_currency(group: Group) -> str | None:
    """Return the currency of most invoices, None if no invoice has an amount."""
    stated = ((each.count, code) for code, each in group.sums.items() if code is not None and code != OTHERS)
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
        years.setdefault(month[:4], Group()).include(months[month])
    return "year", list(years.items())[-LIMITS.years_drawn :]
