"""The results: medians, spreads, ratios within rounds, and which goals are met."""

from __future__ import annotations

import statistics
from typing import Any

import msgspec

from benchmarks.contest import OURS, Benchmark, Figures
from benchmarks.machine import Machine


class FigureResult(msgspec.Struct, frozen=True):
    """One figure of one contestant. `spread` is half the range of its rounds as a share of the median."""

    median: float
    spread: float
    ratio_to_ours: float | None
    rounds: list[float]


class GoalResult(msgspec.Struct, frozen=True):
    """A goal and the value reached; `value` is None if a run that it needs gave no figure."""

    says: str
    value: float | None
    met: bool


class BenchmarkResult(msgspec.Struct, frozen=True):
    """A benchmark's figures by case, contestant and figure, and its goals."""

    name: str
    title: str
    cases: dict[str, dict[str, dict[str, FigureResult]]]
    goals: list[GoalResult]


class Report(msgspec.Struct, frozen=True):
    """The results of one command. If `quick`, the sizes are too small to judge anything by."""

    machine: Machine
    quick: bool
    benchmarks: list[BenchmarkResult]


class Results:
    """Collects the figures of a benchmark's runs."""

    def __init__(self, benchmark: Benchmark[Any]) -> None:
        self._benchmark = benchmark
        self._runs: dict[tuple[str, str], dict[int, Figures]] = {}

    def add(self, round_number: int, case: str, contestant: str, figures: Figures) -> None:
        self._runs.setdefault((case, contestant), {})[round_number] = figures

    def ours(self, case: str, figure: str) -> float:
        return self.of(case, OURS, figure)

    def of(self, case: str, contestant: str, figure: str) -> float:
        return statistics.median(self._values(case, contestant, figure).values())

    def ratio(self, case: str, figure: str, *, of: str, to: str = OURS) -> float:
        above, below = self._values(case, of, figure), self._values(case, to, figure)
        return statistics.median(above[each] / below[each] for each in above if below.get(each))

    def summary(self) -> BenchmarkResult:
        benchmark = self._benchmark
        cases = {
            case.name: {
                contestant.name: self._figures(case.name, contestant.name) for contestant in benchmark.contestants
            }
            for case in benchmark.cases
        }
        return BenchmarkResult(benchmark.name, benchmark.title, cases, self._goals())

    def _values(self, case: str, contestant: str, figure: str) -> dict[int, float]:
        runs = self._runs.get((case, contestant), {})
        return {each: figures[figure] for each, figures in sorted(runs.items()) if figure in figures}

    def _figures(self, case: str, contestant: str) -> dict[str, FigureResult]:
        found = {}
        for figure in self._benchmark.figures:
            if values := list(self._values(case, contestant, figure.name).values()):
                median = statistics.median(values)
                spread = (max(values) - min(values)) / 2 / median if median else 0.0
                found[figure.name] = FigureResult(median, spread, self._to_ours(case, contestant, figure.name), values)
        return found

    def _to_ours(self, case: str, contestant: str, figure: str) -> float | None:
        try:
            return self.ratio(case, figure, of=contestant)
        except statistics.StatisticsError:
            return None

    def _goals(self) -> list[GoalResult]:
        judged = []
        for goal in self._benchmark.goals:
            try:
                value = goal.value(self)
            except (statistics.StatisticsError, ZeroDivisionError):
                judged.append(GoalResult(goal.says, None, met=False))
            else:
                judged.append(GoalResult(goal.says, value, met=goal.met(value)))
        return judged
