"""What a page consists of, for the templates: sections with tables, figures and texts.

Texts are plain here; the templates escape them, and isolate each cell in case it is written from right to left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple


class Drawing(str):
    """A drawing in SVG whose texts are escaped, which a template takes as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


class Cell(NamedTuple):
    """A cell: its text, a smaller text below it, and the lengths of two stacked bars behind it, in percent."""

    text: str
    more: str = ""
    bars: tuple[float, float] | None = None


class Column(NamedTuple):
    """A column of a table: its heading, and whether it has numbers."""

    name: str
    is_number: bool = False


class Line(NamedTuple):
    """A row heading and the lines that belong to it, each with a cell for every other column."""

    head: Cell
    lines: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; on a phone it is shown as cards, or scrolls."""

    part: ClassVar = "table"
    id: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Line]
    total: Line | None = None
    as_cards: bool = False
    has_search: bool = False
    is_folded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its title, and a legend if it has several series."""

    part: ClassVar = "chart"
    title: str
    drawn: Drawing
    series: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    part: ClassVar = "heading"
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text; a quiet one explains others."""

    part: ClassVar = "paragraph"
    text: str
    is_quiet: bool = False
    code: str = ""
    """A command shown after the text."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list of texts."""

    part: ClassVar = "items"
    texts: Sequence[str]


Part = Table | Chart | Heading | Paragraph | Items


class Section(NamedTuple):
    """A section of the page; one without parts is left out."""

    id: str
    title: str
    parts: Sequence[Part]


class Card(NamedTuple):
    """A headline figure: name, value, remarks, and the section that has more, "" for none."""

    name: str
    value: str
    remarks: Sequence[str] = ()
    section: str = ""
    tone: str = ""
    """`good`, `bad` or ""."""


class Head(NamedTuple):
    """The beginning of a page."""

    title: str
    sentence: str
    share: Drawing | None
    note: str
    groups: Sequence[Sequence[Card]]
