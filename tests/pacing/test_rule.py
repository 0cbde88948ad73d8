"""The rule of the pace on each kind of pacer, for one consumer."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.support.pacers import Play, Scene, play_on


@pytest.fixture(params=["process", "machine", "postgres"])
def play(request: pytest.FixtureRequest) -> Play:
    """Return what runs a test with paces of one pacer."""
    return play_on(request.param, request, separate=False)


def test_one_start_per_slot_without_bursts(play: Play) -> None:
    """The first slot is open, the next ones are an interval apart, and slots missed in a pause do not add up."""

    async def main(scene: Scene) -> None:
        pace = scene.pace()
        starts = [await pace.claim() for _ in range(5)]
        assert all(scene.passed(later - earlier, 1.01) for earlier, later in itertools.pairwise(starts))
        await scene.sleep(10)
        again = [await pace.claim() for _ in range(3)]
        assert scene.passed(again[0] - starts[-1], 10)
        assert all(scene.passed(later - earlier, 1.01) for earlier, later in itertools.pairwise(again))

    play(main)


def test_a_slot_counts_from_the_real_start(play: Play) -> None:
    """If a call leaves later than its slot, the next slot is an interval after that start."""

    async def main(scene: Scene) -> None:
        pace = scene.pace()
        slot = await pace.claim()
        await scene.sleep(0.3)
        pace.mark_started(slot)
        assert pace.wait() <= 1.01 * scene.second + 1e-6
        if scene.virtual:
            assert pace.wait() == pytest.approx(1.01, abs=1e-3)
        assert scene.passed(await pace.claim() - slot, 1.31)

    play(main)


def test_a_slot_given_back_is_open(play: Play) -> None:
    """A slot that was given back can be claimed again at once."""

    async def main(scene: Scene) -> None:
        pace = scene.pace(rate=0.0001)
        slot = await pace.claim()
        pace.give_back(slot)
        async with asyncio.timeout(30):
            again = await pace.claim()
        assert scene.passed(again - slot, 0)
        assert pace.wait() > 9000 * scene.second

    play(main)


def test_cancelling_a_claim_takes_no_slot(play: Play) -> None:
    """A cancelled claim leaves its slot to the next claim, at the time at which it was due."""

    async def main(scene: Scene) -> None:
        pace = scene.pace()
        first = await pace.claim()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1 * scene.second):
                    await pace.claim()
        assert scene.passed(await pace.claim() - first, 1.01)
        refused = await pace.claim()
        pace.refused(refused, 20.0 * scene.second)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * scene.second):
                await pace.claim()
        assert scene.passed(await pace.claim() - refused, 20.0, exact=1e-2)

    play(main)


def test_the_margin_grows_and_shrinks(play: Play) -> None:
    """A refusal widens the margin, once for calls under way together; accepted calls narrow it below the first one."""

    async def main(scene: Scene) -> None:
        pace = scene.pace()
        slots = [await pace.claim() for _ in range(3)]
        for slot in slots:
            pace.refused(slot, None)
        once = pace.interval
        assert once == pytest.approx(1.02 * scene.second, rel=1e-3)
        for _ in range(4):
            pace.refused(await pace.claim(), None)
        assert pace.learned().refused == pytest.approx(0.16 * scene.second, rel=0.02)
        assert pace.interval == pytest.approx(1.32 * scene.second, rel=0.01)
        intervals = []
        for _ in range(40):
            slot = await pace.claim()
            for _ in range(100):
                pace.accepted(slot)
            intervals.append(pace.interval)
        assert intervals == sorted(intervals, reverse=True)
        assert 1.0 * scene.second < intervals[-1] < 1.01 * scene.second

    play(main)


def test_a_refused_call_is_followed_at_once(play: Play) -> None:
    """The limiter has been idle since the call before; only if that one is refused too, the next waits for its turn."""

    async def main(scene: Scene) -> None:
        pace = scene.pace()
        await pace.claim()
        for next_waits in (False, True, True):
            refused = await pace.claim()
            pace.refused(refused, None)
            again = await pace.claim()
            if next_waits:
                assert again - refused > scene.second
            elif scene.virtual:
                assert again - refused < 0.1
            pace.refused(again, None)
        slot = await pace.claim()
        pace.refused(slot, 3.0 * scene.second)
        assert scene.passed(await pace.claim() - slot, 3.0, exact=0.02)

    play(main)


def test_a_slot_given_back_does_not_shorten_a_wait_that_was_asked_for(play: Play) -> None:
    """The wait that the vendor asks for is kept, whatever happens to other calls under way."""

    async def main(scene: Scene) -> None:
        pace = scene.pace()
        first, second = await pace.claim(), await pace.claim()
        pace.refused(first, 5.0 * scene.second)
        pace.give_back(second)
        assert scene.passed(await pace.claim() - second, 5.0)

    play(main)


def test_slowing_down_without_backoff(play: Play) -> None:
    """Refusals slow the pace down even if retries do not wait."""

    async def main(scene: Scene) -> None:
        pace = scene.pace(rate=10.0, margin=0.0, most_wait=0.0)
        for _ in range(10):
            pace.refused(await pace.claim(), None)
        assert pace.interval >= 0.2 * scene.second - 1e-9

    play(main)


def test_the_margin_is_limited(play: Play) -> None:
    """However often the vendor refuses and whatever it asks for, the wait stays within `most_wait`."""

    async def main(scene: Scene) -> None:
        pace = scene.pace(rate=10.0, most_wait=0.5)
        for _ in range(12):
            pace.refused(await pace.claim(), 1e9)
        assert pace.interval == pytest.approx(0.6 * scene.second)
        assert pace.wait() <= 0.6 * scene.second + 1e-6

    play(main)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, 0.5, 3.0, 12.0, 999.0])
def test_any_rate(play: Play, rate: float) -> None:
    """The interval is kept at rates far from one a second."""

    async def main(scene: Scene) -> None:
        if not scene.virtual and rate < 0.1:
            pytest.skip("takes too long in real time")
        pace = scene.pace(rate, margin=0.0)
        starts = [await pace.claim() for _ in range(200 if scene.virtual else 20)]
        assert scene.passed(starts[-1] - starts[0], (len(starts) - 1) / rate, exact=2 / rate)
        assert min(b - a for a, b in itertools.pairwise(starts)) >= scene.second / rate - 1e-6

    play(main)
