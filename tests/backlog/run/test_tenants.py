"""Rows of many tenants in one backlog, each made with the session of its tenant."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import AddReport, Backlog, BacklogTiming, Progress, TenantCounts
from ekb_async.backlog.run.limits import RunLimits
from ekb_async.backlog.run.run import Run
from ekb_async.errors import ConfigError, PermissionDeniedError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from ekb_async.session.tenants import TenantSessions
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, names_in, picture, session
from tests.support.watched_log import WatchedLog

HEADER = "kind,file,invoice_id,staff_id,ref,tenant\n"


def tenant_manifest(directory: Path, *rows: str, name: str = "m.csv") -> Path:
    path = directory / name
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


async def test_each_tenant_pays_for_its_own(tmp_path: Path, place: Location) -> None:
    """Rows of equal content share a call within a tenant, but not between tenants or with rows without a tenant."""
    name = picture(tmp_path, "a.png")
    rows = [f"ocr,{name},,,1,甲", f"ocr,{name},,,2,乙", f"ocr,{name},,,3, 甲 ", f"ocr,{name},,,4,"]
    async with Sandbox(ocr_rate=0) as one, Sandbox(ocr_rate=0) as two, Backlog.open(place) as backlog:
        boxes = {"甲": one, "乙": two, "": two}
        assert await backlog.add_manifest(tenant_manifest(tmp_path, *rows)) == AddReport(added=3, duplicates=1)
        summary = await backlog.run(lambda tenant: session(boxes[tenant]))
        tasks = await all_tasks(backlog)
    assert summary.counts["done"] == 4
    assert [(task.ref, task.tenant, task.shared) for task in tasks] == [
        ("1", "甲", True),
        ("2", "乙", False),
        ("3", "甲", False),
        ("4", "", False),
    ]
    assert (one.vendor.billed["ocr"].total(), two.vendor.billed["ocr"].total()) == (1, 2)


async def test_one_session_is_not_enough_for_tenants(tmp_path: Path, place: Location) -> None:
    """A run with a single session refuses a backlog whose rows have tenants, and sends nothing."""
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(place) as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, "url,,c:1:2,,,", "url,,c:1:2,,,acme"))
        with pytest.raises(ConfigError, match="rows have a tenant"):
            await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 2, "running": 0, "done": 0, "failed": 0}
        assert box.count("invoice_url") == 0
        assert await backlog.active_runs() == []


async def test_a_tenant_that_is_refused_does_not_stop_the_others(tmp_path: Path, place: Location) -> None:
    """Its rows stay pending, the others are done; then the refusal is raised, and names the other refused tenants."""
    rows = [f"ocr,https://f.example/{n},,,,{tenant}" for tenant in ("good", "bad", "worse") for n in range(20)]
    async with (
        Sandbox(ocr_rate=0, latency=0.05) as good,
        Sandbox(ocr_rate=0, permissions=set()) as bad,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(tenant_manifest(tmp_path, *rows))
        async with TenantSessions(lambda tenant: session(good if tenant == "good" else bad)) as pool:
            with pytest.raises(PermissionDeniedError) as refused:
                await backlog.run(pool)
        found = {each.tenant: each.counts for each in await backlog.tenants()}
        assert (found["good"]["done"], found["bad"]["pending"], found["worse"]["pending"]) == (20, 20, 20)
        notes = "".join(refused.value.__notes__)
        assert "'bad'" in notes
        assert "'worse'" in notes
        bad.permissions.add("ocr")
        async with TenantSessions(lambda tenant: session(good if tenant == "good" else bad)) as pool:
            assert (await backlog.run(pool)).counts["done"] == 60
    assert (good.vendor.billed["ocr"].total(), bad.vendor.billed["ocr"].total()) == (20, 40)


async def test_a_tenant_without_a_session(tmp_path: Path, place: Location) -> None:
    """An error of the callable that makes sessions affects its tenant only."""

    def session_for(tenant: str) -> EkbSession:
        if tenant == "gone":
            raise ConfigError("no keys")
        return session(box)

    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, "url,,c:1:2,,,gone", "url,,c:1:2,,,here"))
        with pytest.raises(ConfigError, match="no keys"):
            await backlog.run(session_for)
        assert [each.counts["done"] for each in await backlog.tenants()] == [0, 1]


async def test_small_tenants_do_not_wait_for_large_ones(tmp_path: Path, place: Location) -> None:
    """If there are more tenants than are served at once, those with few calls come first, and all are served."""
    rows = [
        f"url,,c:1:{n},,,{tenant}"
        for tenant, count in (("large", 9), ("a", 1), ("b", 2), ("c", 3))
        for n in range(count)
    ]
    pool = RecordingPool()
    async with Sandbox() as box, Backlog.open(place) as backlog, pool.sessions(box):
        await backlog.add_manifest(tenant_manifest(tmp_path, *rows))
        run = Run(backlog._store, pool, BacklogTiming(), limits=RunLimits(tenants_at_once=2))
        assert (await run.work()).counts["done"] == 15
    assert pool.asked == ["a", "b", "c", "large"]
    assert pool.max_open == 2


class RecordingPool:
    """A pool that records which tenants asked for a session, and how many had one at the same time."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.max_open = self._open = 0

    @asynccontextmanager
    async def sessions(self, box: Sandbox) -> AsyncIterator[None]:
        async with TenantSessions(lambda _: session(box)) as self._pool:
            yield

    @asynccontextmanager
    async def session(self, tenant: str) -> AsyncIterator[EkbSession]:
        self.asked.append(tenant)
        self._open += 1
        self.max_open = max(self.max_open, self._open)
        try:
            async with self._pool.session(tenant) as ekb:
                yield ekb
        finally:
            self._open -= 1

    async def changed(self) -> set[str]:
        return await self._pool.changed()


@pytest.mark.slow
async def test_many_tenants_are_one_run(tmp_path: Path, place: Location) -> None:
    """Many tenants are served by one run, and its progress covers the whole backlog."""
    seen: list[Progress] = []
    hosts: set[int] = set()

    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, *(f"url,,c:1:2,,,tenant {n}" for n in range(300))))
        run = asyncio.create_task(backlog.run(lambda _: session(box), progress=seen.append))
        while not run.done():
            hosts.add(len(await backlog.active_runs()))
        assert (await run).counts["done"] == 300
        assert await backlog.active_runs() == []
    assert max(hosts) == 1
    assert [progress.total for progress in seen] == [300] * len(seen)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)


async def test_cancelling_a_run_of_tenants(tmp_path: Path, place: Location) -> None:
    """Calls in flight of all tenants end and are recorded; nothing else is sent."""
    rows = [f"ocr,https://f.example/{n},,,,{tenant}" for tenant in "abc" for n in range(30)]
    async with Sandbox(ocr_rate=0, latency=0.1) as box, Backlog.open(place) as backlog:
        box.log = log = WatchedLog()
        await backlog.add_manifest(tenant_manifest(tmp_path, *rows))
        run = asyncio.create_task(backlog.run(lambda _: session(box, max_running=3)))
        await log.arrival("ocr", 12).wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        counts = await backlog.counts()
        assert 12 <= counts["done"] == box.vendor.billed["ocr"].total() < 90
        assert counts["pending"] == 90 - counts["done"]
        assert await backlog.maybe_billed() == 0


async def test_breaking_off_while_tenants_are_looked_up(
    tmp_path: Path, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`break_off` ends a run at once, also while the run waits for the tenants that have pending calls."""
    looking = asyncio.Event()
    async with Sandbox(ocr_rate=0, latency=60) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, "ocr,https://f.example/1,,,,a"))
        pending_tenants = backlog._store.pending_tenants

        async def pending(kinds: Sequence[str]) -> list[str]:
            if box.count("ocr"):
                looking.set()
                await asyncio.Event().wait()
            return await pending_tenants(kinds)

        monkeypatch.setattr(backlog._store, "pending_tenants", pending)
        run = asyncio.create_task(backlog.run(lambda _: session(box, close_timeout=60)))
        await looking.wait()
        backlog.break_off()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await run
        [task] = await all_tasks(backlog)
    assert (task.state, task.attempts, task.maybe_billed) == ("pending", 1, 1)


async def test_how_tenants_stand(tmp_path: Path, place: Location) -> None:
    """`tenants` has rows by state, unconfirmed calls and lost answers, ordered by tenant name."""
    rows = ["url,,c:1:2,,,b", "url,,unknown,,,b", "url,,c:1:2,,,", "ocr,https://f.example/1,,,,a"]
    async with Sandbox(ocr_rate=0, faults=[Fault.lost_answer(calls="ocr")]) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, *rows))
        await backlog.run(lambda _: session(box, repeat_unknown=False))
        none = dict.fromkeys(("pending", "running", "done", "failed"), 0)
        assert await backlog.tenants() == [
            TenantCounts(tenant="", counts={**none, "done": 1}, unconfirmed=0, maybe_billed=0),
            TenantCounts(tenant="a", counts={**none, "failed": 1}, unconfirmed=1, maybe_billed=1),
            TenantCounts(tenant="b", counts={**none, "done": 1, "failed": 1}, unconfirmed=0, maybe_billed=0),
        ]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.xlsx", "out.parquet"])
async def test_exports_say_whose_rows_they_are(tmp_path: Path, name: str) -> None:
    """Exports have a column for the tenant if, and only if, a row has one; files for programs have it last."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, "url,,c:1:2,,,"))
        await backlog.export(tmp_path / f"without-{name}")
        await backlog.add_manifest(tenant_manifest(tmp_path, "url,,c:1:2,,,acme", name="t.csv"))
        await backlog.export(tmp_path / name)
    without, having = columns_of(tmp_path / f"without-{name}"), columns_of(tmp_path / name)
    assert "tenant" not in without
    assert [heading for heading in having if heading != "tenant"] == without
    assert having[-1] == "tenant" or (name.endswith(".xlsx") and "tenant" in having)


def columns_of(path: Path) -> list[str]:
    if path.suffix == ".jsonl":
        return list(json.loads(path.read_text(encoding="utf-8").splitlines()[-1]))
    if path.suffix == ".csv":
        return next(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(path).column_names)
    import openpyxl

    return [str(cell.value).lower() for cell in openpyxl.load_workbook(path)["Invoices"][1]]


async def test_a_report_has_tenants_where_there_are_some(tmp_path: Path) -> None:
    """Each tenant has a line; the page of a backlog without tenants does not mention them."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, "url,,c:1:2,,,"))
        await backlog.report(tmp_path / "without.html")
        await backlog.add_manifest(tenant_manifest(tmp_path, "url,,c:1:2,,,<acme>", name="t.csv"))
        await backlog.report(tmp_path / "with.html")
        await backlog.report(tmp_path / "zh.html", lang="zh")
    assert "tenant" not in (tmp_path / "without.html").read_text(encoding="utf-8").lower()
    assert "&lt;acme&gt;" in (tmp_path / "with.html").read_text(encoding="utf-8")
    assert "租户" in (tmp_path / "zh.html").read_text(encoding="utf-8")


async def test_a_tenant_is_checked_like_other_texts(tmp_path: Path) -> None:
    """Control characters in a tenant are refused by line and column."""
    path = tmp_path / "m.jsonl"
    path.write_text('{"kind": "url", "invoice_id": "c:1:2", "tenant": "a\\u001fb"}\n')
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="line 1, column tenant: the value has control characters"):
            await backlog.add_manifest(path)


async def test_a_file_of_the_second_version_gets_tenants(tmp_path: Path) -> None:
    """Old rows have no tenant, and rows of tenants can be added."""
    path = tmp_path / "b.sqlite"
    await asyncio.to_thread(second_version, path)
    async with Sandbox() as box, Backlog.open(path) as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, "url,,c:1:2,,new,", "url,,c:1:2,,,acme", name="t.csv"))
        assert (await backlog.run(lambda _: session(box))).counts["done"] == 3
        assert [(task.tenant, task.shared) for task in await all_tasks(backlog)] == [
            ("", True),
            ("", False),
            ("acme", False),
        ]
    assert names_in(tmp_path) == ["b.sqlite", "t.csv"]


def second_version(path: Path) -> None:
    """Create a backlog in version 2 of the format, with one pending row."""
    from ekb_async.backlog.store.sqlite import schema
    from ekb_async.storage.migrations.steps import steps

    with closing(sqlite3.connect(path)) as db:
        for statements in steps("backlog_file")[:2]:
            db.executescript(";\n".join(statements))
        with contextlib.closing(db.cursor()) as cursor:
            cursor.execute("INSERT INTO manifests VALUES (1, '/m.csv', '[\"kind\",\"invoice_id\"]', 1.0)")
            cursor.execute("INSERT INTO calls (id, identity, kind, row_id) VALUES (1, 'url:invoice:c:1:2', 'url', 1)")
            cursor.execute("INSERT INTO rows VALUES (1, 1, 1, 2, NULL, NULL, '', '', 'c:1:2', '', '')")
        db.commit()
        db.executescript(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 2")
