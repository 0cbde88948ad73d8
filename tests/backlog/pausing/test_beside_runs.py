"""Pauses that begin and end while runs are at work, while rows are added, and while another pause begins."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from ekb_async.backlog import Backlog, Progress
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.sandbox import Sandbox
from tests.backlog.pausing.test_pausing import checks, held_rows, urls
from tests.support.backlog_stores import Location
from tests.support.backlogs import session
from tests.support.fast_times import FAST_BACKLOG
from tests.support.postgres import connected
from tests.support.waiting import until, until_in_database


async def test_a_run_gives_back_what_it_has_claimed_and_not_sent(place: Location) -> None:
    """A run claims many calls ahead; a pause takes effect on those too, and what was sent ends and is paid once."""
    names = [str(n) for n in range(40)]
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, latency=0.05) as box,
        session(box, verify_rate=10.0, max_running=2) as ekb,
        Backlog.open(place, timing=FAST_BACKLOG) as backlog,
    ):
        await backlog.add([*checks(*names[:20], ref="x"), *checks(*names[20:], ref="y")])
        running = asyncio.create_task(backlog.run(ekb))
        await until(lambda: _has_sent(box, 3))
        await backlog.pause(ref="x")

        async def is_held() -> bool:
            counts = await backlog.counts()
            held = sum(each.held for each in await backlog.tenants())
            return held > 0 and held + counts["done"] + counts["running"] + counts["pending"] - held == 40

        await until(is_held)
        summary = await running
        held = summary.held
        assert 0 < held <= 17
        assert summary.counts == {"pending": held, "running": 0, "done": 40 - held, "failed": 0}
        assert box.vendor.billed["verify_by_id"].total() == 40 - held
        await backlog.resume(ref="x")
        assert (await backlog.run(ekb)).counts["done"] == 40
    assert box.vendor.billed["verify_by_id"].total() == 40


async def test_a_run_at_work_goes_on_with_what_is_resumed(place: Location) -> None:
    """A run that has other calls to make needs no restart, also if it serves no tenants."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0) as box,
        session(box, verify_rate=5.0) as ekb,
        Backlog.open(place, timing=FAST_BACKLOG) as backlog,
    ):
        await backlog.add([*checks(*(str(n) for n in range(15))), *urls("u")])
        await backlog.pause(kind="url", reason="not yet")
        waits: list[str] = []

        def watch(progress: Progress) -> None:
            waits.extend(wait.reason for wait in progress.waits)

        running = asyncio.create_task(backlog.run(ekb, progress=watch))
        await until(lambda: _has_sent(box, 2))
        await backlog.resume(kind="url")

        async def is_done() -> bool:
            return await backlog.count("done", kind="url") == 1

        await until(is_done)
        assert not running.done()
        assert (await running).counts["done"] == 16
    assert "held" in waits


async def _has_sent(box: Sandbox, calls: int) -> bool:
    return box.vendor.billed["verify_by_id"].total() >= calls


async def test_a_pause_that_ends_before_all_its_calls_are_held(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a pause is ended while its calls are still being held, none stays held."""
    small = msgspec.structs.replace(LIMITS, calls_per_held_page=1)
    monkeypatch.setattr("ekb_async.backlog.store.changes.pausing.LIMITS", small)
    async with Backlog.open(place) as backlog, Backlog.open(place) as other:
        await backlog.add(urls(*map(str, range(100))))
        holding = asyncio.create_task(backlog.pause(everything=True))
        await until(lambda: _has_held(other))
        monkeypatch.undo()
        await other.resume(everything=True)
        await holding
        assert await held_rows(other) == []


async def _has_held(backlog: Backlog) -> bool:
    return await held_rows(backlog) != []


@pytest.mark.postgres
async def test_rows_that_are_being_added_when_a_pause_ends(database: str) -> None:
    """Calls that are added in a transaction that began before a pause was ended are not held afterwards."""
    async with connected(database) as connection, Backlog.open(database) as backlog, Backlog.open(database) as other:
        await backlog.pause(tenant="a")
        holding_up = connection.transaction()
        await holding_up.start()
        await connection.execute("LOCK TABLE ekb_row IN SHARE MODE")
        adding = asyncio.create_task(backlog.add(urls("1", "2", tenant="a")))
        await until_in_database(
            connection, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'ekb_row'::regclass)"
        )
        resuming = asyncio.create_task(other.resume(tenant="a"))
        await asyncio.wait([resuming], timeout=0.5)
        await holding_up.rollback()
        await adding
        assert (await resuming).calls == 2
        assert await held_rows(other) == []
