"""Pieces of HTML: text made safe, tables, figures.

Whatever others wrote goes through `safe`, as a text that stands by itself whatever direction it is written in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import NamedTuple

from ekb_async.backlog.results.report.i18n import Named, Words

Cell = str | int | Decimal | Named | None

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMERIC = ' class="number"'


class Row(NamedTuple):
    """A head and the lines that belong to it."""

    head: str | Named
    lines: Sequence[Sequence[Cell]]


def safe(text: str) -> str:
    """A text that is nothing but text in HTML, and can be written as UTF-8."""
    return escape(_UNSEEN.sub("\ufffd", text))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph, nothing for no text."""
    return f"<p{_class(kind)}>{safe(text)}</p>\n" if text else ""


def section(name: str, heading: str, note: str, parts: Iterable[str]) -> str:
    """A part of the page under its own heading."""
    return f'<section id="{name}">\n<h2>{safe(heading)}</h2>\n{paragraph(note, "note")}{"".join(parts)}</section>\n'


def cards(words: Words, figures: Iterable[tuple[str, Cell, str]]) -> str:
    """Headline figures: what it is, how much, and what to add to it."""
    shown = (
        f"<div><dt>{safe(name)}</dt><dd>{_cell(words, value)}</dd>"
        + (f'<dd class="more">{safe(more)}</dd>' if more else "")
        + "</div>\n"
        for name, value, more in figures
    )
    return f'<dl class="figures">\n{"".join(shown)}</dl>\n'


def figure(title: str, drawn: str, series: Sequence[str] = (), note: str = "") -> str:
    """A chart under its title, with a key to its series where it has several."""
    keys = "".join(
        f'<span class="key"><i class="k{place}"></i>{safe(name)}</span>' for place, name in enumerate(series)
    )
    return (
        f'<figure>\n<figcaption>{safe(title)}{keys}</figcaption>\n<div class="wide">{drawn}</div>\n'
        f"{paragraph(note, 'note')}</figure>\n"
    )


def table(
    words: Words, caption: str, columns: Sequence[str], rows: Iterable[Row], *, texts: int, total: Row | None = None
) -> str:
    """A table whose first `texts` columns hold texts and the others numbers."""
    head = "".join(
        f'<th scope="col"{"" if place < texts else _NUMERIC}>{safe(name)}</th>' for place, name in enumerate(columns)
    )
    body = "".join(f"<tbody>\n{_row(words, row, texts)}</tbody>\n" for row in rows)
    foot = f"<tfoot>\n{_row(words, total, texts)}</tfoot>\n" if total else ""
    return (
        f'<div class="wide"><table>\n<caption>{safe(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"{body}{foot}</table></div>\n"
    )


def _row(words: Words, row: Row, texts: int) -> str:
    span = f' rowspan="{len(row.lines)}"' if len(row.lines) > 1 else ""
    head = f'<th scope="{"rowgroup" if span else "row"}"{span}>{_cell(words, row.head)}</th>'
    lines = (
        "".join(
            f"<td{'' if place < texts else _NUMERIC}>{_cell(words, cell)}</td>" for place, cell in enumerate(line, 1)
        )
        for line in row.lines
    )
    return "".join(f"<tr>{'' if place else head}{line}</tr>\n" for place, line in enumerate(lines))


def _cell(words: Words, cell: Cell) -> str:
    match cell:
        case None:
            return "–"
        case int() | Decimal():
            return words.number(cell)
        case Named():
            return f"<bdi>{safe(cell.name)}</bdi><small><bdi>{safe(cell.more)}</bdi></small>"
        case _:
            return f"<bdi>{safe(cell)}</bdi>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
