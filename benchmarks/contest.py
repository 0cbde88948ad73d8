"""The parts of a benchmark: cases of a certain size, contestants, figures and goals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

L = TypeVar("L")

OURS = "ekb_async"
"""The contestant that all others are compared with."""

Figures = dict[str, float]
"""The results of one run of a contestant, by the name of the figure."""


@dataclass(frozen=True)
class Figure:
    """A measured quantity: its name, its heading (with the unit), and the digits shown after the point."""

    name: str
    heading: str
    digits: int = 1


@dataclass(frozen=True)
class Case(Generic[L]):
    """One size of a benchmark: the full one, and a quick one that only shows that everything runs."""

    name: str
    full: L
    quick: L
    rounds: int = 5
    is_another_size: bool = False
    """Whether this is the case before in another size, so that quick runs leave the peers out."""


@dataclass(frozen=True)
class Contestant(Generic[L]):
    """One way to do the work. `run` gets the size and the server's address, "" if there is no server."""

    name: str
    run: Callable[[L, str], Figures]
    cases: tuple[str, ...] = ()
    """The only cases it takes part in; all if there are none."""

    def is_in(self, case: Case[L]) -> bool:
        return not self.cases or case.name in self.cases


@dataclass(frozen=True)
class Served:
    """A running server: its address, and a function that returns its figures after the run."""

    base_url: str
    report: Callable[[], Figures]


class Medians(Protocol):
    """The results a goal is judged by. Ratios are medians of the ratios within each round."""

    def ours(self, case: str, figure: str) -> float: ...

    def of(self, case: str, contestant: str, figure: str) -> float: ...

    def ratio(self, case: str, figure: str, *, of: str, to: str = OURS) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound on a value that is computed from the results."""

    says: str
    value: Callable[[Medians], float]
    at_least: float = float("-inf")
    at_most: float = float("inf")

    def met(self, value: float) -> bool:
        return self.at_least <= value <= self.at_most


@dataclass(frozen=True, kw_only=True)
class Benchmark(Generic[L]):
    """A contest. `together` runs all of a round at once, for contestants that mostly wait.

    `drawn` names the figures of its plot.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    cases: tuple[Case[L], ...]
    contestants: tuple[Contestant[L], ...]
    goals: tuple[Goal, ...] = ()
    drawn: tuple[str, ...] = ()
    serve: Callable[[L], AbstractAsyncContextManager[Served]] | None = None
    together: bool = False
    only_if_named: bool = False
    """Whether it is left out when all benchmarks run."""

    def pairs(self, round_number: int) -> Iterator[tuple[Case[L], Contestant[L]]]:
        """Yield the runs of a round; each round begins with another contestant than the round before."""
        for case in self.cases:
            if round_number < case.rounds:
                for at in range(len(self.contestants)):
                    contestant = self.contestants[(round_number + at) % len(self.contestants)]
                    if contestant.is_in(case):
                        yield case, contestant

    def quick_pairs(self) -> Iterator[tuple[Case[L], Contestant[L]]]:
        """Yield the runs of a quick check: of a case in another size only ours, and those in no other case."""
        for case in self.cases:
            for contestant in self.contestants:
                is_needed = not case.is_another_size or contestant.name == OURS or contestant.cases
                if is_needed and contestant.is_in(case):
                    yield case, contestant
