"""The section about calls that were purged."""

from __future__ import annotations

from ekb_async.backlog.results.report.formats import Formats
from ekb_async.backlog.results.report.view import Cell, Column, Line, Paragraph, Section, Table
from ekb_async.backlog.store.transactions.purged import Purged


def purged_section(formats: Formats, purged: Purged) -> Section:
    """Return the section that sums up what was purged, if anything was."""
    texts = formats.texts
    if not purged.calls:
        return Section("purged", "", [])
    note = texts(
        "{count:,} row was deleted with its result because it was old: {done:,} done, {failed:,} failed. It is in no "
        "other figure of this page but those of billed calls.",
        "{count:,} rows were deleted with their results because they were old: {done:,} done, {failed:,} failed. They "
        "are in no other figure of this page but those of billed calls.",
        count=purged.rows,
        done=purged.done,
        failed=purged.failed,
    )
    paid = texts(
        "Billed calls sent for them: {count:,}, of which {lost:,} were left without an answer.",
        count=purged.billed,
        lost=purged.maybe_billed,
    )
    title = texts("Purged")
    parts: list[Paragraph | Table] = [Paragraph(note, is_quiet=True), Paragraph(paid, is_quiet=True)]
    if purged.invoices:
        parts.append(_table(formats, title, purged))
    return Section("purged", title, parts)


def _table(formats: Formats, caption: str, purged: Purged) -> Table:
    """Return the table of the invoices that were in the results."""
    texts = formats.texts
    columns = [
        Column(texts("Kind of call")),
        Column(texts("Result")),
        Column(texts("Currency")),
        Column(texts("Invoices"), is_number=True),
        Column(texts("Total"), is_number=True),
    ]
    rows = [
        Line(
            Cell(formats.names.call(each.kind)),
            [
                [
                    Cell(formats.names.verdict(each.verdict)),
                    Cell(formats.currency(each.currency)),
                    Cell(formats.number(each.invoices)),
                    Cell(formats.number(each.total)),
                ]
            ],
        )
        for each in purged.invoices
    ]
    return Table(id="purged-table", caption=caption, columns=columns, rows=rows, as_cards=True)
