"""The report as images: one per benchmark, with a panel for each case and figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contest import OURS, Figure
from benchmarks.registry import BENCHMARKS
from benchmarks.results import BenchmarkResult, FigureResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS_COLOUR, _PEER_COLOUR, _INK = "#0f766e", "#cbd5e1", "#334155"


def draw(result: BenchmarkResult, directory: Path, *, caption: str) -> Path | None:
    """Write `<benchmark>.png` into the directory and return its path; None if the benchmark has nothing to draw."""
    from matplotlib.figure import Figure as Picture

    benchmark = BENCHMARKS[result.name]
    drawn = [figure for figure in benchmark.figures if figure.name in benchmark.drawn]
    if not drawn:
        return None
    rows, columns = len(result.cases), len(drawn)
    height = 0.34 * len(benchmark.contestants) + 0.75
    picture = Picture(figsize=(4.6 * columns + 1.2, height * rows + 0.7), dpi=130, layout="constrained")
    axes = picture.subplots(rows, columns, squeeze=False, sharey=True)
    for row, (case, contestants) in enumerate(result.cases.items()):
        for column, figure in enumerate(drawn):
            _panel(axes[row][column], figure, contestants)
            title = figure.heading if rows == 1 else f"{case}: {figure.heading}"
            axes[row][column].set_title(title, loc="left", fontsize=9, color=_INK)
    axes[0][0].invert_yaxis()  # shared by all panels
    picture.suptitle(result.title, x=0.01, ha="left", fontsize=11, color=_INK)
    picture.supxlabel(caption, x=0.01, ha="left", fontsize=7, color=_INK)
    path = directory / f"{result.name}.png"
    picture.savefig(path)
    return path


def _panel(axes: Axes, figure: Figure, contestants: dict[str, dict[str, FigureResult]]) -> None:
    names = list(contestants)
    found = [contestants[name].get(figure.name) for name in names]
    medians = [each.median if each else 0.0 for each in found]
    below = [each.median - min(each.rounds) if each else 0.0 for each in found]
    above = [max(each.rounds) - each.median if each else 0.0 for each in found]
    colours = [_OURS_COLOUR if name == OURS else _PEER_COLOUR for name in names]
    axes.barh(names, medians, xerr=[below, above], color=colours, height=0.66, ecolor="#64748b", capsize=2)
    for at, (each, reach) in enumerate(zip(found, above, strict=True)):
        label = f"{each.median:,.{figure.digits}f}" if each else "-"
        position = (medians[at] + reach, at)
        axes.annotate(label, position, (4, 0), textcoords="offset points", va="center", fontsize=8, color=_INK)
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", left=False, labelsize=8, labelcolor=_INK)
