"""When calls were added: in tasks, exports and copies, and since when the oldest pending one waits."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from ekb_async.backlog import Backlog, Row
from ekb_async.config import Priority
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.models.wire.coerce import CHINA
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks
from tests.support.played_engine import Engine, enqueue, fetch


async def add(backlog: Backlog, *names: str, tenant: str = "") -> datetime:
    """Add calls, and return the time at which the last of them was added."""
    await backlog.add([Row(kind="ocr", file=f"https://f.example/{name}.png", tenant=tenant) for name in names])
    added_at = (await all_tasks(backlog))[-1].added_at
    assert added_at is not None
    return added_at


async def test_tasks_and_exports_say_when(tmp_path: Path, place: Location) -> None:
    """A row that shares a call has the time of the call; a row that is added again keeps it."""
    before = datetime.now(CHINA) - timedelta(seconds=1)
    async with Backlog.open(place) as backlog:
        added_at = await add(backlog, "a")
        assert before < added_at < datetime.now(CHINA) + timedelta(seconds=1)
        assert await add(backlog, "a") == added_at
        assert await add(backlog, "b") > added_at
        await backlog.export(tmp_path / "out.jsonl")
        await backlog.export(tmp_path / "out.csv")
    first = msgspec.json.decode((tmp_path / "out.jsonl").read_bytes().splitlines()[0])
    assert datetime.fromisoformat(first["added_at"]) == added_at
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        [line, *_] = csv.DictReader(file)
    assert line["added_at"].startswith(f"{added_at:%Y-%m-%d}")


async def test_a_copy_keeps_it(tmp_path: Path, place: Location) -> None:
    async with Backlog.open(tmp_path / "old.sqlite") as old, Backlog.open(place) as new:
        await add(old, "a", "b")
        await old.copy_to(new)
        assert [task.added_at for task in await all_tasks(new)] == [task.added_at for task in await all_tasks(old)]


async def test_the_oldest_of_each_tenant(place: Location) -> None:
    async with Backlog.open(place) as backlog:
        first = await add(backlog, "a", tenant="x")
        await add(backlog, "b", tenant="x")
        other = await add(backlog, "c", tenant="y")
        assert [(each.tenant, each.oldest) for each in await backlog.tenants()] == [("x", first), ("y", other)]
        await backlog.remove(tenant="x")
        assert [(each.tenant, each.oldest) for each in await backlog.tenants()] == [("y", other)]


async def test_the_oldest_of_any_priority(database: str) -> None:
    """A call of a low priority counts, although others are made before it; one that is held does not."""
    engine = Engine()
    for number, priority in enumerate((Priority.BULK, Priority.HIGH, Priority.NORMAL)):
        job = InvoiceJob(kind="ocr", tenant="a", file=f"https://f.example/{number}.png", priority=priority)
        await enqueue(database, engine, [job])
    async with Backlog.open(database) as backlog:
        times = [task.added_at for task in await all_tasks(backlog)]
        assert [each.oldest for each in await backlog.tenants()] == [times[0]]
        await fetch(database, "UPDATE ekb_call SET due_at = 'infinity' WHERE id = (SELECT min(id) FROM ekb_call)")
        assert [each.oldest for each in await backlog.tenants()] == [times[1]]
