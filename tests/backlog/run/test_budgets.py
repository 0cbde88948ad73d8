"""Budgets of billed calls: as many are sent as they allow, the others wait, and go on when the next period begins."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog, Budget, Progress
from ekb_async.errors import ConfigError
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import HEADER, all_tasks, manifest, session
from tests.support.postgres import connected
from tests.support.waiting import until

EVENING = datetime(2030, 1, 30, 23, 0, tzinfo=CHINA)
LOOK_UPS = ["url,,corp:1,,,", "detail,,corp:1,,,"]
TENANTS_HEADER = HEADER.replace("ref", "ref,tenant")


class Clock:
    """A clock that a test sets; it starts an hour before midnight, one day before the last of a month."""

    def __init__(self) -> None:
        self.now = EVENING

    def __call__(self) -> float:
        return self.now.timestamp()


def rows(count: int, kind: str = "ocr", tenant: str = "") -> list[str]:
    staff = "corp:staff" if kind == "verify" else ""
    row = "{kind},https://f.example/{kind}{number}.png,,{staff},,{number}" + (f",{tenant}" if tenant else "")
    return [row.format(kind=kind, staff=staff, number=number) for number in range(count)]


def sent(box: Sandbox) -> int:
    return sum(box.count(kind) for kind in ("ocr", "verify"))


async def test_the_others_wait_for_the_next_day(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """Exactly as many billed calls are sent as the day allows, free ones are all made, and the run says what waits."""
    clock = Clock()
    async with Backlog.open(place, clock=clock) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(20), *rows(20, "verify"), *LOOK_UPS))
        await backlog.set_budget(per_day=7)
        summary = await backlog.run(ekb)
        assert sent(quick_box) == 7
        assert summary.counts == {"pending": 33, "running": 0, "done": 9, "failed": 0}
        midnight = EVENING.replace(hour=0) + timedelta(days=1)
        assert (summary.over_budget.rows, summary.over_budget.last) == (33, midnight)
        assert summary.waiting.rows == 0
        [budget] = await backlog.budgets()
        assert budget == Budget(tenant=None, period="day", calls=7, spent=7, begins_anew=midnight)
        assert budget.is_spent
        assert (await backlog.run(ekb)).counts["done"] == 9
        clock.now = midnight
        assert (await backlog.run(ekb)).counts["done"] == 16
        assert await backlog.spent() == {EVENING.date(): 7, midnight.date(): 7}
        await backlog.set_budget(remove=True)
        summary = await backlog.run(ekb)
        assert (summary.counts["done"], summary.over_budget.rows) == (42, 0)
    assert sent(quick_box) == 40


async def test_a_month_sums_up_its_days(tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """The budget of a month counts all its days and begins anew with the next month."""
    clock = Clock()
    async with Backlog.open(place, clock=clock) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(40)))
        await backlog.set_budget(per_day=6, per_month=10)
        done = []
        for _ in range(4):
            summary = await backlog.run(ekb)
            done.append(summary.counts["done"])
            clock.now += timedelta(hours=12)
        first = datetime(2030, 2, 1, tzinfo=CHINA)
        assert done == [6, 10, 10, 16]
        assert [(each.period, each.spent, each.begins_anew) for each in await backlog.budgets()] == [
            ("day", 6, first + timedelta(days=1)),
            ("month", 6, datetime(2030, 3, 1, tzinfo=CHINA)),
        ]


async def test_budgets_of_tenants_and_of_all(tmp_path: Path, place: Location) -> None:
    """A tenant whose budget is spent waits while others go on, until that of all tenants together is spent."""
    async with Sandbox(ocr_rate=0) as one, Sandbox(ocr_rate=0) as other, Sandbox(ocr_rate=0) as third:
        boxes = {"a": one, "b": other, "c": third}
        async with Backlog.open(place) as backlog:
            wanted = [row for tenant in boxes for row in rows(30, tenant=tenant)]
            await backlog.add_manifest(manifest(tmp_path, *wanted, header=TENANTS_HEADER))
            await backlog.set_budget("a", per_day=4)
            await backlog.set_budget("b", per_month=5)
            summary = await backlog.run(lambda tenant: session(boxes[tenant]))
            assert [sent(box) for box in boxes.values()] == [4, 5, 30]
            assert (summary.over_budget.rows, summary.counts["pending"]) == (51, 51)
            await backlog.set_budget(per_day=50)
            await backlog.set_budget("a", per_day=20)
            await backlog.set_budget("b", remove=True)
            summary = await backlog.run(lambda tenant: session(boxes[tenant]))
            assert sum(map(sent, boxes.values())) == 50
            assert sent(one) <= 20
            assert summary.over_budget.rows == 40


@pytest.mark.parametrize("seed", range(3))
async def test_exactly_as_many_with_refusals_and_lost_answers(tmp_path: Path, place: Location, seed: int) -> None:
    """Attempts that were refused for the rate are given back, those without an answer count; all of it is used."""
    faults = [
        Fault.lost_answer(calls="ocr", rate=0.2),
        Fault.answer(400, "第三方出现问题请稍后再试", calls="ocr", rate=0.2, carried_out=True),
        Fault.answer(429, "请求过于频繁", calls="ocr", rate=0.3),
    ]
    async with (
        Sandbox(ocr_rate=0, faults=faults, seed=seed) as box,
        session(box, max_running=32) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(200)))
        await backlog.set_budget(per_day=50)
        summary = await backlog.run(ekb)
        over_rate = ekb.stats().ocr.throttled
        assert sent(box) - over_rate == 50
        assert sum(task.attempts for task in await all_tasks(backlog)) == 50
        [budget] = await backlog.budgets()
        assert budget.spent == 50
        assert summary.counts["running"] == 0
        assert summary.failures.keys() <= {"ProviderError", "EkbConnectionError"}


async def test_calls_that_never_leave_are_given_back(tmp_path: Path, place: Location) -> None:
    """Calls that are taken back, before they are sent or while they are marked, use up nothing."""
    async with (
        Sandbox(ocr_rate=0, faults=[Fault.delay(0.05, calls="ocr")]) as box,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(60)))
        await backlog.set_budget(per_day=60)
        for number in range(1, 6):
            async with session(box, max_running=8, close_timeout=1) as ekb:
                run = asyncio.create_task(backlog.run(ekb))
                await until(partial(arrived, box, 8 * number))
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run
            [budget] = await backlog.budgets()
            assert budget.spent == sent(box)


async def arrived(box: Sandbox, count: int) -> bool:
    return sent(box) >= count


async def test_runs_on_one_backlog_share_it(tmp_path: Path, place: Location) -> None:
    """Several runs at the same time send exactly as many as allowed together."""
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box) as one,
        session(box) as two,
        Backlog.open(place) as backlog,
        Backlog.open(place) as again,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(200)))
        await backlog.set_budget(per_day=50)
        await asyncio.gather(backlog.run(one), again.run(two))
        assert sent(box) == 50
        assert (await backlog.counts())["done"] == 50


async def test_a_run_at_work_follows_a_budget(tmp_path: Path, place: Location) -> None:
    """A budget that is set while a run is at work stops it, without a call that fails; what was sent before counts."""
    async with (
        Sandbox(ocr_rate=0, latency=0.01) as box,
        session(box, max_running=2) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(300)))
        run = asyncio.create_task(backlog.run(ekb))
        await until(partial(arrived, box, 10))
        await backlog.set_budget(per_day=40)
        summary = await run
        assert (sent(box), summary.counts["done"], summary.over_budget.rows) == (40, 40, 260)


@pytest.mark.postgres
async def test_a_budget_set_while_calls_are_marked(tmp_path: Path, database: str) -> None:
    """Calls count for a budget that is set while the transaction that marks them is in progress."""
    day = "floor((extract(epoch FROM clock_timestamp()) + 28800) / 86400)"
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box) as ekb,
        connected(database) as marking,
        connected(database) as connection,
        Backlog.open(database) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(3)))
        marks = marking.transaction()
        await marks.start()
        await marking.execute(f"INSERT INTO ekb_spent VALUES ('', {day}, 5)")  # noqa: S608 - a constant
        setting = asyncio.create_task(backlog.set_budget(per_day=5))
        await until(lambda: holds_up(setting, connection, waiting, 1))
        run = asyncio.create_task(backlog.run(ekb))
        await until(lambda: holds_up(run, connection, waiting, 2 - setting.done()))
        await marks.commit()
        await setting
        await run
        assert sent(box) == 0


async def holds_up(work: asyncio.Task[Any], connection: Any, waiting: str, count: int) -> bool:
    """Return whether so many statements wait for a lock, or the work has ended."""
    return work.done() or bool(await connection.fetchval(waiting) >= count)


async def test_a_raised_budget_is_followed_by_a_run_with_tenants(tmp_path: Path, place: Location) -> None:
    """A run that has other work goes on with the calls of a tenant whose budget is raised."""
    boxes: dict[str, Sandbox] = {}
    async with (
        Sandbox(ocr_rate=0) as boxes["a"],
        Sandbox(ocr_rate=0, latency=0.03) as boxes["b"],
        Backlog.open(place) as backlog,
    ):
        wanted = [*rows(9, tenant="a"), *rows(90, tenant="b")]
        await backlog.add_manifest(manifest(tmp_path, *wanted, header=TENANTS_HEADER))
        await backlog.set_budget("a", per_day=3)
        seen: list[Progress] = []
        run = asyncio.create_task(backlog.run(lambda tenant: session(boxes[tenant], max_running=1), seen.append))
        await until(partial(arrived, boxes["a"], 3))
        await until(partial(waits_for_budget, seen))
        await backlog.set_budget("a", per_day=8)
        summary = await run
        assert (sent(boxes["a"]), sent(boxes["b"]), summary.over_budget.rows) == (8, 90, 1)


async def waits_for_budget(seen: list[Progress]) -> bool:
    return any(wait.reason == "budget" and wait.rows == 6 for wait in seen[-1].waits) if seen else False


async def test_watching_ends_when_only_a_budget_is_waited_for(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """What waits for a budget is no work that is left, and is said with the moment at which it goes on."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(5)))
        await backlog.set_budget(per_day=2)
        await backlog.run(ekb)
        views = [view async for view in backlog.watch(interval=0.01)]
        [wait] = views[-1].waits
        [budget] = await backlog.budgets()
        assert (wait.reason, wait.rows, wait.until) == ("budget", 3, budget.begins_anew)
        assert views[-1].kinds["ocr"].left == 0


async def test_no_calls_at_all(tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """With a budget of 0 nothing is sent or uploaded."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(5)))
        await backlog.set_budget(per_month=0)
        summary = await backlog.run(ekb)
        assert (summary.over_budget.rows, quick_box.log) == (5, [])


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "7"])
async def test_a_wrong_number_is_refused(tmp_path: Path, wrong: int) -> None:
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="per_day"):
            await backlog.set_budget(per_day=wrong)
        with pytest.raises(ConfigError, match="give per_day, per_month or remove"):
            await backlog.set_budget("a")


async def test_old_days_are_forgotten(tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """The numbers of two months are kept."""
    clock = Clock()
    async with Backlog.open(place, clock=clock) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(1)))
        await backlog.run(ekb)
    clock.now += timedelta(days=61)
    async with Backlog.open(place, clock=clock) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(1, "verify"), name="other.csv"))
        await backlog.run(ekb)
        april = clock.now.date()
        clock.now -= timedelta(days=1)
        assert await backlog.spent(61) == {EVENING.date(): 1}
        clock.now += timedelta(days=3)
        await backlog.run(ekb)
        assert await backlog.spent(61) == {april: 1}
        clock.now -= timedelta(days=3)
        assert await backlog.spent(61) == {}
