"""The report on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.contest import OURS, Figure
from benchmarks.registry import BENCHMARKS
from benchmarks.results import BenchmarkResult, FigureResult


def show(console: Console, result: BenchmarkResult, *, quick: bool) -> None:
    """Print one benchmark: medians, spreads and ratios, then its goals."""
    figures = BENCHMARKS[result.name].figures
    table = Table(title=f"{result.name}: {escape(result.title)}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for figure in figures:
        table.add_column(figure.heading, justify="right", vertical="bottom")
    for case, contestants in result.cases.items():
        table.add_section()
        table.add_row(f"[italic]{escape(case)}")
        for contestant, found in contestants.items():
            if found:
                name = f"[bold]{contestant}" if contestant == OURS else escape(contestant)
                cells = [_cell(figure, found.get(figure.name), contestant) for figure in figures]
                table.add_row(f"  {name}", *cells)
    console.print(table)
    for goal in result.goals:
        verdict = "[dim]not judged" if quick else "[green]met   " if goal.met else "[red]missed"
        value = "no figure" if goal.value is None else f"{goal.value:,.2f}"
        console.print(f"{verdict}[/]  {escape(goal.says)}: {value}", highlight=False, soft_wrap=True)
    console.print()


def _cell(figure: Figure, found: FigureResult | None, contestant: str) -> str:
    if found is None:
        return "[dim]-"
    text = f"{found.median:,.{figure.digits}f}"
    if len(found.rounds) > 1:
        text += f" [dim]±{found.spread:.0%}[/]"
    if contestant != OURS and found.ratio_to_ours is not None:
        text += f" [cyan]×{_short(found.ratio_to_ours)}[/]"
    return text


def _short(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"
