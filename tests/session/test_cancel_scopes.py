"""Repeated cancellation, as by anyio's cancel scopes, counts as one: calls under way are completed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from ekb_async import EkbSession, Job, OcrResult, SessionConfig, TenantSessions
from ekb_async.aio.tasks import TaskScope
from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, names_in, session
from tests.support.watched_log import WatchedLog

pytestmark = pytest.mark.slow

Work = Callable[[], Coroutine[Any, Any, Any]]
Cancelling = Callable[[Work, asyncio.Event], Awaitable[None]]


async def in_a_scope(work: Work, now: asyncio.Event) -> None:
    """Cancel a scope around the work."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as others:

            async def cancel() -> None:
                await now.wait()
                scope.cancel()

            others.start_soon(cancel)
            await work()


async def in_a_task_group(work: Work, now: asyncio.Event) -> None:
    """Cancel a task group that has started the work, as a web framework does with a request."""
    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await now.wait()
        group.cancel_scope.cancel()


async def at_every_iteration(work: Work, now: asyncio.Event) -> None:
    """Cancel the task of the work in every iteration of the loop."""
    task = asyncio.ensure_future(work())
    await now.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()


@pytest.fixture(params=[in_a_scope, in_a_task_group, at_every_iteration])
def cancelling(request: pytest.FixtureRequest) -> Cancelling:
    """A function that cancels work repeatedly until it has ended."""
    way: Cancelling = request.param
    return way


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Check that no task and no thread of the package is left after the block."""
    before = asyncio.all_tasks()
    yield
    assert [task.get_name() for task in asyncio.all_tasks() - before] == []
    assert [each.name for each in threading.enumerate() if each.name.startswith("ekb-")] == []


async def test_a_run_waits_for_calls_under_way(tmp_path: Path, place: Location, cancelling: Cancelling) -> None:
    """Calls under way when a run is cancelled are answered and recorded; none is left as maybe billed."""
    rows = [f"ocr,https://f.example/{number}.png,,,," for number in range(30)]
    async with Sandbox(ocr_rate=0, latency=0.2) as box, Backlog.open(place) as backlog, nothing_left_of_runs():
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *rows))
        async with session(box, max_running=6) as ekb:
            await cancelling(lambda: backlog.run(ekb), log.arrival("ocr", 6))
        assert await backlog.maybe_billed() == 0
        assert (await backlog.counts())["running"] == 0
        assert 6 <= (await backlog.counts())["done"] == box.vendor.billed["ocr"].total() < 30


@asynccontextmanager
async def nothing_left_of_runs() -> AsyncIterator[None]:
    """Check that no task is left after the block; the thread of the enclosing backlog may remain."""
    before = asyncio.all_tasks()
    yield
    assert [task.get_name() for task in asyncio.all_tasks() - before if task.get_name().startswith("ekb")] == []


async def test_all_blocks_are_left_in_order(tmp_path: Path, cancelling: Cancelling) -> None:
    """Sandbox, tenants' sessions and backlog, cancelled together, leave no task, thread, lock or temporary file, and
    all answers are in the backlog.
    """
    arrived = asyncio.Event()
    rows = [f"ocr,https://f.example/{number}.png,,,," for number in range(20)]

    async def work() -> None:
        async with (
            Sandbox(ocr_rate=0, latency=0.1) as box,
            TenantSessions(lambda _: session(box, max_running=4)) as sessions,
            Backlog.open(tmp_path / "b.sqlite") as backlog,
        ):
            await backlog.add_manifest(manifest(tmp_path, *rows))
            box.log = log = WatchedLog()
            waiting = asyncio.create_task(log.arrival("ocr", 4).wait())
            waiting.add_done_callback(lambda _: arrived.set())
            await backlog.run(sessions)

    async with nothing_left():
        await cancelling(work, arrived)
    assert names_in(tmp_path) == ["b.sqlite", "m.csv"]
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert (await backlog.counts())["done"] >= 4
        assert await backlog.maybe_billed() == 0
        assert {task.attempts for task in await all_tasks(backlog, "pending")} == {0}


@pytest.mark.postgres
async def test_a_database_is_left_in_order(tmp_path: Path, empty_database: str, cancelling: Cancelling) -> None:
    """A cancelled run of a backlog in a database leaves no task and no row in the state running."""
    async with Sandbox(ocr_rate=0, latency=0.1) as box, nothing_left():
        box.log = log = WatchedLog()

        async def work() -> None:
            async with session(box, max_running=4) as ekb, Backlog.open(empty_database) as backlog:
                await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(20))))
                await backlog.run(ekb)

        await cancelling(work, log.arrival("ocr", 4))
        async with Backlog.open(empty_database) as backlog:
            counts = await backlog.counts()
            assert counts["done"] == box.vendor.billed["ocr"].total() >= 4
            assert counts["running"] == 0
            assert await backlog.maybe_billed() == 0


async def test_a_session_is_closed_when_its_block_is_left(cancelling: Cancelling) -> None:
    """Leaving the block waits for running calls, fails queued ones, and closes the connections."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box, nothing_left():
        box.log = log = WatchedLog()
        jobs: list[Job[OcrResult]] = []

        async def work() -> None:
            config = SessionConfig(ocr_rate=1000, max_running=1)
            async with EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb:
                jobs.extend(ekb.submit_ocr(f"https://f.example/{number}.png") for number in range(3))
                await asyncio.Event().wait()

        await cancelling(work, log.arrival("ocr", 1))
        assert [job.state for job in jobs] == ["done", "failed", "failed"]


async def test_a_stream_sends_nothing_more(cancelling: Cancelling) -> None:
    """Cancelling the consumer of `ocr_many` cancels its queued jobs."""
    async with Sandbox(ocr_rate=0, latency=0.2) as box, session(box, max_running=2) as ekb:
        box.log = log = WatchedLog()

        async def work() -> None:
            async for _ in ekb.ocr_many(f"https://f.example/{number}.png" for number in range(50)):
                pass

        await cancelling(work, log.arrival("ocr", 2))
        assert ekb.stats().ocr.queued == 0
        assert ekb.stats().ocr.sent <= 4


async def test_downloads_leave_no_parts(tmp_path: Path, cancelling: Cancelling) -> None:
    """Cancelling the consumer of `download_invoices` leaves complete files only."""
    async with Sandbox(latency={"file": 0.2}) as box, session(box) as ekb, nothing_left_of_runs():
        box.log = log = WatchedLog()

        async def work() -> None:
            async for _ in ekb.download_invoices((f"corp:1:{number}" for number in range(20)), tmp_path):
                pass

        await cancelling(work, log.arrival("file", 3))
        assert not [name for name in names_in(tmp_path) if "part" in name]


async def test_a_run_ends_at_once_only_by_break_off(tmp_path: Path, place: Location) -> None:
    """A run that is cancelled repeatedly still waits; `break_off` ends it, and `broken_off` counts its calls."""
    async with Sandbox(ocr_rate=0, latency=60) as box, Backlog.open(place) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(5))))
        async with session(box, close_timeout=60) as ekb:
            run = asyncio.create_task(backlog.run(ekb))
            await log.arrival("ocr", 5).wait()
            for _ in range(3):
                run.cancel()
                await asyncio.sleep(0)
            assert not run.done()
            assert backlog.broken_off == 0
            backlog.break_off()
            backlog.break_off()
            with pytest.raises(asyncio.CancelledError):
                await run
        assert backlog.broken_off == 5
        assert await backlog.maybe_billed() == 5


async def test_a_scope_whose_last_task_has_just_ended_is_finished() -> None:
    """Closing may begin in the iteration of the loop between the end of a task and its done callback."""
    for iterations in range(4):
        scope = TaskScope()
        scope.start(asyncio.sleep(0), name="ekb test")
        for _ in range(iterations):
            await asyncio.sleep(0)
        await scope.finish(60)
        assert len(scope) == 0


async def test_a_backlog_is_left_while_a_run_is_at_work(tmp_path: Path, place: Location) -> None:
    """Calls under way are recorded before the backlog is closed, and none is billed twice."""
    async with Sandbox(ocr_rate=0, latency=0.1) as box, session(box, max_running=4) as ekb:
        async with Backlog.open(place) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *(f"ocr,https://f.example/{n},,,," for n in range(40))))
            run = asyncio.create_task(backlog.run(ekb))
            await box.arrived("ocr", 6)
        with pytest.raises(ConfigError, match="closed"):
            await run
        async with Backlog.open(place) as backlog:
            assert (await backlog.counts())["done"] == box.vendor.billed["ocr"].total() < 40
            assert (await backlog.run(ekb)).counts["done"] == 40
            assert await backlog.maybe_billed() == 0
        assert box.vendor.billed["ocr"].total() == 40
