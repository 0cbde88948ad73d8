"""The figures of a backlog, on a file and a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pytest

from ekb_async import ConfigError
from ekb_async.backlog import AutoPause, Backlog, BacklogMetrics, GivenUp, OtherTenants, Row
from ekb_async.backlog.run.shown.said import Said
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Fault, Sandbox
from tests.support.altered_calls import alter, hold_calls, let_calls_age, let_wait_for_another_day
from tests.support.backlog_stores import Location
from tests.support.backlogs import session

DAY = 86_400
NOW = datetime.now(CHINA)


def rows(count: int, tenant: str = "", kind: str = "ocr", prefix: str = "f") -> Iterable[Row]:
    for number in range(count):
        url = f"https://files.example/{prefix}-{tenant}-{number}.png"
        yield Row(kind=kind, file=url, tenant=tenant) if kind == "ocr" else Row(kind=kind, invoice_id=f"c:{number}:1")


async def figures_of(place: Location, top: int = 10) -> BacklogMetrics:
    async with Backlog.open(place) as backlog:
        return await backlog.metrics(top)


async def test_an_empty_backlog(place: Location) -> None:
    """Everything is there, and zero."""
    async with Backlog.open(place) as backlog:
        before = time.time()
        found = await backlog.metrics()
        assert found.backlog == backlog.name
    assert before - 1 < found.read_at.timestamp() < time.time() + 1
    assert found.rows == {"pending": 0, "running": 0, "done": 0, "failed": 0}
    assert found.waiting == {"another_day": 0, "held": 0, "budget": 0, "given_up": 0, "paused": 0}
    assert (found.oldest_pending, found.oldest_ready, found.failed, found.top) == (0, 0, {}, ())
    assert found.others == OtherTenants(tenants=0)
    assert (found.runs, found.silence) == ({"active": 0, "silent": 0}, None)


async def test_what_runs_leave(place: Location) -> None:
    """Calls by state and kind, failures by class, billed attempts with those whose answer was lost."""
    faults = [
        Fault.answer(400, "识别失败", calls={"ocr"}, times=2),
        Fault.reset(calls={"ocr"}, times=1),
    ]
    async with Backlog.open(place) as backlog:
        await backlog.add([*rows(5), *rows(2), *rows(3, kind="url")])
        async with Sandbox(ocr_rate=0, faults=faults) as box, session(box, repeat_unknown=False, max_running=1) as ekb:
            await backlog.run(ekb)
        await backlog.add(rows(4, prefix="later"))
        found, billed = await backlog.metrics(), await backlog.accounting()
    assert found.calls == {
        "pending": {"ocr": 4, "url": 0},
        "running": {"ocr": 0, "url": 0},
        "done": {"ocr": 2, "url": 3},
        "failed": {"ocr": 3, "url": 0},
    }
    assert found.rows == {"pending": 4, "running": 0, "done": 5, "failed": 5}
    assert found.failed == {"RecognitionError": 2, "OutcomeUnknownError": 1}
    assert (found.unconfirmed, found.maybe_billed) == (1, 1)
    assert found.billed_attempts == {"ocr": billed.calls, "verify": 0, "verify_by_id": 0, "verify_by_fields": 0}
    assert billed.calls == 5


async def test_ages_and_what_waits(place: Location) -> None:
    """The oldest call may wait for another day or be held; it is not ready then."""
    async with Backlog.open(place) as backlog:
        await backlog.add([*rows(2, "north"), *rows(3, "south")])
        await let_calls_age(place, 3 * DAY, "id = 1")
        await let_calls_age(place, 2 * DAY, "id = 2")
        await let_calls_age(place, 600, "id = 3")
        await let_wait_for_another_day(place, "id = 1")
        await hold_calls(place, "id = 2")
        found = await backlog.metrics()
    assert found.waiting == {"another_day": 1, "held": 1, "budget": 0, "given_up": 0, "paused": 0}
    assert found.oldest_pending == pytest.approx(3 * DAY, abs=60)
    assert found.oldest_ready == pytest.approx(600, abs=60)
    assert found.tenants == {"pending": 2, "held": 1, "over_budget": 0, "given_up": 0, "paused": 0}
    south, north = found.top
    assert (north.tenant, north.pending, north.waiting, north.oldest_ready) == ("north", 2, 2, 0)
    assert (south.tenant, south.pending, south.waiting) == ("south", 3, 0)
    assert south.oldest_ready == found.oldest_ready


async def test_what_runs_have_paused(place: Location) -> None:
    """What a run at work says that it does not make is not ready; when the run has ended, it is."""
    trouble = AutoPause(tenant="north", kind="ocr", since=NOW, next_try=NOW, reason="the vendor answers 500")
    left = [GivenUp(tenant=tenant, since=NOW, reason="AuthError") for tenant in ("south", "gone")]
    async with Backlog.open(place) as backlog:
        await backlog.add([*rows(2, "north"), *rows(3, "south"), *rows(1, "east")])
        await let_calls_age(place, 900, "tenant <> 'east'")
        run_id = await backlog._store.begin_run(hold_unknown=False)
        await backlog._store.say(run_id, Said(paused=(trouble,), given_up=tuple(left)).encode())
        found = await backlog.metrics()
        assert found.waiting == {"another_day": 0, "held": 0, "budget": 0, "given_up": 3, "paused": 2}
        assert found.tenants == {"pending": 3, "held": 0, "over_budget": 0, "given_up": 2, "paused": 1}
        assert found.oldest_ready < 600 < found.oldest_pending
        health = await backlog.health(max_age=600)
        assert [(each.check, each.text) for each in health.problems] == [
            ("tenants", "runs have given up tenants, because their calls would fail: gone, south")
        ]
        await backlog._store.end_run(run_id)
        assert (await backlog.metrics()).oldest_ready == pytest.approx(900, abs=60)
        assert [each.check for each in (await backlog.health(max_age=600)).problems] == ["age"]


async def test_pauses_of_persons(place: Location) -> None:
    """What a person has paused is held; a pause of a reference holds only its calls."""
    async with Backlog.open(place) as backlog:
        await backlog.add([*rows(2, "north"), *rows(3, "south")])
        await backlog.add([Row(kind="ocr", file="https://files.example/r.png", tenant="south", ref="R1")])
        await backlog.pause(tenant="north")
        await backlog.pause(ref="R1")
        await backlog.add(rows(1, "north", prefix="later"))
        found = await backlog.metrics()
    assert found.waiting == {"another_day": 0, "held": 4, "budget": 0, "given_up": 0, "paused": 0}
    assert (found.tenants["pending"], found.tenants["held"]) == (2, 2)


async def test_budgets_that_are_spent(place: Location) -> None:
    """Billed calls beyond a budget wait for it; free ones are ready. What is spent is counted by day and month."""
    async with Backlog.open(place) as backlog:
        await backlog.set_budget("north", per_day=1)
        await backlog.set_budget(None, per_month=100)
        await backlog.add([*rows(3, "north"), *rows(1, "north", kind="url"), *rows(1, "south")])
        async with Sandbox(ocr_rate=0) as box:
            async with asyncio.timeout(30):
                await backlog.run(lambda _: session(box))
        await backlog.add([Row(kind="url", invoice_id="c:9:1", tenant="north")])
        await let_calls_age(place, 900)
        found = await backlog.metrics()
        assert found.waiting == {"another_day": 0, "held": 0, "budget": 2, "given_up": 0, "paused": 0}
        assert found.tenants == {"pending": 1, "held": 0, "over_budget": 1, "given_up": 0, "paused": 0}
        assert (found.spent, found.budgets) == ({"day": 2, "month": 2}, {"month": 100})
        assert found.oldest_ready == pytest.approx(900, abs=60)
        problem = (await backlog.health(max_age=600)).problems[0]
        assert problem.text.startswith("a call of tenant north (url)")
        await backlog.set_budget(None, per_month=0)
        found = await backlog.metrics()
        assert found.waiting["budget"] == 2
        assert found.tenants["over_budget"] == 1


async def test_a_run_of_another_version(place: Location) -> None:
    """What it says in another way is left out."""
    async with Backlog.open(place) as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        await backlog._store.say(run_id, '{"paused": 3}')
        assert (await backlog.metrics()).tenants["paused"] == 0
        await backlog._store.end_run(run_id)


async def test_many_tenants_given_up(place: Location) -> None:
    """A line on health names the first of them."""
    async with Backlog.open(place) as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        left = [GivenUp(tenant=f"t{number}", since=NOW, reason="AuthError") for number in range(9)]
        await backlog._store.say(run_id, Said(given_up=tuple(left)).encode())
        [problem] = (await backlog.health()).problems
        await backlog._store.end_run(run_id)
    assert problem.text == "runs have given up 9 tenants, the first of them t0, t1, t2, t3, t4"


async def test_calls_of_an_early_version(place: Location, tmp_path: Path) -> None:
    """Calls without a time are as old as the manifest that they were added from."""
    async with Backlog.open(place) as backlog:
        await backlog.add(rows(2))
        await alter(place, "UPDATE calls SET added_at = NULL")
        await alter(
            place,
            "UPDATE manifests SET added_at = added_at - 1000",
            "UPDATE ekb_manifest SET added_at = added_at - 1000",
        )
        await backlog.add(rows(1, prefix="new"))
        found = await backlog.metrics()
        assert found.oldest_pending == found.oldest_ready == pytest.approx(1000, abs=60)
        assert (await backlog.health(max_age=900)).oldest_ready == pytest.approx(1000, abs=60)
        assert (await backlog.health(max_age=1100)).is_well


async def test_a_clock_that_was_set_back(place: Location) -> None:
    """No age is negative."""
    async with Backlog.open(place) as backlog:
        await backlog.add(rows(1))
        await let_calls_age(place, -DAY)
        found = await backlog.metrics()
    assert (found.oldest_pending, found.oldest_ready, found.top[0].oldest_ready) == (0, 0, 0)


async def test_few_tenants_apart(place: Location) -> None:
    """Those with the most calls and those with the oldest are shown, the others as one."""
    async with Backlog.open(place) as backlog:
        for number in range(1, 9):
            await backlog.add(rows(number, f"t{number}"))
        await let_calls_age(place, 600, "tenant = 't2'")
        await let_calls_age(place, 300, "tenant = 't1'")
        found = await backlog.metrics(3)
    assert [each.tenant for each in found.top] == ["t8", "t7", "t2"]
    assert (found.others.tenants, found.others.pending) == (5, 1 + 3 + 4 + 5 + 6)
    assert found.others.oldest_ready == pytest.approx(300, abs=60)
    assert found.tenants["pending"] == 8


async def test_purged_calls_stay_billed(place: Location) -> None:
    """What was paid for calls that were purged is still counted."""
    values = "VALUES ('a', 'ocr', 'done', '', '', 7, 8, 9, 2)"
    columns = "(tenant, kind, state, source, error_type, calls, rows, attempts, maybe_billed)"
    async with Backlog.open(place) as backlog:
        await alter(
            place,
            f"INSERT INTO purged {columns} {values}",
            f"INSERT INTO ekb_purged {columns} {values}",
        )
        found = await backlog.metrics()
    assert (found.billed_attempts["ocr"], found.maybe_billed) == (9, 2)


async def test_active_and_silent_runs(database: str) -> None:
    """A worker that was not seen for a while is silent, and for how long is known."""
    async with Backlog.open(database) as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        found = await backlog.metrics()
        assert found.runs == {"active": 1, "silent": 0}
        assert found.silence is not None
        assert found.silence < 10
        await alter(
            database,
            "",
            "INSERT INTO ekb_run (host, pid, started_at, seen, hold_unknown) "
            "SELECT 'gone', 1, seen - 900, seen - 900, false FROM ekb_run",
        )
        found = await backlog.metrics()
        assert found.runs == {"active": 1, "silent": 1}
        assert found.silence == pytest.approx(900, abs=60)
        await backlog._store.end_run(run_id)


async def test_a_run_on_a_file(tmp_path: Path) -> None:
    """Its lock shows that it is active; it has no time at which it was last seen."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        run_id = await backlog._store.begin_run(hold_unknown=False)
        found = await backlog.metrics()
        assert (found.runs, found.silence) == ({"active": 1, "silent": 0}, None)
        await backlog._store.end_run(run_id)


@pytest.mark.parametrize("top", [0, 1001, 2.5, True])
async def test_a_wrong_number_of_tenants(tmp_path: Path, top: int) -> None:
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="top must be a whole number from 1 to 1,000"):
            await backlog.metrics(top)
