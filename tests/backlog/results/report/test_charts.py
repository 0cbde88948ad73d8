"""Charts: round scales, and labels that fit."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from decimal import Decimal
from itertools import pairwise

import pytest

from ekb_async.backlog.results.report import charts
from ekb_async.backlog.results.report.charts import Bar, Caption


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        ("0", "0", ["0", "1"]),
        ("0", "3", ["0", "1", "2", "3"]),
        ("0", "0.7", ["0", "0.2", "0.4", "0.6", "0.8"]),
        ("-120", "950", ["-500", "0", "500", "1000"]),
        ("-8", "0", ["-8", "-6", "-4", "-2", "0"]),
    ],
)
def test_scales_are_round(low: str, high: str, marks: list[str]) -> None:
    """Marks are round, enclose every bar and zero, and are whole numbers if the values are."""
    assert charts.scale([Bar("", [Decimal(low), Decimal(high)], "")]) == [Decimal(mark) for mark in marks]


@pytest.mark.parametrize("count", [1, 7, 36, 60])
def test_labels_do_not_overlap(count: int) -> None:
    """Only as many columns are labelled as fit, and everything lies inside the drawing."""
    bars = [Bar(f"2026-01-{n:02} 18:00", [n, 2], "") for n in range(count)]
    svg = ET.fromstring(charts.columns(Caption("c", "t", "d"), bars, str))  # noqa: S314 - our own
    labels = [
        (float(t.attrib["x"]), charts.text_width(t.text or "")) for t in svg.iter("text") if ":" in (t.text or "")
    ]
    assert all(a + wide / 2 < b - wide / 2 for (a, wide), (b, _) in pairwise(labels))
    width = float(svg.attrib["viewBox"].split()[2])
    assert all(wide / 2 <= x <= width - wide / 2 for x, wide in labels)
    assert all(0 <= float(box.attrib["x"]) <= width - float(box.attrib["width"]) for box in svg.iter("rect"))
