"""Rows that are selected by what they have, on both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ekb_async import ConfigError, TaskNotFoundError
from ekb_async.backlog import Backlog, Row
from ekb_async.backlog.store import limits
from ekb_async.backlog.store.reading import selecting
from ekb_async.backlog.store.values.selection import Selection
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, session
from tests.support.moments import after, before


@pytest.fixture(params=["looked up", "read in order"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Select the rows in both ways."""
    if request.param == "read in order":
        few = msgspec.structs.replace(limits.LIMITS, calls_gathered=0)
        monkeypatch.setattr(selecting, "LIMITS", few)


async def filled(backlog: Backlog, box: Sandbox) -> None:
    """Add rows of two tenants and make their calls, all but one; the last one fails."""
    rows = [
        Row(kind="url", invoice_id="corp:1:1", ref="r1", tenant="a"),
        Row(kind="url", invoice_id="corp:1:2", ref="r2", tenant="a"),
        Row(kind="url", invoice_id="corp:1:1", ref="r3", tenant="b"),
        Row(kind="url", invoice_id="corp:1:1", ref="r4", tenant="b"),
        Row(kind="url", invoice_id="unknown", ref="r2", tenant="b"),
    ]
    await backlog.add(rows)
    await backlog.run(lambda _: session(box))
    await backlog.add([Row(kind="url", invoice_id="corp:1:3", ref="r5", tenant="a")])


@pytest.mark.usefixtures("way")
async def test_rows_are_selected_by_tenant_reference_time_and_call(place: Location, quick_box: Sandbox) -> None:
    """What is selected in several ways has all of it; `count` counts it, and the order is that of adding."""
    async with Backlog.open(place) as backlog:
        await filled(backlog, quick_box)
        tasks = await all_tasks(backlog)
        ended = [task for task in tasks if task.ended_at is not None]
        ids = [task.call_id for task in tasks]
        assert ids[2] == ids[3]
        assert len(set(ids)) == 5
        latest = max(task.ended_at for task in ended if task.ended_at is not None)
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"tenant": "a"}, ["r1", "r2", "r5"]),
            ({"tenant": "b"}, ["r3", "r4", "r2"]),
            ({"tenant": ""}, []),
            ({"tenant": "a", "state": "done"}, ["r1", "r2"]),
            ({"state": "failed"}, ["r2"]),
            ({"state": "failed", "tenant": "a"}, []),
            ({"state": "pending", "kind": "url"}, ["r5"]),
            ({"ref": "r2"}, ["r2", "r2"]),
            ({"ref": "r2", "tenant": "b"}, ["r2"]),
            ({"ref": "r9"}, []),
            ({"since": before(ended[0])}, ["r1", "r2", "r3", "r4", "r2"]),
            ({"since": before(ended[0]), "tenant": "a"}, ["r1", "r2"]),
            ({"since": before(ended[0]), "tenant": "a", "state": "failed"}, []),
            ({"since": latest}, [task.ref for task in ended if task.ended_at == latest]),
            ({"since": after(latest)}, []),
            ({"calls": [ids[3], ids[0]]}, ["r1", "r3", "r4"]),
            ({"calls": [ids[3]], "ref": "r4"}, ["r4"]),
            ({"calls": []}, []),
            ({"file": "1:2", "tenant": "a"}, ["r2"]),
        ]
        for selected, refs in cases:
            found = [task async for task in backlog.results(**selected)]
            assert [task.ref for task in found] == refs, selected
            assert await backlog.count(**selected) == len(refs), selected
            late = [task async for task in backlog.results(**selected, after=tasks[1].id)]
            assert late == [task for task in found if task.id > tasks[1].id], selected


async def test_one_row_by_its_number(place: Location, quick_box: Sandbox) -> None:
    """A row is read by its number; for one that is missing there is an error of its own."""
    async with Backlog.open(place) as backlog:
        await filled(backlog, quick_box)
        for task in await all_tasks(backlog):
            assert await backlog.task(task.id) == task
        with pytest.raises(TaskNotFoundError, match="no row 99") as caught:
            await backlog.task(99)
        assert isinstance(caught.value, LookupError)
        with pytest.raises(ConfigError, match="number must be a whole number"):
            await backlog.task(0)


async def test_wrong_selections_are_refused(place: Location) -> None:
    """A time without a time zone and a number that is none are refused."""
    async with Backlog.open(place) as backlog:
        with pytest.raises(ConfigError, match="since must be a time with a time zone"):
            await backlog.count(since=after().replace(tzinfo=None))
        with pytest.raises(ConfigError, match="calls must be a whole number"):
            await backlog.count(calls=[0])
        with pytest.raises(ConfigError, match="after must be a whole number"):
            await anext(backlog.results(after=-1).__aiter__())


async def test_an_export_of_some_rows(tmp_path: Path, place: Location, quick_box: Sandbox) -> None:
    """An export has the rows of a tenant, of a reference, or those that ended since a time."""
    target = tmp_path / "some.jsonl"
    async with Backlog.open(place) as backlog:
        await filled(backlog, quick_box)
        assert await backlog.export(target, tenant="a") == 3
        assert await backlog.export(target, ref="r2", tenant="b") == 1
        assert await backlog.export(target, since=after()) == 0


async def test_selections_are_looked_up_by_indexes(place: Location, quick_box: Sandbox) -> None:
    """No statement that counts or finds few selected rows reads a whole table, also without statistics."""
    async with Backlog.open(place) as backlog:
        await filled(backlog, quick_box)
        for selection in (
            Selection(ref="r1"),
            Selection(calls=[1]),
            Selection(since=1.0),
            Selection(since=1.0, tenant="a", state="done", kind="url"),
            Selection(state="failed"),
            Selection(state="failed", tenant="a"),
            Selection(tenant="a"),
        ):
            for way in selecting._ways(backlog._store, selection):
                for statement in filter(None, (way.counting, way.finding)):
                    assert await scans(backlog, statement, selection) == [], statement


async def scans(backlog: Backlog, statement: str, selection: Selection) -> list[str]:
    """Return the steps of a statement's plan that read a whole table."""
    values = {**selection._asdict(), "after": 0, "most": 9}

    async def explain(statements: object) -> list[str]:
        fetch = statements.fetch  # type: ignore[attr-defined]
        if backlog._store.file is not None:
            plan = [row[3] for row in await fetch(f"EXPLAIN QUERY PLAN {statement}", **values)]
            return [step for step in plan if step.startswith("SCAN") and "json_each" not in step and "(sub" not in step]
        await statements.execute("SET LOCAL enable_seqscan = off")  # type: ignore[attr-defined]
        plan = [row[0] for row in await fetch(f"EXPLAIN {statement}", **values)]
        return [step for step in plan if "Seq Scan" in step]

    return await backlog._store.change(explain)
