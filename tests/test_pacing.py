"""The rule of the pace in each of its homes, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from ekb_async import MachinePace, machine_pace
from ekb_async.pacing import PaceHome, Pacer, ProcessPace
from ekb_async.simulation import VirtualTimeLoop

OpenPacer = Callable[[float, float, float], Pacer]
Simulate = Callable[[Callable[[OpenPacer], Awaitable[None]]], None]


class Inline(Executor):
    """In place of a thread, whose work would take no virtual time and so never end."""

    def __init__(self, **_: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it on, as a thread's would
            future.set_exception(error)
        return future


@pytest.fixture(params=["process", "machine"])
def simulate(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Runs a test in virtual time, with pacers of one home."""
    monkeypatch.setattr(machine_pace, "ThreadPoolExecutor", Inline)

    async def run(main: Callable[[OpenPacer], Awaitable[None]]) -> None:
        opened: list[Pacer] = []
        home: PaceHome = ProcessPace() if request.param == "process" else MachinePace(tmp_path, clock=now)

        def open_pacer(rate: float, guard: float, most_wait: float) -> Pacer:
            opened.append(home.pacer("call", rate, guard, most_wait))
            return opened[-1]

        await main(open_pacer)
        for pacer in opened:
            await pacer.close()

    def simulated(main: Callable[[OpenPacer], Awaitable[None]]) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(run(main))

    return simulated


def now() -> float:
    return asyncio.get_running_loop().time()


def test_one_start_per_slot_without_bursts(simulate: Simulate) -> None:
    """The first slot is open, the next ones an interval apart, and a pause is not made up for."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(1.0, 0.01, 30.0)
        starts = [await pacer.claim() for _ in range(5)]
        assert starts == pytest.approx([0.0, 1.01, 2.02, 3.03, 4.04], abs=1e-3)
        await asyncio.sleep(100)
        again = [await pacer.claim() for _ in range(3)]
        assert again[0] == pytest.approx(now() - 2.02, abs=1e-3)
        assert again[2] - again[1] == pytest.approx(1.01, abs=1e-3)

    simulate(main)


def test_a_slot_counts_from_the_real_start(simulate: Simulate) -> None:
    """When opening the connection took time, the next slot moves with it."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(1.0, 0.01, 30.0)
        slot = await pacer.claim()
        await asyncio.sleep(0.3)
        pacer.started(slot)
        assert pacer.wait() == pytest.approx(1.01, abs=1e-3)
        assert await pacer.claim() == pytest.approx(1.31, abs=1e-3)

    simulate(main)


def test_a_slot_given_back_is_open(simulate: Simulate) -> None:
    """A slot nobody used is there for the next caller at once."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(1.0, 0.01, 30.0)
        await pacer.claim()
        slot = await pacer.claim()
        pacer.give_back(slot)
        assert await pacer.claim() == pytest.approx(slot, abs=1e-3)
        assert await pacer.claim() == pytest.approx(slot + 1.01, abs=1e-3)

    simulate(main)


def test_cancelling_a_claim_takes_no_slot(simulate: Simulate) -> None:
    """Who stops waiting for a slot leaves it to the next, at the time it was due."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(1.0, 0.01, 30.0)
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


def test_the_guard_widens_and_narrows(simulate: Simulate) -> None:
    """A refusal at least doubles the guard, once for calls under way together; accepted calls take it back."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(1.0, 0.01, 30.0)
        slots = [await pacer.claim() for _ in range(3)]
        for slot in slots:
            pacer.refused(slot, None)
        assert pacer.interval == pytest.approx(1.0 + 0.02)
        for _ in range(4):
            pacer.refused(await pacer.claim(), None)
        assert pacer.interval == pytest.approx(1.0 + 0.32)
        guards = []
        for _ in range(60):
            pacer.accepted(await pacer.claim())
            guards.append(pacer.interval)
        assert guards == sorted(guards, reverse=True)
        assert guards[-1] == 1.01

    simulate(main)


def test_a_slot_given_back_does_not_shorten_a_wait_that_was_asked_for(simulate: Simulate) -> None:
    """What the vendor asks for holds, whatever becomes of the other calls under way."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(1.0, 0.01, 30.0)
        first, second = await pacer.claim(), await pacer.claim()
        pacer.refused(first, 5.0)
        asked = now() + 5.0
        pacer.give_back(second)
        assert await pacer.claim() == pytest.approx(asked, abs=1e-3)

    simulate(main)


def test_slowing_down_without_backoff(simulate: Simulate) -> None:
    """Even where retries do not wait, refusals slow the pace down."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(10.0, 0.0, 0.0)
        for _ in range(10):
            pacer.refused(await pacer.claim(), None)
        assert pacer.interval >= 0.2

    simulate(main)


def test_the_guard_has_an_end(simulate: Simulate) -> None:
    """However often the vendor refuses and whatever it asks for, the wait stays within `max_backoff`."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(1.0, 0.01, 30.0)
        for _ in range(40):
            pacer.refused(await pacer.claim(), 1e9)
        assert pacer.interval == 31.0
        assert pacer.wait() <= 31.0

    simulate(main)


@pytest.mark.parametrize("rate", [0.001, 0.5, 3.0, 12.0, 999.0])
def test_any_rate(simulate: Simulate, rate: float) -> None:
    """The pace holds at rates far from one a second."""

    async def main(open_pacer: OpenPacer) -> None:
        pacer = open_pacer(rate, 0.0, 30.0)
        starts = [await pacer.claim() for _ in range(200)]
        assert starts[-1] - starts[0] == pytest.approx(199 / rate, rel=1e-2)
        assert min(b - a for a, b in itertools.pairwise(starts)) >= 1 / rate - 1e-6

    simulate(main)
