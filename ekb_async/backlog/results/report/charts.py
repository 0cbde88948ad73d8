"""Charts as SVG, 800 wide: columns along a time axis, and one bar of shares.

A bar is a stack of parts, one per series; negative parts extend below zero. Colours and fonts come from the page's CSS
classes (`s0`, `s1`, …), so text widths are estimated here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from html import escape
from typing import NamedTuple
from unicodedata import east_asian_width

_WIDTH = 800
_HEIGHT = 260
_TOP, _FOOT = 14, 30
_EM = 12


class Bar(NamedTuple):
    """A bar: its label, its parts by series, and its value as text, for the tooltip."""

    label: str
    parts: Sequence[Decimal | int]
    value: str


class Caption(NamedTuple):
    """The description of a chart for screen readers; `name` is unique on the page."""

    name: str
    title: str
    description: str


def columns(caption: Caption, bars: Sequence[Bar], axis: Callable[[Decimal], str]) -> str:
    """Return vertical bars from left to right; `axis` formats the figures of the scale."""
    marks = scale(bars)
    figures = [axis(mark) for mark in marks]
    left = max(map(text_width, figures)) + 10
    slot = (_WIDTH - left) / len(bars)
    floor = _HEIGHT - _FOOT

    y = _position(marks, floor, _TOP)
    drawn = [
        _line(left, y(mark), _WIDTH, y(mark), "zero" if not mark else "grid")
        + _text(left - 8, y(mark) + 4, figure, "end")
        for mark, figure in zip(marks, figures, strict=True)
    ]
    thick = min(slot * 0.72, 44)
    free = 0.0
    for index, bar in enumerate(bars):
        middle = left + slot * (index + 0.5)
        boxes = (
            _box(middle - thick / 2, min(y(a), y(b)), thick, abs(y(a) - y(b)), series)
            for series, a, b in _stack(bar.parts)
        )
        drawn.append(_with_title(bar, boxes))
        half = text_width(bar.label) / 2
        centre = min(max(middle, half), _WIDTH - half)
        if centre - half >= free:
            drawn.append(_text(centre, floor + 20, bar.label, "middle"))
            free = centre + half + _EM
    return _svg(caption, _HEIGHT, drawn)


def share(caption: Caption, bar: Bar) -> str:
    """Return one bar over the full width that shows the shares of its parts."""
    total = Decimal(sum(bar.parts)) or Decimal(1)
    boxes = (
        _box(float(a / total) * _WIDTH, 0, float((b - a) / total) * _WIDTH, 10, series)
        for series, a, b in _stack(bar.parts)
    )
    return _svg(caption, 10, [_with_title(bar, boxes)], "none")


def scale(bars: Iterable[Bar]) -> list[Decimal]:
    """Return round marks that cover all bars and zero; they are whole numbers if the bars are."""
    ends = [Decimal(0), *(end for bar in bars for _, _, end in _stack(bar.parts))]
    low, high = min(ends), max(ends)
    if low == high:
        high = Decimal(1)
    rough = (high - low) / 4
    power = Decimal(1).scaleb(rough.adjusted())
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    if all(end == end.to_integral_value() for end in ends):
        step = max(step, Decimal(1))
    first = int((low / step).to_integral_value(ROUND_FLOOR))
    last = int((high / step).to_integral_value(ROUND_CEILING))
    return [step * index for index in range(first, last + 1)]


def _position(marks: Sequence[Decimal], first: int, last: int) -> Callable[[Decimal], float]:
    """Return the position of a value on an axis from `first`, the least mark, to `last`."""
    return lambda value: first + float((value - marks[0]) / (marks[-1] - marks[0])) * (last - first)


def text_width(text: str) -> int:
    """Return the approximate width of a text; Chinese characters are square."""
    return math.ceil(sum(_EM if east_asian_width(char) in "WF" else _EM * 0.58 for char in text))


def _stack(parts: Sequence[Decimal | int]) -> Iterator[tuple[int, Decimal, Decimal]]:
    """Yield series, start and end of each part; positive parts are stacked upwards, negative ones downwards."""
    above = below = Decimal(0)
    for series, part in enumerate(parts):
        if part > 0:
            yield series, above, above + part
            above += part
        elif part < 0:
            yield series, below, below + part
            below += part


def _with_title(bar: Bar, boxes: Iterable[str]) -> str:
    return f"<g><title>{escape(f'{bar.label}: {bar.value}')}</title>{''.join(boxes)}</g>"


def _box(x: float, y: float, width: float, height: float, series: int) -> str:
    return f'<rect class="s{series}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="mark" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(caption: Caption, height: int, drawn: Iterable[str], stretch: str = "xMidYMid") -> str:
    name = escape(caption.name)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="{stretch}" role="img" '
        f'aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{escape(caption.title)}</title>'
        f'<desc id="{name}-description">{escape(caption.description)}</desc>{"".join(drawn)}</svg>'
    )
