"""Metrics in the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator

from ekb_async.backlog.metrics.figures import BacklogMetrics
from ekb_async.backlog.metrics.series import SERIES, Attributes, Sample, Series

_IN_LABELS = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def exposition(figures: BacklogMetrics, name: str | None = None) -> bytes:
    """Return the figures as a page; each series has the label `backlog` with a name, by default that of the backlog."""
    backlog = figures.backlog if name is None else name
    return "".join(line for series in SERIES for line in _lines(series, figures, backlog)).encode()


def _lines(series: Series, figures: BacklogMetrics, backlog: str) -> Iterator[str]:
    name = series.prometheus_name
    yield f"# HELP {name} {series.description}\n# TYPE {name} gauge\n"
    for value, attributes in map(Sample._make, series.samples(figures)):
        yield f"{name}{_labels({'backlog': backlog, **attributes})} {value!r}\n"


def _labels(attributes: Attributes) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in attributes.items())
    return f"{{{pairs}}}"


def _escaped(value: str) -> str:
    # A name that is no valid Unicode stays different from every other one.
    return value.encode(errors="backslashreplace").decode().translate(_IN_LABELS)
