"""The sections about people, sellers and tax."""

from __future__ import annotations

from collections.abc import Iterable

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report.collected.aggregate import Aggregate, Invoices
from ekb_async.backlog.results.report.collected.groups import NOT_STATED, OTHERS, Tax
from ekb_async.backlog.results.report.formats import NONE, Formats, shown
from ekb_async.backlog.results.report.sections.money import amount_columns, amount_table, currency_lines, sole_currency
from ekb_async.backlog.results.report.view import Cell, Column, Line, Paragraph, Part, Section, Table
from ekb_async.models import InvoiceKind


def people_section(formats: Formats, aggregate: Aggregate) -> Section:
    """Return the section with one line per person, if rows name any."""
    texts, people = formats.texts, aggregate.people
    if people.groups.keys() <= {""}:
        return Section("people", "", [])
    invoices, verified = aggregate.verified.total, True
    if not invoices.count:
        invoices, verified = aggregate.recognised.total, False
    sole = sole_currency(invoices)
    columns = [
        Column(texts("Person")),
        Column(texts("Row count"), is_number=True),
        Column(texts("Failed rows"), is_number=True),
        *amount_columns(formats, sole, usable=verified),
    ]
    largest, rest = people.largest(LIMITS.people_listed)
    named = [(shown(name) or texts("None stated"), person) for name, person in largest]
    parts: list[Part] = []
    if rest.count:
        named.append((texts("All others"), rest))
        parts.append(_cut(formats, len(largest)))
    rows = []
    for name, person in named:
        group = person.verified if verified else person.recognised
        first, *others = currency_lines(formats, group, sole, usable=verified) or [[Cell(NONE)] * (len(columns) - 3)]
        counts = [Cell(formats.number(person.count)), Cell(formats.number(person.failed))]
        rows.append(Line(Cell(name), [[*counts, *first], *([Cell(""), Cell(""), *line] for line in others)]))
    title = texts("By person")
    table = Table(id="by-person", caption=title, columns=columns, rows=rows, as_cards=True, has_search=len(rows) > 10)
    return Section("people", title, [*parts, table])


def sellers_section(formats: Formats, invoices: Invoices, *, usable: bool) -> Section:
    """Return the section with one line per seller."""
    texts = formats.texts
    if invoices.by_seller.groups.keys() <= {""}:
        return Section("sellers", "", [])
    largest, rest = invoices.by_seller.largest(LIMITS.sellers_listed)
    named = [(Cell(shown(seller) or texts("No seller stated")), group) for seller, group in largest]
    parts: list[Part] = []
    if rest.count:
        named.append((Cell(texts("All others")), rest))
        parts.append(_cut(formats, len(largest)))
    title = texts("By seller")
    table = amount_table(formats, "by-seller", title, texts("Seller"), named, None, usable=usable)
    return Section("sellers", title, [*parts, table])


def _cut(formats: Formats, listed: int) -> Paragraph:
    """Return the remark that a table has only the largest lines."""
    text = formats.texts(
        "The {count:,} with most are listed, the others are summed up in the last line. An export has each; it is made "
        "with:",
        count=listed,
    )
    return Paragraph(text, code="ekb backlog export DB all.xlsx", is_quiet=True)


def tax_section(formats: Formats, invoices: Invoices) -> Section:
    """Return the section of taxes of usable invoices."""
    texts = formats.texts
    if not invoices.tax:
        return Section("tax", "", [])
    by_kind: dict[InvoiceKind, list[tuple[str, Tax]]] = {}
    sums: dict[str, Tax] = {}
    kinds = {}
    for (kind, currency), tax in sorted(invoices.tax.items(), key=lambda item: (-item[1].tax, item[0][1])):
        kinds[kind] = formats.kind(kind)
        by_kind.setdefault(kind, []).append((currency, tax))
        sums.setdefault(currency, Tax()).include(tax)
    codes = {currency for _, currency in invoices.tax}
    sole = next(iter(codes)) if len(codes) == 1 and not codes & {NOT_STATED, OTHERS} else None
    amounts = (texts("Amount without tax"), texts("Tax"), texts("Deductible tax"))
    columns = [
        Column(texts("Invoice kind")),
        *([] if sole is not None else [Column(texts("Currency"))]),
        *(Column(name, is_number=True) for name in (texts("Invoice count"), *amounts)),
    ]
    rows = [Line(kinds[kind], _tax_lines(formats, taxes, sole)) for kind, taxes in by_kind.items()]
    total_line = Line(Cell(texts("Sum")), _tax_lines(formats, sorted(sums.items()), sole)) if len(rows) > 1 else None
    title = texts("Tax")
    notes = [texts("Usable invoices that state a tax. The deductible tax is what the verification returns.")]
    if sole is not None:
        notes.append(texts("All amounts are in {currency}.", currency=formats.currency(sole)))
    table = Table(id="tax-table", caption=title, columns=columns, rows=rows, total=total_line)
    return Section("tax", title, [*(Paragraph(note, is_quiet=True) for note in notes), table])


def _tax_lines(formats: Formats, taxes: Iterable[tuple[str, Tax]], sole: str | None) -> list[list[Cell]]:
    return [
        [
            *([] if sole is not None else [Cell(formats.currency(currency))]),
            Cell(formats.number(each.count)),
            *(
                Cell(NONE if currency == OTHERS else formats.number(amount))
                for amount in (each.net, each.tax, each.deductible)
            ),
        ]
        for currency, each in taxes
    ]
