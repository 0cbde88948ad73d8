"""The margin between starts, learned by a session against simulated limiters, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
from collections.abc import Sequence

import pytest

from benchmarks.guard import Answer, Load, figures, limited_transport
from benchmarks.limiters import LIMITERS
from ekb_async import EkbSession
from ekb_async.pacing.learning import AnswerTimes
from ekb_async.pacing.rule import Bucket, PaceSettings
from ekb_async.simulation import VirtualTimeLoop


def play(load: Load, *, seed: int = 0, calm_after: int | None = None) -> tuple[list[Answer], dict[str, int | float]]:
    """Make calls with the defaults of a session; return the answers, and the session's metrics at the end."""
    transport, keys, answers = limited_transport(load, LIMITERS[load.limiter](1.0), seed)

    async def main() -> dict[str, int | float]:
        async with EkbSession(keys, transport=transport) as ekb:
            jobs = [ekb.submit_ocr(f"https://files.example.com/{n}.png") for n in range(load.calls)]
            for n, job in enumerate(jobs):
                await job
                if n == calm_after:
                    transport.deviation = 0.0
            return ekb.metrics()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return answers, runner.run(main())


def refused(answers: Sequence[Answer]) -> int:
    return sum(not answer.accepted for answer in answers)


@pytest.mark.parametrize("limiter", LIMITERS)
def test_a_quiet_line_is_used_fully(limiter: str) -> None:
    """Nothing is refused, and within the first minute the margin shrinks to a thousandth of the period."""
    answers, metrics = play(Load(150, limiter, 0.0))
    assert not refused(answers)
    assert figures(Load(150, limiter, 0.0), answers)["used"] > 99.7
    assert metrics["ocr.margin_seconds"] < 0.002
    assert metrics["ocr.refused_margin_seconds"] == 0


@pytest.mark.parametrize("deviation", [0.002, 0.01, 0.05])
def test_as_close_to_the_limit_as_the_line_allows(deviation: float) -> None:
    """A strict limiter refuses at most a hundredth, and almost all starts are used that this leaves."""
    load = Load(600, "spacing", deviation)
    runs = [figures(load, play(load, seed=seed)[0]) for seed in range(3)]
    assert statistics.median(run["of_possible"] for run in runs) > 98.5
    assert statistics.median(run["refused"] for run in runs) <= 1.1


@pytest.mark.parametrize("limiter", LIMITERS)
def test_no_limiter_is_used_less_than_the_strictest(limiter: str) -> None:
    """What refuses less often is used as much or more."""
    load = Load(300, limiter, 0.02)
    assert figures(load, play(load)[0])["of_possible"] > 97


def test_a_line_that_becomes_calm() -> None:
    """After a bad hour, a calm line is used fully again within five minutes."""
    answers, metrics = play(Load(1500, "spacing", 0.05), calm_after=1000)
    assert metrics["ocr.margin_seconds"] < 0.005
    starts = [answer.left for answer in answers[-200:]]
    assert all(later - earlier < 1.005 for earlier, later in itertools.pairwise(starts))
    assert not refused(answers[-400:])


def test_a_line_that_becomes_bad() -> None:
    """The margin follows within a minute or two, though it was as small as can be."""
    load = Load(500, "spacing", 0.05)
    quiet, _ = play(Load(100, "spacing", 0.0))
    answers, metrics = play(load)
    assert not refused(quiet)
    assert refused(answers[:60]) > refused(answers[-60:])
    assert metrics["ocr.refused_margin_seconds"] > 0.05


def test_a_limit_that_is_lower_than_the_configured_one() -> None:
    """Answers that vary by nothing do not keep the margin from growing until the vendor accepts."""
    transport, keys, answers = limited_transport(Load(300, "spacing", 0.0), LIMITERS["spacing"](1.08), 0)

    async def main() -> None:
        async with EkbSession(keys, transport=transport) as ekb:
            await asyncio.gather(*[ekb.ocr(f"https://files.example.com/{n}.png") for n in range(300)])

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert refused(answers[:100]) > 0
    assert refused(answers[-200:]) <= 4


def test_another_program_on_the_same_account() -> None:
    """Calls that are refused again and again are no jitter: the pace slows down, and is back soon after the last."""
    settings, bucket, now = PaceSettings.of(1.0, 0.01, 60.0), Bucket(), 0.0
    for _ in range(12):
        now += bucket.interval(settings)
        bucket.refuse(bucket.take(now), None, now + 0.05, settings)
    assert bucket.margin(settings) > 5.0
    ended = now
    while bucket.margin(settings) > 0.05:
        now += bucket.interval(settings)
        bucket.take(now)
        bucket.accept(settings)
    assert now - ended < 600


def test_the_bound_that_answers_show() -> None:
    """It is unknown at first, follows the deviation of successive answers, and grows if a call is refused at it."""
    times = AnswerTimes()
    assert times.most_margin == math.inf
    for n in range(100):
        times.add(3.0 + 0.02 * (n % 2))
    assert times.deviation == pytest.approx(0.02)
    assert times.most_margin == pytest.approx(2.6 * 0.02)
    times.widen()
    assert times.most_margin > 2.6 * 0.02
    for _ in range(200):
        times.add(3.0)
    assert times.most_margin < 0.005
