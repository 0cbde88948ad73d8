"""trouble: workers that are killed, stopped, replaced or cut off from their database, while the vendor takes calls.

The vendor is the sandbox: it enforces a rate strictly and bills what it accepts. A supervisor starts each worker again.
While the trouble lasts, the starts that the vendor accepted are counted, as a share of those that its rate allows. Then
follows a calm, until each call has ended: done, or failed because its answer was lost. A call may be billed twice only
if that is counted as maybe billed. All times are the defaults of the package and of the engines' documented commands.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from benchmarks.contest import Benchmark, Case, Contestant, Figure, Goal, Medians
from benchmarks.trouble.load import ENGINES, TROUBLES, Load, Trouble, seconds
from benchmarks.trouble.measuring import measure
from benchmarks.trouble.ways import WAYS

_QUICK_SECONDS = 6.0
_AT_LEAST = {Trouble.NONE: 95, Trouble.KILL: 95, Trouble.STOP: 95, Trouble.ROLLING: 95, Trouble.CUTS: 80}


def _contestant(way: str) -> Contestant[Load]:
    return Contestant(way, lambda load, _: measure(load, way))


def _case(trouble: Trouble) -> Case[Load]:
    quick = Load(trouble, _QUICK_SECONDS, rate=5.0, tenants=2, shortest=0.1, longest=0.3)
    return Case(trouble, Load(trouble, seconds()), quick, rounds=1)


def _goal(trouble: Trouble, way: str) -> Goal:
    def value(results: Medians) -> float:
        return results.of(trouble, way, "used")

    return Goal(says=f"{way}, {trouble}: slots used, %", value=value, at_least=_AT_LEAST[trouble])


def _wrong(figure: str, says: str, troubles: Sequence[Trouble], ways: Sequence[str]) -> Goal:
    def value(results: Medians) -> float:
        return sum(results.of(trouble, way, figure) for trouble in troubles for way in ways)

    return Goal(says=says, value=value, at_most=0)


def benchmark() -> Benchmark[Load]:
    """Return the benchmark, or the part of it that the environment chooses."""
    troubles = [Trouble(name) for name in os.environ.get(TROUBLES, "").split()] or list(Trouble)
    ways = os.environ.get(ENGINES, "").split() or list(WAYS)
    wrong = functools.partial(_wrong, troubles=troubles, ways=ways)
    return Benchmark(
        name="trouble",
        title="workers in trouble: slots used, and what became of the calls",
        figures=(
            Figure("used", "slots used, %"),
            Figure("refused", "refused", 0),
            Figure("twice", "billed again uncounted", 0),
            Figure("lost", "lost", 0),
            Figure("again", "billed again", 0),
            Figure("unconfirmed", "unconfirmed", 0),
            Figure("maybe", "maybe billed", 0),
            Figure("uncounted", "money that differs", 0),
            Figure("calm", "until all ended, s", 0),
        ),
        cases=tuple(map(_case, troubles)),
        contestants=tuple(map(_contestant, ways)),
        goals=(
            *(_goal(trouble, way) for trouble in troubles if trouble in _AT_LEAST for way in ways),
            wrong("twice", "no call is billed twice, unless that is counted"),
            wrong("lost", "no call is lost"),
            wrong("uncounted", "the status counts what the vendor has billed"),
        ),
        drawn=("used",),
        only_if_named=True,
    )


BENCHMARK = benchmark()
