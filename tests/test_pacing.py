"""The pace on its own, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ekb_async.pacing import LimiterPacer
from ekb_async.simulation import VirtualTimeLoop


def simulate(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_one_start_per_slot_without_bursts() -> None:
    """The first slot is open, the next ones an interval apart, and a pause is not made up for."""

    async def main() -> None:
        pacer = LimiterPacer(1.0, 0.01, 30.0)
        starts = [await pacer.claim() for _ in range(5)]
        assert starts == pytest.approx([0.0, 1.01, 2.02, 3.03, 4.04], abs=1e-3)
        await asyncio.sleep(100)
        again = [await pacer.claim() for _ in range(3)]
        assert again[0] == pytest.approx(now() - 2.02, abs=1e-3)
        assert again[2] - again[1] == pytest.approx(1.01, abs=1e-3)

    simulate(main)


def test_a_slot_counts_from_the_real_start() -> None:
    """When opening the connection took time, the next slot moves with it."""

    async def main() -> None:
        pacer = LimiterPacer(1.0, 0.01, 30.0)
        slot = await pacer.claim()
        await asyncio.sleep(0.3)
        pacer.started(slot)
        assert pacer.wait() == pytest.approx(1.01, abs=1e-3)
        assert await pacer.claim() == pytest.approx(1.31, abs=1e-3)

    simulate(main)


def test_a_slot_given_back_is_open() -> None:
    """A slot nobody used is there for the next caller at once."""

    async def main() -> None:
        pacer = LimiterPacer(1.0, 0.01, 30.0)
        await pacer.claim()
        slot = await pacer.claim()
        pacer.give_back(slot)
        assert await pacer.claim() == pytest.approx(slot, abs=1e-3)
        assert await pacer.claim() == pytest.approx(slot + 1.01, abs=1e-3)

    simulate(main)


def test_cancelling_a_claim_takes_no_slot() -> None:
    """Who stops waiting for a slot leaves it to the next, at the time it was due."""

    async def main() -> None:
        pacer = LimiterPacer(1.0, 0.01, 30.0)
        await pacer.claim()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await pacer.claim()
        assert await pacer.claim() == pytest.approx(1.01, abs=1e-3)
        pacer.refused(await pacer.claim(), 20.0)
        refused = now()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await pacer.claim()
        assert await pacer.claim() == pytest.approx(refused + 20.0, abs=1e-2)

    simulate(main)


def test_the_guard_widens_and_narrows() -> None:
    """A refusal at least doubles the guard, once for calls under way together; accepted calls take it back."""

    async def main() -> None:
        pacer = LimiterPacer(1.0, 0.01, 30.0)
        slots = [await pacer.claim() for _ in range(3)]
        for slot in slots:
            pacer.refused(slot, None)
        assert pacer.guard == pytest.approx(0.02)
        for _ in range(4):
            pacer.refused(await pacer.claim(), None)
        assert pacer.guard == pytest.approx(0.32)
        guards = []
        for _ in range(60):
            pacer.accepted(await pacer.claim())
            guards.append(pacer.guard)
        assert guards == sorted(guards, reverse=True)
        assert guards[-1] == 0.01

    simulate(main)


def test_a_slot_given_back_does_not_shorten_a_wait_that_was_asked_for() -> None:
    """What the vendor asks for holds, whatever becomes of the other calls under way."""

    async def main() -> None:
        pacer = LimiterPacer(1.0, 0.01, 30.0)
        first, second = await pacer.claim(), await pacer.claim()
        pacer.refused(first, 5.0)
        asked = now() + 5.0
        pacer.give_back(second)
        assert await pacer.claim() == pytest.approx(asked, abs=1e-3)

    simulate(main)


def test_slowing_down_without_backoff() -> None:
    """Even where retries do not wait, refusals slow the pace down."""

    async def main() -> None:
        pacer = LimiterPacer(10.0, 0.0, 0.0)
        for _ in range(10):
            pacer.refused(await pacer.claim(), None)
        assert pacer.interval >= 0.2

    simulate(main)


def test_the_guard_has_an_end() -> None:
    """However often the vendor refuses and whatever it asks for, the wait stays within `max_backoff`."""

    async def main() -> None:
        pacer = LimiterPacer(1.0, 0.01, 30.0)
        for _ in range(40):
            pacer.refused(await pacer.claim(), 1e9)
        assert pacer.guard == 30.0
        assert pacer.wait() <= 31.0

    simulate(main)


@pytest.mark.parametrize("rate", [0.001, 0.5, 3.0, 12.0, 999.0])
def test_any_rate(rate: float) -> None:
    """The pace holds at rates far from one a second."""

    async def main() -> None:
        pacer = LimiterPacer(rate, 0.0, 30.0)
        starts = [await pacer.claim() for _ in range(200)]
        assert starts[-1] - starts[0] == pytest.approx(199 / rate, rel=1e-2)
        assert min(b - a for a, b in itertools.pairwise(starts)) >= 1 / rate - 1e-6

    simulate(main)
