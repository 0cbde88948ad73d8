"""The sections about duplicates and billed calls."""

from __future__ import annotations

from ekb_async.backlog.results.report.collected.duplicates import Duplicate, Duplicates
from ekb_async.backlog.results.report.formats import NONE, Formats, shown
from ekb_async.backlog.results.report.sections.attention import fitting, row_cell
from ekb_async.backlog.results.report.view import Cell, Column, Line, Paragraph, Part, Section, Table
from ekb_async.backlog.store.transactions.accounting import Accounting, KindAccounting


def duplicates_section(formats: Formats, duplicates: Duplicates) -> Section:
    """Return the section that lists rows with an invoice which an earlier row has."""
    texts = formats.texts
    if not duplicates.count:
        return Section("duplicates", "", [])
    rows = fitting([_line(formats, duplicates, each) for each in duplicates.listed])
    note = texts("These rows show an invoice that another row has already. Its amount counts once in this report.")
    parts: list[Part] = [Paragraph(note, is_quiet=True)]
    if len(rows) < duplicates.count:
        cut = texts(
            "The list has {shown:,} of {count:,}. An export has them all; it is made with:",
            shown=len(rows),
            count=duplicates.count,
        )
        parts.append(Paragraph(cut, code="ekb backlog export DB all.xlsx"))
    columns = [
        Column(texts("File")),
        Column(texts("Person")),
        Column(texts("Invoice number")),
        Column(texts("Amount"), is_number=True),
        Column(texts("Has the invoice of")),
        Column(texts("That row's person")),
        Column(texts("What is the same")),
    ]
    title = texts("Duplicates")
    table = Table(id="duplicate-list", caption=title, columns=columns, rows=rows, as_cards=True, has_search=True)
    return Section("duplicates", title, [*parts, table])


def _line(formats: Formats, duplicates: Duplicates, each: Duplicate) -> Line:
    named, first = each.named, duplicates.firsts.get(each.first)
    other = row_cell(formats, first) if first else Cell(formats.texts("row {number:,}", number=each.first))
    return Line(
        row_cell(formats, named),
        [
            [
                Cell(shown(named.person) or NONE),
                Cell(shown(named.numbers) or NONE),
                Cell(formats.money(each.amount, each.currency)),
                other,
                Cell((shown(first.person) if first else "") or NONE),
                Cell(formats.names.shared_by(each.shared_by) or NONE),
            ]
        ],
    )


def accounting_section(formats: Formats, accounting: Accounting | None) -> Section:
    """Return the section on billed calls made and saved, if there are any."""
    texts = formats.texts
    if accounting is None or not accounting.kinds:
        return Section("accounting", "", [])
    columns = [
        Column(texts("Kind of call")),
        *(
            Column(name, is_number=True)
            for name in (
                texts("Calls sent"),
                texts("Maybe billed without a result"),
                texts("Saved: same file or ID"),
                texts("Saved: same invoice"),
                texts("Saved: answered by the ledger"),
            )
        ),
    ]
    rows = [Line(Cell(formats.names.call(kind)), [_cells(formats, each)]) for kind, each in accounting.kinds.items()]
    total = Line(Cell(texts("Sum")), [_cells(formats, accounting)]) if len(rows) > 1 else None
    title = texts("Billed calls, made and saved")
    note = texts(
        "Calls saved include those of rows still to do. The same file or invoice ID is sent once, and so is an invoice "
        "of which there are several files, such as PDF, OFD and a photo. What the ledger has verified is not sent."
    )
    table = Table(id="accounting-table", caption=title, columns=columns, rows=rows, total=total, as_cards=True)
    return Section("accounting", title, [Paragraph(note, is_quiet=True), table])


def _cells(formats: Formats, each: Accounting | KindAccounting) -> list[Cell]:
    counts = (each.calls, each.maybe_billed, each.same_content, each.same_invoice, each.ledger)
    return [Cell(formats.number(count)) for count in counts]
