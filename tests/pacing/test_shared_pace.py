"""The rule of the pace among several processes, and the traffic between a pace and its store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from ekb_async import EkbConnectionError
from ekb_async.pacing.rule import Bucket, Pace, PaceSettings
from ekb_async.simulation import VirtualTimeLoop
from tests.support.memory_pace import MemoryPace
from tests.support.pacers import Play, Scene, now, play_on

Starts = list[tuple[float, str]]


@pytest.fixture(params=["machine", "postgres"])
def play(request: pytest.FixtureRequest) -> Play:
    """Return what runs a test with paces, each of a pacer of its own, as in different processes."""
    return play_on(request.param, request, separate=True)


async def start_many(scene: Scene, pace: Pace, name: str, starts: Starts, times: int, late: float = 0.0) -> None:
    """Claim slots one after another and record them; each call leaves `late` seconds after its slot."""
    for _ in range(times):
        slot = await pace.claim()
        starts.append((slot, name))
        await scene.sleep(late)
        pace.mark_started(slot)


def gaps(starts: Starts) -> list[float]:
    return [later[0] - earlier[0] for earlier, later in itertools.pairwise(sorted(starts))]


# The rule


@pytest.mark.parametrize("late", [0.0, 0.05, 0.4])
def test_processes_alternate(play: Play, late: float) -> None:
    """Three processes start in strict rotation, an interval after the latest start, however late calls leave."""

    async def main(scene: Scene) -> None:
        starts: Starts = []
        await asyncio.gather(*(start_many(scene, scene.pace(), name, starts, 5, late) for name in "abc"))
        # In real time, a late start counts from when its note reaches the store.
        assert all(scene.passed(gap, 1.01 + late if scene.virtual else 1.01) for gap in gaps(starts))
        if scene.virtual:
            assert [name for _, name in starts] == list("abc") * 5

    play(main)


def test_processes_of_different_rates(play: Play) -> None:
    """A process with 1 start a second keeps its interval to the starts of one with 4, and is not crowded out by it."""

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
    """A process that starts right after another has ended keeps the interval to the last start."""

    async def main(scene: Scene) -> None:
        first = scene.pace()
        slot = await first.claim()
        await first.close()
        assert scene.passed(await scene.pace().claim() - slot, 1.01)

    play(main)


def test_a_refusal_slows_all_processes(play: Play) -> None:
    """All processes share the margin, the wait that the vendor asked for, and the decrease of the margin."""

    async def main(scene: Scene) -> None:
        one, other = scene.pace(), scene.pace()
        order = (one, other, one, other)
        slots = [await pace.claim() for pace in order]
        for slot, pace in zip(slots, order, strict=True):
            pace.refused(slot, 5.0 * scene.second)
        await asyncio.gather(one.close(), other.close())
        one, other = scene.pace(), scene.pace()
        slot = await other.claim()
        assert scene.passed(slot - slots[-1], 5.0, exact=2e-2)
        assert scene.passed(await one.claim() - slot, 1.02)
        assert one.interval == pytest.approx(1.02 * scene.second, rel=1e-3)
        assert one.learned().refused == pytest.approx(0.01 * scene.second)
        for _ in range(4):
            slot = await other.claim()
            for _ in range(500):
                other.accepted(slot)
        await other.claim()
        await one.claim()
        assert one.interval < 1.01 * scene.second
        assert one.learned().margin == pytest.approx(other.learned().margin)

    play(main)


def test_a_cancelled_claim_costs_nothing_at_the_end_of_the_queue(play: Play) -> None:
    """The last ticket of the queue is taken back if its claim is cancelled; any other costs one slot at most."""

    async def main(scene: Scene) -> None:
        paces = [scene.pace() for _ in range(4)]
        first = await paces[0].claim()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01 * scene.second):
                    await paces[1].claim()
        second = await paces[2].claim()
        assert scene.passed(second - first, 1.01)
        waiting = [asyncio.create_task(pace.claim()) for pace in paces[1:]]
        await scene.sleep(0.1)
        waiting[0].cancel()
        third, fourth = sorted([await waiting[1], await waiting[2]])
        assert scene.passed(fourth - third, 1.01)
        if scene.virtual:
            assert third - second <= 2 * 1.01 + 1e-3

    play(main)


def test_a_cancelled_claim_takes_no_slot(play: Play) -> None:
    """However far a claim has come when it is cancelled, it takes no slot: the next claim gets one at once."""

    async def main(scene: Scene) -> None:
        # One slot taken in vain would cost the next claim more than half an hour.
        pace = scene.pace(rate=1 / 100_000)
        for steps in range(20):
            claim = asyncio.create_task(pace.claim())
            for _ in range(steps):
                await asyncio.sleep(0)
            if claim.done():
                pace.give_back(claim.result())
            claim.cancel()
            await asyncio.wait([claim])
        await pace.close()
        async with asyncio.timeout(20):
            await scene.pace(rate=1 / 100_000).claim()

    play(main)


def test_a_slot_given_back_late_opens_nothing(play: Play) -> None:
    """Once another process has started, giving an older slot back lets no process start sooner."""

    async def main(scene: Scene) -> None:
        one, other = scene.pace(), scene.pace()
        slot = await one.claim()
        latest = await other.claim()
        one.give_back(slot)
        assert scene.passed(await one.claim() - latest, 1.01)

    play(main)


def test_a_slot_taken_ahead_counts_for_faster_processes() -> None:
    """A process with a higher rate, and so a shorter lead, keeps its interval from a slot that is not open yet."""
    slow, fast = PaceSettings.of(1.0, 0.01, 30.0), PaceSettings.of(100.0, 0.01, 30.0)
    bucket = Bucket(latest=100.0)
    slot = bucket.take_slot(bucket.ensure_ticket(None, slow), 100.995, slow)
    assert slot == pytest.approx(101.01)
    bucket.clamp_to(100.995, fast)
    assert bucket.slot_time(bucket.ensure_ticket(None, fast), fast) == pytest.approx(101.03)


def test_a_dead_process_costs_a_moment() -> None:
    """The ticket of a killed process is passed over a quarter of a second after its slot has opened."""
    settings = PaceSettings.of(1.0, 0.0, 30.0)
    bucket = Bucket(latest=100.0)
    dead, living = bucket.ensure_ticket(None, settings), bucket.ensure_ticket(None, settings)
    assert bucket.take_slot(living, 101.2, settings) is None
    assert bucket.take_slot(living, 101.25, settings) == 101.25
    assert bucket.ensure_ticket(dead, settings) > living
    newcomer = Bucket(latest=100.0, issued=9, served=2)
    assert newcomer.take_slot(newcomer.ensure_ticket(None, settings), 120.0, settings) == 120.0


# Between a pace and its store


def with_pace(main: Callable[[MemoryPace, Pace], Awaitable[None]]) -> None:
    """Run a test in virtual time, with a pace that is closed after it."""

    async def run() -> None:
        pacer = MemoryPace()
        pace = pacer.pace("call", 1.0, 0.01, 30.0)
        await main(pacer, pace)
        await pace.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(debug=True, loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


@pytest.mark.parametrize(("delays", "slots"), [([0.9], [0.0, 1.01]), ([5.0], [5.0, 6.01]), ([5.0, 5.0], [5.0, 10.0])])
def test_a_slot_that_came_too_late_is_not_used(delays: list[float], slots: list[float]) -> None:
    """A slot that took longer than an interval to arrive is given back and another one taken, once only."""

    async def main(pacer: MemoryPace, pace: Pace) -> None:
        pacer.delays = delays
        assert await pace.claim() == pytest.approx(slots[0], abs=1e-3)
        assert await pacer.pace("call", 1.0, 0.01, 30.0).claim() == pytest.approx(slots[1], abs=1e-3)

    with_pace(main)


def test_estimates_count_the_others() -> None:
    """While another process waits for the same call, a process expects every second slot."""

    async def main(pacer: MemoryPace, one: Pace) -> None:
        other = pacer.pace("call", 1.0, 0.01, 30.0)
        await one.claim()
        waiting = [asyncio.create_task(pace.claim()) for pace in (other, one)]
        await asyncio.sleep(0.01)
        assert one.wait() == pytest.approx(2.01, abs=1e-2)
        assert one.interval == pytest.approx(2.02)
        await asyncio.gather(*waiting)
        assert one.interval == pytest.approx(1.01)

    with_pace(main)


def test_notes_that_gather_are_saved_together(caplog: pytest.LogCaptureFixture) -> None:
    """Notes made while the store is slow are saved in one change, in order, before the next claim."""

    async def main(pacer: MemoryPace, pace: Pace) -> None:
        slot = await pace.claim()
        before = pacer.changes
        pacer.delays = [100.0]
        pace.refused(slot, None)
        await asyncio.sleep(1)
        for _ in range(10):
            pace.refused(slot, 30.0)
        pace.accepted(slot)
        claim = asyncio.create_task(pace.claim())
        await asyncio.sleep(110)
        assert pacer.changes == before + 2
        assert pacer.bucket.not_before == pytest.approx(31.0, abs=1e-2)
        claim.cancel()
        await asyncio.wait([claim])

    with_pace(main)
    assert caplog.records == []


def test_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A note that cannot be saved is logged and dropped; a claim raises, and the next one may succeed."""

    async def main(pacer: MemoryPace, pace: Pace) -> None:
        slot = await pace.claim()
        pacer.error = EkbConnectionError("away")
        pace.refused(slot, None)
        with pytest.raises(EkbConnectionError, match="away"):
            await pace.claim()
        assert [record.getMessage() for record in caplog.records] == ["a note on the pace was lost: away"]
        pacer.error = None
        assert await pace.claim() > slot

    with_pace(main)


def test_closing_is_limited_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """If the store does not answer, closing drops the notes after some seconds and logs that."""

    async def main(pacer: MemoryPace, pace: Pace) -> None:
        slot = await pace.claim()
        pacer.delays = [1e9]
        pace.refused(slot, None)
        await asyncio.sleep(0.1)
        pace.refused(slot, None)
        closing = now()
        await pace.close()
        assert now() - closing < 60
        pace.refused(slot, None)

    with_pace(main)
    assert len(caplog.records) == 2
