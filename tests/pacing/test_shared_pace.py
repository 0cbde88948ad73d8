"""The rule of the pace where several processes keep it together, and what lies between a pacer and its store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from ekb_async import EkbConnectionError
from ekb_async.pacing.rule import Bucket, Pace, PaceSettings
from ekb_async.simulation import VirtualTimeLoop
from tests.support.memory_pace import Shelf
from tests.support.pace_homes import Play, Scene, now, play_in

Starts = list[tuple[float, str]]


@pytest.fixture(params=["machine", "postgres"])
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a test with pacers each from a home of its own, as in different processes."""
    return play_in(request.param, request, homes_apart=True)


async def start_many(scene: Scene, pacer: Pace, name: str, starts: Starts, times: int, late: float = 0.0) -> None:
    """Claims slots one after another and notes them, each start leaving `late` seconds after its slot."""
    for _ in range(times):
        slot = await pacer.claim()
        starts.append((slot, name))
        await scene.sleep(late)
        pacer.mark_started(slot)


def gaps(starts: Starts) -> list[float]:
    return [later[0] - earlier[0] for earlier, later in itertools.pairwise(sorted(starts))]


# The rule


@pytest.mark.parametrize("late", [0.0, 0.05, 0.4])
def test_processes_take_turns(play: Play, late: float) -> None:
    """Three processes start in strict turns, an interval after whoever left last, however late everyone leaves."""

    async def main(scene: Scene) -> None:
        starts: Starts = []
        await asyncio.gather(*(start_many(scene, scene.pace(), name, starts, 5, late) for name in "abc"))
        # How late a start is known to be, where time is real, depends on how soon it is told.
        assert all(scene.passed(gap, 1.01 + late if scene.virtual else 1.01) for gap in gaps(starts))
        if scene.virtual:
            assert [name for _, name in starts] == list("abc") * 5

    play(main)


def test_processes_of_different_rates(play: Play) -> None:
    """Who wants 1 a second keeps that to the other's starts too, and is not crowded out by who wants 4."""

    async def main(scene: Scene) -> None:
        starts: Starts = []
        fast, slow = scene.pace(4.0), scene.pace(1.0)
        both = (start_many(scene, fast, "fast", starts, 8), start_many(scene, slow, "slow", starts, 8))
        await asyncio.gather(*both)
        starts.sort()
        least = {"fast": 0.26 * scene.second, "slow": 1.01 * scene.second}
        for gap, (_, name) in zip(gaps(starts), starts[1:], strict=True):
            assert gap >= least[name] - 1e-3 * scene.second
        if scene.virtual:
            assert [name for _, name in starts] == ["fast", "slow"] * 8

    play(main)


def test_the_next_process_waits_for_the_rest(play: Play) -> None:
    """A process that starts right after another has ended still keeps the interval to its last start."""

    async def main(scene: Scene) -> None:
        first = scene.pace()
        slot = await first.claim()
        await first.close()
        assert scene.passed(await scene.pace().claim() - slot, 1.01)

    play(main)


def test_a_refusal_slows_all_processes(play: Play) -> None:
    """The guard, the wait that the vendor asked for, and the narrowing are everybody's."""

    async def main(scene: Scene) -> None:
        one, other = scene.pace(), scene.pace()
        turns = (one, other, one, other)
        slots = [await pacer.claim() for pacer in turns]
        for slot, pacer in zip(slots, turns, strict=True):
            pacer.refused(slot, 5.0 * scene.second)
        await asyncio.gather(one.close(), other.close())
        one, other = scene.pace(), scene.pace()
        slot = await other.claim()
        assert scene.passed(slot - slots[-1], 5.0, exact=2e-2)
        assert scene.passed(await one.claim() - slot, 1.02)
        assert one.interval == pytest.approx(1.02 * scene.second)
        for _ in range(60):
            other.accepted(await other.claim())
        await one.claim()
        await one.claim()
        assert one.interval == pytest.approx(1.01 * scene.second)

    play(main)


def test_who_stops_waiting_costs_nothing_at_the_end_of_the_line(play: Play) -> None:
    """The place of a cancelled claim is free again; in the middle of the line it costs one slot at most."""

    async def main(scene: Scene) -> None:
        pacers = [scene.pace() for _ in range(4)]
        first = await pacers[0].claim()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01 * scene.second):
                    await pacers[1].claim()
        second = await pacers[2].claim()
        assert scene.passed(second - first, 1.01)
        waiting = [asyncio.create_task(pacer.claim()) for pacer in pacers[1:]]
        await scene.sleep(0.1)
        waiting[0].cancel()
        third, fourth = sorted([await waiting[1], await waiting[2]])
        assert scene.passed(fourth - third, 1.01)
        if scene.virtual:
            assert third - second <= 2 * 1.01 + 1e-3

    play(main)


def test_a_cancelled_claim_leaves_its_place(play: Play) -> None:
    """However far a claim has come when it is cancelled, it takes nothing: the next one is served at once."""

    async def main(scene: Scene) -> None:
        # One slot taken for nothing would cost the next claim most of an hour.
        pacer = scene.pace(rate=1 / 100_000)
        for steps in range(20):
            claim = asyncio.create_task(pacer.claim())
            for _ in range(steps):
                await asyncio.sleep(0)
            if claim.done():
                pacer.give_back(claim.result())
            claim.cancel()
            await asyncio.wait([claim])
        await pacer.close()
        async with asyncio.timeout(20):
            await scene.pace(rate=1 / 100_000).claim()

    play(main)


def test_a_slot_given_back_late_opens_nothing(play: Play) -> None:
    """Once another process has started, giving an older slot back lets nobody start sooner."""

    async def main(scene: Scene) -> None:
        one, other = scene.pace(), scene.pace()
        slot = await one.claim()
        latest = await other.claim()
        one.give_back(slot)
        assert scene.passed(await one.claim() - latest, 1.01)

    play(main)


def test_a_slot_taken_ahead_counts_for_faster_processes() -> None:
    """Who claims often, and so looks ahead less far, keeps its interval from a slot that has not opened yet."""
    slow, fast = PaceSettings.of(1.0, 0.01, 30.0), PaceSettings.of(100.0, 0.01, 30.0)
    bucket = Bucket(latest=100.0)
    slot = bucket.take_slot(bucket.ensure_ticket(None, slow), 100.995, slow)
    assert slot == pytest.approx(101.01)
    bucket.clamp_to(100.995, fast)
    assert bucket.slot_time(bucket.ensure_ticket(None, fast), fast) == pytest.approx(101.03)


def test_a_dead_process_costs_one_slot() -> None:
    """The ticket of a process that was killed lapses when the next in line is due, an interval later."""
    settings = PaceSettings.of(1.0, 0.0, 30.0)
    bucket = Bucket(latest=100.0)
    dead, living = bucket.ensure_ticket(None, settings), bucket.ensure_ticket(None, settings)
    assert bucket.take_slot(living, 101.9, settings) is None
    assert bucket.take_slot(living, 102.0, settings) == 102.0
    assert bucket.ensure_ticket(dead, settings) > living
    newcomer = Bucket(latest=100.0, issued=9, served=2)
    assert newcomer.take_slot(newcomer.ensure_ticket(None, settings), 120.0, settings) == 120.0


# Between a pacer and its store


def with_shelf(main: Callable[[Shelf, Pace], Awaitable[None]]) -> None:
    """Runs a test in virtual time, with a pacer that is closed after it."""

    async def run() -> None:
        shelf = Shelf()
        pacer = shelf.pace("call", 1.0, 0.01, 30.0)
        await main(shelf, pacer)
        await pacer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(debug=True, loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


@pytest.mark.parametrize(("delays", "slots"), [([0.9], [0.0, 1.01]), ([5.0], [5.0, 6.01]), ([5.0, 5.0], [5.0, 10.0])])
def test_a_slot_that_came_too_late_is_not_used(delays: list[float], slots: list[float]) -> None:
    """Held up for more than an interval on its way, a slot is given back and another one taken; once, not for ever."""

    async def main(shelf: Shelf, pacer: Pace) -> None:
        shelf.delays = delays
        assert await pacer.claim() == pytest.approx(slots[0], abs=1e-3)
        assert await shelf.pace("call", 1.0, 0.01, 30.0).claim() == pytest.approx(slots[1], abs=1e-3)

    with_shelf(main)


def test_estimates_count_the_others() -> None:
    """With another process waiting for the same call, a process expects every second slot."""

    async def main(shelf: Shelf, one: Pace) -> None:
        other = shelf.pace("call", 1.0, 0.01, 30.0)
        await one.claim()
        waiting = [asyncio.create_task(pacer.claim()) for pacer in (other, one)]
        await asyncio.sleep(0.01)
        assert one.wait() == pytest.approx(2.01, abs=1e-2)
        assert one.interval == pytest.approx(2.02)
        await asyncio.gather(*waiting)
        assert one.interval == pytest.approx(1.01)

    with_shelf(main)


def test_what_gathers_goes_together(caplog: pytest.LogCaptureFixture) -> None:
    """What a pacer is told while its store is slow is kept in one change, in order, before the next claim looks."""

    async def main(shelf: Shelf, pacer: Pace) -> None:
        slot = await pacer.claim()
        before = shelf.changes
        shelf.delays = [100.0]
        pacer.refused(slot, None)
        await asyncio.sleep(1)
        for _ in range(10):
            pacer.refused(slot, 30.0)
        pacer.accepted(slot)
        claim = asyncio.create_task(pacer.claim())
        await asyncio.sleep(110)
        assert shelf.changes == before + 2
        assert shelf.bucket.not_before == pytest.approx(31.0, abs=1e-2)
        claim.cancel()
        await asyncio.wait([claim])

    with_shelf(main)
    assert caplog.records == []


def test_trouble_with_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """A note that cannot be kept is logged and forgotten; a claim raises, and the next one may go well."""

    async def main(shelf: Shelf, pacer: Pace) -> None:
        slot = await pacer.claim()
        shelf.trouble = EkbConnectionError("away")
        pacer.refused(slot, None)
        with pytest.raises(EkbConnectionError, match="away"):
            await pacer.claim()
        assert [record.getMessage() for record in caplog.records] == ["a note on the pace was lost: away"]
        shelf.trouble = None
        assert await pacer.claim() > slot

    with_shelf(main)


def test_closing_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Where the store does not answer, closing gives up what was told after some seconds, and says so."""

    async def main(shelf: Shelf, pacer: Pace) -> None:
        slot = await pacer.claim()
        shelf.delays = [1e9]
        pacer.refused(slot, None)
        await asyncio.sleep(0.1)
        pacer.refused(slot, None)
        closing = now()
        await pacer.close()
        assert now() - closing < 60
        pacer.refused(slot, None)

    with_shelf(main)
    assert len(caplog.records) == 2
