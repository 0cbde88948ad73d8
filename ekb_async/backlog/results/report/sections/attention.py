"""The list of what needs attention: whose it is, how much, why, and what to do."""

from __future__ import annotations

from html import escape

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report.collected.attention import Attention, Finding, Named
from ekb_async.backlog.results.report.formats import NONE, Formats, one_line, shown
from ekb_async.backlog.results.report.view import Cell, Column, Line, Paragraph, Part, Section, Table

_MARKUP_BYTES = 500
"""About what the tags of an entry take."""


def attention_section(formats: Formats, attention: Attention) -> Section:
    """Return the section that lists failed rows and unusable invoices."""
    texts = formats.texts
    title = texts("Needs attention")
    if not attention.count:
        return Section("attention", title, [Paragraph(texts("Nothing has failed, and all invoices are usable."))])
    rows = fitting([_line(formats, each) for each in attention.listed])
    parts: list[Part] = []
    if len(rows) < attention.count:
        cut = texts(
            "The list has {shown:,} of {count:,}. An export has them all; it is made with:",
            shown=len(rows),
            count=attention.count,
        )
        parts.append(Paragraph(cut, code="ekb backlog export DB attention.xlsx --state failed"))
        if attention.count > attention.failed:
            invoices = texts("Without --state it also has the invoices that are not usable.")
            parts.append(Paragraph(invoices, is_quiet=True))
    columns = [
        Column(texts("File")),
        Column(texts("Person")),
        Column(texts("Invoice number")),
        Column(texts("Amount"), is_number=True),
        Column(texts("Reason")),
        Column(texts("What to do")),
    ]
    table = Table(id="attention-list", caption=title, columns=columns, rows=rows, as_cards=True, has_search=True)
    return Section("attention", title, [*parts, table])


def fitting(lines: list[Line]) -> list[Line]:
    """Return the first lines of a list that take no more than `LIMITS.list_bytes` on the page."""
    left = LIMITS.list_bytes
    for count, line in enumerate(lines):
        cells = (line.head, *(cell for each in line.lines for cell in each))
        left -= _MARKUP_BYTES + sum(len(escape(f"{cell.text}{cell.more}").encode()) for cell in cells)
        if left < 0:
            return lines[:count]
    return lines


def row_cell(formats: Formats, named: Named) -> Cell:
    """Return the cell that names a row: its file, and below its number and reference."""
    number = formats.texts("row {number:,}", number=named.row)
    more = f"{number} · {shown(named.ref)}" if named.ref else number
    return Cell(shown(named.file) or number, more if named.file else shown(named.ref))


def _line(formats: Formats, finding: Finding) -> Line:
    names, texts, named = formats.names, formats.texts, finding.named
    if finding.task is not None:
        kind, reason = names.state("failed"), names.reason(finding.task)
        advice = names.advice(finding.task.error_type or "", finding.task.hint)
    elif finding.message is None:
        kind, reason = texts("No invoice"), texts("No invoice was found in the file.")
        advice = texts("Look at the file: if it shows an invoice, hand in a clearer picture.")
    else:
        kind, reason = names.not_usable(None), names.not_usable(one_line(finding.message))
        advice = names.about_unusable()
    limit = LIMITS.reason_characters
    return Line(
        row_cell(formats, named),
        [
            [
                Cell(shown(named.person) or NONE),
                Cell(shown(named.numbers) or NONE),
                Cell(formats.money(finding.amount, finding.currency)),
                Cell(shown(one_line(reason), limit), "" if kind == reason else kind),
                Cell(shown(advice, limit)),
            ]
        ],
    )
