"""Building blocks of HTML: escaped text, tables, figures.

Text from outside goes through `safe`; in cells it is also isolated, in case it is written from right to left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import NamedTuple

from ekb_async.backlog.results.report.i18n import Named, Texts

Cell = str | int | Decimal | Named | None

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMERIC = ' class="number"'


class Row(NamedTuple):
    """A row heading and the lines that belong to it."""

    head: str | Named
    lines: Sequence[Sequence[Cell]]


def safe(text: str) -> str:
    """Return a text escaped for HTML, with characters replaced that HTML or UTF-8 cannot have."""
    return escape(_UNSEEN.sub("\ufffd", text))


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph, or "" for an empty text."""
    return f"<p{_class(kind)}>{safe(text)}</p>\n" if text else ""


def section(texts: Texts, name: str, *parts: str, note: str = "") -> str:
    """Return a section of the page; its heading is the text `name`, its note the text `note`."""
    remark = paragraph(texts(note), "note") if note else ""
    return f'<section id="{name}">\n<h2>{safe(texts(name))}</h2>\n{remark}{"".join(parts)}</section>\n'


def cards(texts: Texts, figures: Iterable[tuple[str, Cell, str]]) -> str:
    """Return headline figures; each is a name, a value and an optional remark."""
    shown = (
        f"<div><dt>{safe(name)}</dt><dd>{_cell(texts, value)}</dd>"
        + (f'<dd class="more">{safe(more)}</dd>' if more else "")
        + "</div>\n"
        for name, value, more in figures
    )
    return f'<dl class="figures">\n{"".join(shown)}</dl>\n'


def figure(title: str, drawn: str, series: Sequence[str] = (), note: str = "") -> str:
    """Return a chart with its title, and a legend if it has several series."""
    keys = "".join(
        f'<span class="key"><i class="k{index}"></i>{safe(name)}</span>' for index, name in enumerate(series)
    )
    return (
        f'<figure>\n<figcaption>{safe(title)}{keys}</figcaption>\n<div class="wide">{drawn}</div>\n'
        f"{paragraph(note, 'note')}</figure>\n"
    )


def table(
    texts: Texts,
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    text_columns: int,
    total: Row | None = None,
) -> str:
    """Return a table whose first `text_columns` columns hold text, the others numbers; `columns` are names of texts."""
    head = "".join(
        f'<th scope="col"{"" if index < text_columns else _NUMERIC}>{safe(texts(name))}</th>'
        for index, name in enumerate(columns)
    )
    body = "".join(f"<tbody>\n{_row(texts, row, text_columns)}</tbody>\n" for row in rows)
    foot = f"<tfoot>\n{_row(texts, total, text_columns)}</tfoot>\n" if total else ""
    return (
        f'<div class="wide"><table>\n<caption>{safe(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"{body}{foot}</table></div>\n"
    )


def _row(texts: Texts, row: Row, text_columns: int) -> str:
    span = f' rowspan="{len(row.lines)}"' if len(row.lines) > 1 else ""
    head = f'<th scope="{"rowgroup" if span else "row"}"{span}>{_cell(texts, row.head)}</th>'
    lines = (
        "".join(
            f"<td{'' if index < text_columns else _NUMERIC}>{_cell(texts, cell)}</td>"
            for index, cell in enumerate(line, 1)
        )
        for line in row.lines
    )
    return "".join(f"<tr>{'' if index else head}{line}</tr>\n" for index, line in enumerate(lines))


def _cell(texts: Texts, cell: Cell) -> str:
    match cell:
        case None:
            return "–"
        case int() | Decimal():
            return texts.number(cell)
        case Named():
            return f"<bdi>{safe(cell.name)}</bdi><small><bdi>{safe(cell.more)}</bdi></small>"
        case _:
            return f"<bdi>{safe(cell)}</bdi>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
