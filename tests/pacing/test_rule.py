"""The rule of the pace in each of its homes, for one consumer."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.support.pace_homes import Play, Scene, play_in


@pytest.fixture(params=["process", "machine", "postgres"])
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a test with pacers of one home."""
    return play_in(request.param, request, homes_apart=False)


def test_one_start_per_slot_without_bursts(play: Play) -> None:
    """The first slot is open, the next ones an interval apart, and a pause is not made up for."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace()
        starts = [await pacer.claim() for _ in range(5)]
        assert all(scene.passed(later - earlier, 1.01) for earlier, later in itertools.pairwise(starts))
        await scene.sleep(10)
        again = [await pacer.claim() for _ in range(3)]
        assert scene.passed(again[0] - starts[-1], 10)
        assert all(scene.passed(later - earlier, 1.01) for earlier, later in itertools.pairwise(again))

    play(main)


def test_a_slot_counts_from_the_real_start(play: Play) -> None:
    """When opening the connection took time, the next slot moves with it."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace()
        slot = await pacer.claim()
        await scene.sleep(0.3)
        pacer.mark_started(slot)
        assert pacer.wait() <= 1.01 * scene.second + 1e-6
        if scene.virtual:
            assert pacer.wait() == pytest.approx(1.01, abs=1e-3)
        assert scene.passed(await pacer.claim() - slot, 1.31)

    play(main)


def test_a_slot_given_back_is_open(play: Play) -> None:
    """A slot nobody used is there for the next caller at once."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace(rate=0.0001)
        slot = await pacer.claim()
        pacer.give_back(slot)
        async with asyncio.timeout(30):
            again = await pacer.claim()
        assert scene.passed(again - slot, 0)
        assert pacer.wait() > 9000 * scene.second

    play(main)


def test_cancelling_a_claim_takes_no_slot(play: Play) -> None:
    """Who stops waiting for a slot leaves it to the next, at the time it was due."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace()
        first = await pacer.claim()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1 * scene.second):
                    await pacer.claim()
        assert scene.passed(await pacer.claim() - first, 1.01)
        refused = await pacer.claim()
        pacer.refused(refused, 20.0 * scene.second)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * scene.second):
                await pacer.claim()
        assert scene.passed(await pacer.claim() - refused, 20.0, exact=1e-2)

    play(main)


def test_the_guard_widens_and_narrows(play: Play) -> None:
    """A refusal at least doubles the guard, once for calls under way together; accepted calls take it back."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace()
        slots = [await pacer.claim() for _ in range(3)]
        for slot in slots:
            pacer.refused(slot, None)
        assert pacer.interval == pytest.approx(1.02 * scene.second)
        for _ in range(4):
            pacer.refused(await pacer.claim(), None)
        assert pacer.interval == pytest.approx(1.32 * scene.second)
        intervals = []
        for _ in range(60):
            pacer.accepted(await pacer.claim())
            intervals.append(pacer.interval)
        assert intervals == sorted(intervals, reverse=True)
        assert intervals[-1] == pytest.approx(1.01 * scene.second)

    play(main)


def test_a_slot_given_back_does_not_shorten_a_wait_that_was_asked_for(play: Play) -> None:
    """What the vendor asks for holds, whatever becomes of the other calls under way."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace()
        first, second = await pacer.claim(), await pacer.claim()
        pacer.refused(first, 5.0 * scene.second)
        pacer.give_back(second)
        assert scene.passed(await pacer.claim() - second, 5.0)

    play(main)


def test_slowing_down_without_backoff(play: Play) -> None:
    """Even where retries do not wait, refusals slow the pace down."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace(rate=10.0, margin=0.0, most_wait=0.0)
        for _ in range(10):
            pacer.refused(await pacer.claim(), None)
        assert pacer.interval >= 0.2 * scene.second - 1e-9

    play(main)


def test_the_guard_has_an_end(play: Play) -> None:
    """However often the vendor refuses and whatever it asks for, the wait stays within the longest one."""

    async def main(scene: Scene) -> None:
        pacer = scene.pace(rate=10.0, most_wait=0.5)
        for _ in range(12):
            pacer.refused(await pacer.claim(), 1e9)
        assert pacer.interval == pytest.approx(0.6 * scene.second)
        assert pacer.wait() <= 0.6 * scene.second + 1e-6

    play(main)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.5, 3.0, 12.0, 999.0])
def test_any_rate(play: Play, rate: float) -> None:
    """The pace holds at rates far from one a second."""

    async def main(scene: Scene) -> None:
        if not scene.virtual and rate < 0.1:
            pytest.skip("takes too long in real time")
        pacer = scene.pace(rate, margin=0.0)
        starts = [await pacer.claim() for _ in range(200 if scene.virtual else 20)]
        assert scene.passed(starts[-1] - starts[0], (len(starts) - 1) / rate, exact=2 / rate)
        assert min(b - a for a, b in itertools.pairwise(starts)) >= scene.second / rate - 1e-6

    play(main)
