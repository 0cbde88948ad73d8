"""A worker handles wakeups and records results in the call table. The tests themselves play the engine."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pgqueuer import PgQueuer

from ekb_async import AppCredentials, Attachment, EkbSession, SessionConfig, StaticToken
from ekb_async.backlog import AddReport, Backlog, BacklogTiming
from ekb_async.backlog.run.calls.call_files import CallFiles
from ekb_async.backlog.store.values.calls import Call, Marking, SentMark
from ekb_async.config import Priority
from ekb_async.errors import ConfigError, EkbConnectionError
from ekb_async.ext import pgqueuer
from ekb_async.ext.engines.enqueuing import enqueuer
from ekb_async.ext.engines.handling.call_table import CallTable
from ekb_async.ext.engines.handling.dispatcher import Dispatcher
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.wakeups import Deferred, PlannedWakeup, Wakeup
from ekb_async.models import LocalFile
from ekb_async.models.files import InvoiceFile
from ekb_async.queue.jobs import Job
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.simulation import VirtualTimeLoop
from tests.support.backlogs import manifest, picture
from tests.support.fast_times import FAST_WORKER, SHORT_PAUSES
from tests.support.memory_pace import MemoryPace
from tests.support.played_engine import (
    Engine,
    config,
    deferral,
    enqueue,
    fetch,
    open_worker,
    plan,
    sessions_on,
    tasks_of,
)
from tests.support.postgres import IS_WAITED_FOR, connected
from tests.support.scripted_vendor import ScriptedVendor
from tests.support.waiting import DEADLINE, until, until_in_database

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such names")


@pytest.fixture
def engine() -> Engine:
    return Engine()


def ocr(*numbers: int, tenant: str = "a", priority: Priority = Priority.NORMAL) -> list[InvoiceJob]:
    return [
        InvoiceJob(kind="ocr", tenant=tenant, file=url(number), ref=str(number), priority=priority)
        for number in numbers
    ]


def url(number: object) -> str:
    return f"https://f.example/{number}.png"


async def states(dsn: str) -> dict[str, int]:
    async with Backlog.open(dsn) as backlog:
        return {state: count for state, count in (await backlog.counts()).items() if count}


async def until_calls_are(dsn: str, *expected: str) -> None:
    """Wait until the calls of a call table are in these states."""

    async def are() -> bool:
        return [state for (state,) in await fetch(dsn, "SELECT state FROM ekb_call ORDER BY id")] == list(expected)

    await until(are)


def billed(box: Sandbox) -> int:
    return sum(counter.total() for counter in box.vendor.billed.values())


# Wakeups that make a call


async def test_a_wakeup_makes_the_next_call(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """The result is in the call table with the reference given to `enqueue`; a surplus wakeup finds nothing."""
    assert await enqueue(database, engine, ocr(1, 2)) == AddReport(added=2, duplicates=0)
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        for _ in range(4):
            await one.handle(engine.wakeup())
    first, second = await tasks_of(database)
    assert [(task.ref, task.tenant, task.state, task.attempts) for task in (first, second)] == [
        ("1", "a", "done", 1),
        ("2", "a", "done", 1),
    ]
    assert first.result["invoices"]
    assert first.result != second.result
    assert quick_box.count("ocr") == 2


async def test_every_kind_of_call(tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox) -> None:
    """Every kind of job and file is handled; a call that cannot succeed fails without stopping others."""
    attachment = quick_box.vendor.add_file(b"\x89PNG\r\n\x1a\nattached", "attached.png")
    jobs = [
        InvoiceJob(kind="ocr", file=tmp_path / picture(tmp_path, "票.png")),
        InvoiceJob(kind="verify", file=attachment, staff_id="corp:staff"),
        InvoiceJob(kind="url", invoice_id="corp:1:2"),
        InvoiceJob(kind="detail", invoice_id="corp:1:3"),
        InvoiceJob(kind="url", invoice_id="unknown"),
        InvoiceJob(kind="ocr", file=LocalFile(tmp_path / picture(tmp_path, "gone.png"))),
        InvoiceJob(kind="ocr", file=tmp_path / "missing.png"),
    ]
    with pytest.raises(ConfigError, match="job 7: there is no such file"):
        await enqueue(database, engine, jobs)
    await enqueue(database, engine, jobs[:-1])
    (tmp_path / "gone.png").unlink()
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        for kind in ("ocr", "verify", "url", "detail", "ocr"):
            await one.handle(engine.wakeup("", kind))
    done = [(task.kind, task.state, task.error_type) for task in await tasks_of(database)]
    assert done == [
        ("ocr", "done", None),
        ("verify", "done", None),
        ("url", "done", None),
        ("detail", "done", None),
        ("url", "failed", "InvoiceNotFoundError"),
        ("ocr", "failed", "ConfigError"),
    ]


async def test_lookups_share_a_wakeup(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A wakeup for look-ups takes as many as a request does, and makes one request for them."""
    await enqueue(
        database, engine, [InvoiceJob(kind="url", tenant="a", invoice_id=f"corp:1:{number}") for number in range(130)]
    )
    assert [wakeup.delay for wakeup in engine.of("a", "url")] == [0.0, 0.0]
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        await one.handle(engine.wakeup(kind="url"))
        assert await states(database) == {"done": 100, "pending": 30}
        await one.handle(engine.wakeup(kind="url"))
        assert await states(database) == {"done": 130}
    assert quick_box.count("invoice_url") == 2


async def test_an_urgent_call_takes_the_next_wakeup(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A wakeup takes its call when it comes: a call with a higher priority overtakes all that were added earlier."""
    await enqueue(database, engine, ocr(1, 2, priority=Priority.BULK))
    await enqueue(database, engine, ocr(3, priority=Priority.HIGH))
    await enqueue(database, engine, ocr(2, priority=Priority.NORMAL))
    order: list[str] = []
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        for _ in range(3):
            await one.handle(engine.wakeup())
            done = {task.ref for task in await tasks_of(database) if task.state == "done"}
            order += sorted(done.difference(order))
    assert order == ["3", "2", "1"]
    assert quick_box.count("ocr") == 3


# The plan


async def test_wakeups_of_a_tenant_are_an_interval_apart(database: str, engine: Engine) -> None:
    """Calls get slots in their order, at the rate of their kind; the earlier the slot, the higher the priority."""
    verify = [InvoiceJob(kind="verify", tenant="a", file=url(number), staff_id="s") for number in range(2)]
    await enqueue(database, engine, [*ocr(*range(4)), *verify], ocr_rate=2.0, verify_rate=0.5, rate_guard=0.25)
    assert [wakeup.delay for wakeup in engine.of("a")] == pytest.approx([0.0, 0.75, 1.5, 2.25])
    assert [wakeup.delay for wakeup in engine.of("a", "verify")] == pytest.approx([0.0, 2.25])
    assert [wakeup.slot for wakeup in engine.planned] == sorted(wakeup.slot for wakeup in engine.planned)
    priorities = [wakeup.priority for wakeup in engine.of("a")]
    assert priorities == sorted(set(priorities), reverse=True)


async def test_a_tenant_that_comes_later_begins_at_once(database: str, engine: Engine) -> None:
    """Its wakeups come between those of a large tenant; further calls of the large one come after its earlier ones."""
    await enqueue(database, engine, ocr(*range(50)), ocr_rate=1.0)
    last = engine.planned[-1]
    await enqueue(database, engine, [*ocr(1, tenant="b"), *ocr(50)], ocr_rate=1.0)
    [early] = engine.of("b")
    assert early.delay == 0.0
    assert early.priority > last.priority
    assert engine.of("a")[-1].slot == pytest.approx(last.slot + 1.0)


async def test_calls_that_become_pending_elsewhere_get_wakeups(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """Workers and `enqueue` find calls that were added by a manifest, and failed ones that are pending again."""
    quick_box.faults = [Fault.answer(400, "no", calls="ocr", times=1)]
    async with Backlog.open(database) as backlog, open_worker(database, engine, sessions_on(quick_box)) as one:
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{url(1)},,,,1"))
        await until(lambda: there(engine.of("")))
        await handled(one, engine.wakeup(""))
        assert (await backlog.counts())["failed"] == 1
        assert len(engine.of("")) == 1
        await backlog.retry()
        await enqueue(database, engine)
        # The worker may be planning the call, so that there is nothing left to plan here.
        await until(lambda: there(len(engine.of("")) == 2))
        await handled(one, engine.wakeup(""))
        assert (await backlog.counts())["done"] == 1


async def there(found: object) -> bool:
    return bool(found)


async def test_a_call_without_a_wakeup_takes_none_from_others(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """An urgent call that was added meanwhile takes no wakeup from a planned call: both are made in the end."""
    await enqueue(database, engine, ocr(1, tenant=""))
    async with Backlog.open(database) as backlog, open_worker(database, engine, sessions_on(quick_box)) as one:
        await fetch(database, "UPDATE ekb_call SET priority = 2")
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{url(2)},,,,2"))
        handed_out = 0
        async with asyncio.timeout(DEADLINE):
            while (await backlog.counts())["done"] < 2:
                if handed_out < len(engine.planned):
                    with contextlib.suppress(Deferred):
                        await one.handle(engine.wakeup(""))
                        handed_out += 1
                await asyncio.sleep(0.02)
    assert handed_out == len(engine.planned) == 2


async def test_wakeups_that_the_engine_lost(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A call whose wakeup is long overdue gets another one, if no other call of its tenant is running."""
    lookup = InvoiceJob(kind="detail", tenant="a", invoice_id="corp:1:3")
    await enqueue(database, engine, [*ocr(1), lookup])
    engine.planned.clear()

    async def planned_again() -> bool:
        return {(wakeup.tenant, wakeup.kind) for wakeup in engine.planned} == {("a", "ocr"), ("a", "detail")}

    timing = msgspec.structs.replace(FAST_WORKER, stranded_after=0.0)
    async with open_worker(database, engine, sessions_on(quick_box), timing=timing) as one:
        await until(planned_again)
        for wakeup in list(engine.planned):
            await handled(one, engine.wakeup(wakeup.tenant, wakeup.kind))
    await until_calls_are(database, "done", "done")


async def test_a_wakeup_that_comes_before_its_call_is_planned(
    database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """A wakeup that is handed out before its call is marked as planned is postponed and not used up."""
    wakeup = engine.wakeup()
    early: list[tuple[int, Deferred]] = []

    async def insert(connection: Any, wakeups: Sequence[PlannedWakeup]) -> None:
        if wakeups:
            early.append((len(wakeups), await deferral(one.handle(wakeup))))

    engine.insert = insert  # type: ignore[method-assign]
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        await enqueuer.enqueue(database, ocr(1))
        await until(lambda: there(early))
        [(count, deferred)] = early
        assert count == 1
        assert deferred.delay < 1
        await until(lambda: is_planned(database))
        await one.handle(wakeup)
    assert await states(database) == {"done": 1}


async def is_planned(dsn: str) -> bool:
    return await fetch(dsn, "SELECT planned FROM ekb_call") == [(True,)]


async def test_a_tenant_without_settings(tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A tenant without settings is planned at the default rates and delays no other tenant."""
    known = {"a": config()}
    await enqueuer.enqueue(database, [*ocr(1, 2, tenant="x"), *ocr(3)])
    await plan(database, engine.insert, known.__getitem__)
    assert [wakeup.delay for wakeup in engine.of("x")] == pytest.approx([0.0, 1.01])
    assert len(engine.of("a")) == 1
    async with (
        Backlog.open(database) as backlog,
        open_worker(database, engine, sessions_on(quick_box), config_of=known.__getitem__),
    ):
        await backlog.add_manifest(manifest(tmp_path, f"ocr,{url(1)},,,,1"))
        await until(lambda: there(engine.of("")))


# Enqueueing


async def test_the_same_content_is_one_call(database: str, engine: Engine) -> None:
    """Two jobs for the same content are one call for one tenant, and two calls for two tenants."""
    assert await enqueue(database, engine, ocr(1, 1)) == AddReport(added=1, duplicates=1)
    both = [*ocr(1), *ocr(1, tenant="b")]
    assert await enqueue(database, engine, both) == AddReport(added=1, duplicates=1, present=1)
    assert [wakeup.tenant for wakeup in engine.planned] == ["a", "b"]


@pytest.mark.parametrize(
    ("job", "complaint"),
    [
        (InvoiceJob(kind="ocr", file=f"{url(1)}?Expires=1&Signature=5ecret"), "signed URL"),
        (InvoiceJob(kind="ocr"), "file must be"),
        (InvoiceJob(kind="ocr", file=url(1), invoice_id="c:1:2"), "takes no invoice_id"),
        (InvoiceJob(kind="verify", file=url(1)), "staff_id"),
        (InvoiceJob(kind="url", file=url(1), invoice_id="c:1:2"), "takes no file"),
        (InvoiceJob(kind="detail"), "invoice_id"),
        (InvoiceJob(kind="download", invoice_id="c:1:2"), "kind must be one of"),  # type: ignore[arg-type]  # wrong
        (InvoiceJob(kind="ocr", file=url(1), priority=7), "priority"),  # type: ignore[arg-type]  # wrong
        (InvoiceJob(kind="url", invoice_id="c:1:2", ref="\ud800"), "ref holds characters"),
        (InvoiceJob(kind="url", invoice_id="c:1:2", tenant="a\x1fb"), "tenant .*control characters"),
        (InvoiceJob(kind="ocr", file=Attachment(id="1\0", key="a.png")), "file .*control characters"),
        (InvoiceJob(kind="ocr", file=url("\udc80")), "file holds characters"),
        ("ocr", "InvoiceJob"),
    ],
)
async def test_wrong_jobs_are_named(database: str, engine: Engine, job: InvoiceJob, complaint: str) -> None:
    """Jobs are added all or none, and the first invalid one is named, without its secrets."""
    with pytest.raises(ConfigError, match=rf"job 3: .*{complaint}") as caught:
        await enqueue(database, engine, [*ocr(1, 2), job])
    assert "5ecret" not in str(caught.value)
    assert await states(database) == {}
    assert engine.planned == []


# Wakeups that are postponed


async def test_a_slot_too_far_away(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """If the pace has no slot within 2 s, nothing is sent, and the wakeup is postponed to a new plan slot."""
    await enqueue(database, engine, ocr(1, 2), ocr_rate=0.05)
    async with open_worker(
        database, engine, sessions_on(quick_box, ocr_rate=0.05), config_of=lambda _: config(ocr_rate=0.05)
    ) as one:
        await one.handle(engine.wakeup())
        deferred = await deferral(one.handle(engine.wakeup()))
        # Two wakeups with an interval of 20 s were planned before this one.
        assert 30 < deferred.delay <= 40
        assert await states(database) == {"done": 1, "pending": 1}
    assert quick_box.count("ocr") == 1


async def test_a_slot_while_claims_take_long(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """Where the database is slow, a call waits longer for its slot, instead of giving it still more work."""
    await enqueue(database, engine, ocr(1))
    timing = msgspec.structs.replace(FAST_WORKER, gate_wait=0.05)
    async with (
        connected(database) as calls,
        connected(database) as pace,
        open_worker(database, engine, sessions_on(quick_box), timing=timing) as one,
    ):
        claiming, granting = calls.transaction(), pace.transaction()
        await claiming.start()
        await calls.execute("LOCK TABLE ekb_call IN EXCLUSIVE MODE")
        await granting.start()
        await pace.execute("LOCK TABLE ekb_pace IN ACCESS EXCLUSIVE MODE")
        work = asyncio.create_task(one.handle(engine.wakeup()))
        await asyncio.wait([work], timeout=3.0)
        await claiming.rollback()
        await until_in_database(pace, IS_WAITED_FOR)
        await asyncio.wait([work], timeout=0.2)
        await granting.rollback()
        await work
    assert quick_box.count("ocr") == 1
    assert await states(database) == {"done": 1}


async def test_no_permission(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """Calls without permission stay pending and pause; other kinds go on, and these once permission is given."""
    quick_box.permissions.discard("verify")
    jobs = [InvoiceJob(kind="verify", tenant="a", file=url(number), staff_id="s") for number in range(2)]
    await enqueue(database, engine, [*jobs, *ocr(9)])
    wakeup = engine.wakeup(kind="verify")
    async with open_worker(database, engine, sessions_on(quick_box), timing=SHORT_PAUSES) as one:
        assert "没有发票查验接口权限" in str(await deferral(one.handle(wakeup)))
        await one.handle(engine.wakeup())
        assert await states(database) == {"done": 1, "pending": 2}
        quick_box.permissions.add("verify")
        await handled(one, wakeup)
        await handled(one, engine.wakeup(kind="verify"))
    assert await states(database) == {"done": 3}


async def test_a_file_that_the_vendor_does_not_know(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A call whose attachment does not exist fails, and delays no other call of its tenant."""
    lost = InvoiceJob(kind="ocr", tenant="a", file=Attachment(id="ID01no", key="a.png"))
    await enqueue(database, engine, [lost, *ocr(1)])
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        await one.handle(engine.wakeup())
        await one.handle(engine.wakeup())
    assert await states(database) == {"done": 1, "failed": 1}


@posix
async def test_files_whatever_they_are_called(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """A file is sent under a name that the vendor accepts; an emptied file fails, and delays no other call."""
    files = [tmp_path / picture(tmp_path, name) for name in ("12:30打车.png", "b.png", "c.png")]
    await enqueue(database, engine, [InvoiceJob(kind="ocr", tenant="a", file=file, ref=file.name) for file in files])
    files[1].write_bytes(b"")
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        for _ in files:
            await one.handle(engine.wakeup())
    [failed] = [task for task in await tasks_of(database) if task.state != "done"]
    assert (failed.ref, failed.state, failed.error_type) == ("b.png", "failed", "ConfigError")
    assert "the file is empty" in str(failed.error)


async def test_a_file_that_the_vendor_cannot_take(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """A call whose upload meets server errors fails unsent after 9 tries, and the next call is made meanwhile."""
    quick_box.faults = [Fault.answer(500, calls="upload")]
    file = tmp_path / picture(tmp_path, "a.png")
    await enqueue(database, engine, [InvoiceJob(kind="ocr", tenant="a", file=file), *ocr(1)])
    async with open_worker(database, engine, sessions_on(quick_box, max_tries=1), timing=SHORT_PAUSES) as one:
        await handled(one, engine.wakeup())
        await handled(one, engine.wakeup())
    failed, done = await tasks_of(database)
    assert (failed.state, failed.error_type, failed.attempts) == ("failed", "ServerError", 0)
    assert done.state == "done"
    assert quick_box.count("upload") == 9


async def test_a_staff_id_that_the_vendor_does_not_know(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """After a few refusals, further calls with the ID fail unsent, and each error names it."""
    quick_box.vendor.rules.staff = {"s:good"}
    jobs = [
        InvoiceJob(kind="verify", tenant="a", file=url(number), staff_id="s:wrong" if number else "s:good")
        for number in range(12)
    ]
    await enqueue(database, engine, jobs)
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        for _ in jobs:
            await one.handle(engine.wakeup(kind="verify"))
    assert await states(database) == {"done": 1, "failed": 11}
    assert quick_box.count("verify") == 4
    failed = [task for task in await tasks_of(database) if task.state == "failed"]
    assert {task.error for task in failed} == {failed[0].error}
    assert "s:wrong" in str(failed[0].error)
    assert [task.attempts for task in failed] == [1, 1, 1, *[0] * 8]


async def test_a_staff_id_that_is_not_accepted_yet(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """Until the vendor accepts a staff ID, only a few calls with it are in flight, however many wakeups there are."""
    quick_box.vendor.rules.staff = {"s:good"}
    quick_box.latency = {"verify": 0.2}
    jobs = [
        InvoiceJob(kind="verify", tenant=staff, file=url(number), staff_id=f"s:{staff}")
        for staff in ("good", "wrong")
        for number in range(12)
    ]
    await enqueue(database, engine, jobs)
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        await asyncio.gather(*(one.handle(engine.wakeup(job.tenant, "verify")) for job in jobs))
    assert await states(database) == {"done": 12, "failed": 12}
    assert quick_box.count("verify") <= 12 + 5


async def test_no_worker_begins_without_tables(database: str, quick_box: Sandbox) -> None:
    """A worker whose engine has no tables raises an error that names `install_schema`."""
    with pytest.raises(ConfigError, match="install_schema"):
        async with pgqueuer.register(PgQueuer.in_memory(), sessions_on(quick_box), database):
            pass


async def handled(one: Dispatcher, wakeup: Wakeup) -> None:
    """Hand out a wakeup until it is no longer postponed."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                return await one.handle(wakeup)
            except Deferred as deferred:
                await asyncio.sleep(min(deferred.delay, 0.1))


async def test_refused_keys_stop_their_tenant_only(
    database: str, engine: Engine, quick_box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """While a tenant pauses, its wakeups send nothing and delay no other tenant. Keys stay secret."""
    await enqueue(database, engine, [*ocr(1, 2, 3), *ocr(4, tenant="b")])
    wrong = AppCredentials(app_key="key-a", app_security="5ecret-of-a")

    def session_for_tenant(tenant: str) -> EkbSession:
        keys = wrong if tenant == "a" else quick_box.credentials
        return EkbSession(keys, base_url=quick_box.base_url, config=config())

    async with open_worker(database, engine, session_for_tenant) as one:
        together = [one.handle(engine.wakeup()) for _ in range(2)]
        reasons = [str(error) for error in await asyncio.gather(*together, return_exceptions=True)]
        asked = quick_box.count("token")
        await one.handle(engine.wakeup("b"))
        assert quick_box.count("token") == asked + 1
        later = await deferral(one.handle(engine.wakeup()))
        assert quick_box.count("token") == asked + 1
    assert all("密钥无效" in reason for reason in [*reasons, str(later)])
    assert await states(database) == {"done": 1, "pending": 3}
    assert [record.getMessage().partition(" pause ")[0] for record in caplog.records] == ["ocr calls of tenant 'a'"]
    assert "5ecret" not in caplog.text + "".join(reasons)


@pytest.mark.parametrize("kind", ["ocr", "detail"])
async def test_a_tenant_without_a_session(database: str, engine: Engine, quick_box: Sandbox, kind: str) -> None:
    """Calls of a tenant without a session stay pending, and the text of the error that was raised is not repeated."""
    known = {"b": sessions_on(quick_box)}
    job = InvoiceJob(kind="detail", tenant="5ecret", invoice_id="c:1:2") if kind == "detail" else None
    await enqueue(database, engine, [job or ocr(1, tenant="5ecret")[0], *ocr(2, tenant="b")])
    async with open_worker(database, engine, lambda tenant: known[tenant](tenant)) as one:
        for _ in range(2):
            deferred = await deferral(one.handle(engine.wakeup("5ecret", kind)))
            assert "there is no session for tenant '5ecret': KeyError" in str(deferred)
        await one.handle(engine.wakeup("b"))
    assert await states(database) == {"done": 1, "pending": 1}


@pytest.mark.parametrize("kind", ["ocr", "detail"])
async def test_a_vendor_out_of_reach(database: str, engine: Engine, kind: str) -> None:
    """A call that was never sent stays pending and unbilled, however often it was tried."""
    job = InvoiceJob(kind="detail", tenant="a", invoice_id="c:1:2") if kind == "detail" else ocr(1)[0]
    await enqueue(database, engine, [job])

    def nowhere(_: str) -> EkbSession:
        return EkbSession(StaticToken("t"), base_url="http://127.0.0.1:9", config=config(max_tries=2))

    async with open_worker(database, engine, nowhere) as one:
        await deferral(one.handle(engine.wakeup(kind=kind)))
    [task] = await tasks_of(database)
    assert (task.state, task.maybe_billed) == ("pending", 0)


async def test_a_file_that_cannot_be_found_for_now(
    database: str, engine: Engine, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is unreachable while a call's files are looked up leaves the call pending."""

    away = [EkbConnectionError("the database was away")]

    async def find(files: CallFiles, call: Call) -> InvoiceFile:
        if away:
            raise away.pop()
        return await found(files, call)

    found = CallFiles.find
    await enqueue(database, engine, ocr(1))
    monkeypatch.setattr(CallFiles, "find", find)
    async with open_worker(database, engine, sessions_on(quick_box), timing=SHORT_PAUSES) as one:
        wakeup = engine.wakeup()
        assert "was away" in str(await deferral(one.handle(wakeup)))
        assert await states(database) == {"pending": 1}
        await handled(one, wakeup)
    assert await states(database) == {"done": 1}


async def test_a_call_that_the_vendor_cannot_carry_out(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A call that meets server errors fails after 9 tries, so that no call is tried indefinitely."""
    quick_box.faults = [Fault.answer(503, calls="ocr")]
    await enqueue(database, engine, ocr(1))
    async with open_worker(database, engine, sessions_on(quick_box, max_tries=3), timing=SHORT_PAUSES) as one:
        wakeup = engine.wakeup()
        await handled(one, wakeup)
    [task] = await tasks_of(database)
    assert (task.state, task.error_type, task.attempts, task.maybe_billed) == ("failed", "ServerError", 9, 0)
    assert quick_box.count("ocr") == 9


async def test_a_call_table_that_cannot_be_written(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A call that cannot be marked is not sent and does not fail; it is made when the table can be written again."""
    await enqueue(database, engine, ocr(1))
    await fetch(database, NO_MARKS)
    await fetch(database, "CREATE TRIGGER no_marks BEFORE UPDATE OF sent ON ekb_call EXECUTE FUNCTION refuse()")
    async with open_worker(database, engine, sessions_on(quick_box), timing=SHORT_PAUSES) as one:
        wakeup = engine.wakeup()
        await deferral(one.handle(wakeup))
        assert quick_box.count("ocr") == 0
        await fetch(database, "DROP TRIGGER no_marks ON ekb_call")
        await handled(one, wakeup)
    [task] = await tasks_of(database)
    assert (task.state, task.attempts) == ("done", 1)


NO_MARKS = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no marks'; END $$
"""


# Answers that were lost


@pytest.mark.parametrize("repeat_unknown", [False, True])
async def test_a_lost_answer(database: str, engine: Engine, quick_box: Sandbox, *, repeat_unknown: bool) -> None:
    """A billed call whose answer was lost fails for a person to decide, unless the worker has `repeat_unknown`."""
    quick_box.faults = [Fault.lost_answer(calls="ocr", times=1)]
    await enqueue(database, engine, ocr(1))
    async with (
        Backlog.open(database) as backlog,
        open_worker(database, engine, sessions_on(quick_box), repeat_unknown=repeat_unknown) as one,
    ):
        await one.handle(engine.wakeup())
        assert await backlog.maybe_billed() == 1
        if not repeat_unknown:
            assert await backlog.failures() == {"OutcomeUnknownError": 1}
            assert billed(quick_box) == 1
            await one.handle(engine.wakeup())
            assert billed(quick_box) == 1
            assert await backlog.retry() == 0
            assert await backlog.retry(unknown=True) == 1
            await enqueue(database, engine)
            await handled(one, engine.wakeup())
    [task] = await tasks_of(database)
    assert (task.state, task.attempts, task.maybe_billed) == ("done", 2, 1)
    assert billed(quick_box) == 2


async def test_a_lost_answer_and_a_repetition_that_does_not_leave(
    database: str, engine: Engine, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that keeps a call from being repeated leaves the earlier attempt unconfirmed."""

    async def mark(table: CallTable, mark: SentMark) -> Marking:
        if mark.unconfirmed > 1:
            raise EkbConnectionError("the database was away")
        return await marked(table, mark)

    marked = CallTable.mark
    monkeypatch.setattr(CallTable, "mark", mark)
    quick_box.faults = [Fault.lost_answer(calls="ocr", times=1)]
    await enqueue(database, engine, ocr(1))
    async with open_worker(database, engine, sessions_on(quick_box), repeat_unknown=True, timing=SHORT_PAUSES) as one:
        await handled(one, engine.wakeup())
    [task] = await tasks_of(database)
    assert (task.state, task.attempts, task.maybe_billed) == ("done", 2, 1)
    assert billed(quick_box) == 2


# Workers that share wakeups, stop, or die


async def test_two_workers_with_the_same_wakeup(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """If an engine hands out a wakeup twice, one of the workers sends its call."""
    quick_box.latency = {"ocr": 0.2}
    await enqueue(database, engine, ocr(1))
    sessions = sessions_on(quick_box)
    async with open_worker(database, engine, sessions) as one, open_worker(database, engine, sessions) as two:
        wakeup = engine.wakeup()
        both = await asyncio.gather(one.handle(wakeup), two.handle(wakeup), return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, Deferred) for outcome in both)
        await handled(one, wakeup)
        await until_calls_are(database, "done")
    assert billed(quick_box) == 1


async def test_a_wakeup_taken_from_a_worker_that_waits(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """An unsent call goes with its wakeup; the worker that had it sends nothing, and the wakeup is not lost."""
    await enqueue(database, engine, ocr(1, 2))
    sessions = sessions_on(quick_box, ocr_rate=1.5)
    async with open_worker(database, engine, sessions) as one, open_worker(database, engine, sessions) as two:
        await one.handle(engine.wakeup())
        wakeup = engine.wakeup()
        waiting = asyncio.create_task(one.handle(wakeup))
        await until_calls_are(database, "done", "running")
        taking = asyncio.create_task(two.handle(wakeup))
        outcomes = await asyncio.gather(waiting, taking, return_exceptions=True)
        assert isinstance(outcomes[0], Deferred)
        await handled(two, wakeup)
        await until_calls_are(database, "done", "done")
    assert billed(quick_box) == 2


async def test_a_call_under_way_outlives_its_handler(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """When an engine cancels a wakeup, its sent call goes on, and the same wakeup handed out again waits for it."""
    quick_box.latency = {"ocr": 0.3}
    await enqueue(database, engine, ocr(1, 2))
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        wakeup = engine.wakeup()
        handler = asyncio.create_task(one.handle(wakeup))
        await quick_box.arrived("ocr")
        handler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handler
        assert await states(database) == {"pending": 1, "running": 1}
        await one.handle(wakeup)
        assert await states(database) == {"pending": 1, "done": 1}
    assert billed(quick_box) == 1


async def test_a_call_that_has_not_left_goes_back(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """An unsent call whose handler is cancelled becomes pending and gets a new wakeup, as the old one may be gone."""
    await enqueue(database, engine, ocr(1, 2))
    async with open_worker(database, engine, sessions_on(quick_box, ocr_rate=1.0)) as one:
        await one.handle(engine.wakeup())
        wakeup = engine.wakeup()
        handler = asyncio.create_task(one.handle(wakeup))
        await until_calls_are(database, "done", "running")
        handler.cancel()
        again = asyncio.create_task(one.handle(wakeup))
        with pytest.raises(asyncio.CancelledError):
            await handler
        # The wakeup handed out next does not wait until the call is pending again.
        await deferral(again)
        await until_calls_are(database, "done", "pending")
        await until(lambda: there(len(engine.planned) == 3))
        await handled(one, wakeup)
    assert billed(quick_box) == 2


async def test_a_handler_that_is_cancelled_at_any_moment(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """Whenever the handler of a wakeup is cancelled, its call is made once, by it or by a later wakeup."""
    count = 12
    await enqueue(database, engine, ocr(*range(count)))
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        for steps in range(count):
            handler = asyncio.create_task(one.handle(engine.wakeup()))
            for _ in range(3 * steps):
                await asyncio.sleep(0)
            handler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await handler

        handed_out = 0

        async def all_done() -> bool:
            nonlocal handed_out
            while handed_out < len(engine.planned):
                handed_out += 1
                await handled(one, engine.wakeup())
            return await states(database) == {"done": count}

        await until(all_done)
    assert billed(quick_box) == count


async def test_closing_waits_for_calls_under_way(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A worker that ends records sent calls, makes unsent ones pending again, and takes no further wakeups."""
    quick_box.latency = {"ocr": 0.3}
    await enqueue(database, engine, ocr(1, 2, 3))
    async with open_worker(database, engine, sessions_on(quick_box, ocr_rate=1.0)) as one:
        handlers = [asyncio.create_task(one.handle(engine.wakeup())) for _ in range(2)]
        await quick_box.arrived("ocr")
        await until_calls_are(database, "running", "running", "pending")
    outcomes = await asyncio.gather(*handlers, return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], Deferred)
    await deferral(one.handle(engine.wakeup()))
    assert await states(database) == {"done": 1, "pending": 2}
    assert await fetch(database, "SELECT * FROM ekb_run") == []
    assert billed(quick_box) == 1


DEAD_RUN = """
INSERT INTO ekb_run (host, pid, started_at, seen, hold_unknown) VALUES ('gone', 1, 0, 0, true) RETURNING id
"""
ITS_CALLS = "UPDATE ekb_call SET state = 'running', run_id = $1, turn = 'test:0', sent = $2 WHERE id = $3"


@pytest.mark.parametrize("repeat_unknown", [False, True])
async def test_the_calls_of_a_dead_worker(
    database: str, engine: Engine, quick_box: Sandbox, *, repeat_unknown: bool
) -> None:
    """Its unsent calls get new wakeups; its sent calls are held or repeated as the dead worker was configured."""
    await enqueue(database, engine, ocr(1, 2))
    [(run,)] = await fetch(database, DEAD_RUN)
    await fetch(database, "UPDATE ekb_run SET hold_unknown = $1", not repeat_unknown)
    for sent, (call,) in enumerate(await fetch(database, "SELECT id FROM ekb_call ORDER BY id")):
        await fetch(database, ITS_CALLS, run, sent, call)
    engine.planned.clear()
    async with open_worker(database, engine, sessions_on(quick_box), repeat_unknown=repeat_unknown) as one:
        expected = ["pending", "pending" if repeat_unknown else "failed"]
        await until_calls_are(database, *expected)
        await until(lambda: there(len(engine.planned) == expected.count("pending")))
        for _ in engine.planned:
            await one.handle(engine.wakeup())
    unsent, unconfirmed = await tasks_of(database)
    assert (unsent.state, unsent.attempts, unsent.maybe_billed) == ("done", 1, 0)
    if repeat_unknown:
        assert (unconfirmed.state, unconfirmed.attempts, unconfirmed.maybe_billed) == ("done", 2, 1)
    else:
        assert (unconfirmed.state, unconfirmed.error_type) == ("failed", "OutcomeUnknownError")
        assert (unconfirmed.attempts, unconfirmed.maybe_billed) == (1, 1)


async def test_a_wakeup_that_two_dead_workers_had(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """If two dead workers claimed a call for one wakeup, one call is made with it, and the other gets a new wakeup."""
    await enqueue(database, engine, ocr(1, 2))
    for (call,) in await fetch(database, "SELECT id FROM ekb_call"):
        [(run,)] = await fetch(database, DEAD_RUN)
        await fetch(database, "UPDATE ekb_run SET seen = seen + extract(epoch FROM now())")
        await fetch(database, ITS_CALLS, run, 0, call)
    engine.planned.clear()
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        await one.handle(Wakeup("test:0", "a", "ocr"))
        await until(lambda: there(engine.planned))
        await one.handle(engine.wakeup())
    assert await states(database) == {"done": 2}
    assert billed(quick_box) == 2


TAKEN_FOR_DEAD = """
UPDATE ekb_call SET state = 'failed', error_type = 'OutcomeUnknownError', attempts = attempts + sent,
    maybe_billed = maybe_billed + sent, sent = 0, run_id = NULL, turn = NULL WHERE state = 'running'
"""


async def test_an_answer_that_came_late(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """A late answer of a call that was recorded as failed counts, as it has been paid for."""
    quick_box.latency = {"ocr": 0.4}
    await enqueue(database, engine, ocr(1))
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        handler = asyncio.create_task(one.handle(engine.wakeup()))
        await quick_box.arrived("ocr")
        await fetch(database, TAKEN_FOR_DEAD)
        await fetch(database, "DELETE FROM ekb_run")
        await handler
    [task] = await tasks_of(database)
    assert (task.state, task.error_type) == ("done", None)
    assert task.result["invoices"]
    assert billed(quick_box) == 1


async def test_a_worker_that_was_taken_for_dead_claims_nothing(
    database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """A worker that was taken for dead claims nothing until it is registered again; its wakeups are postponed."""
    timing = msgspec.structs.replace(FAST_WORKER, backlog=BacklogTiming(heartbeat=0.5))
    await enqueue(database, engine, ocr(1))
    async with open_worker(database, engine, sessions_on(quick_box), timing=timing) as one:
        await fetch(database, "DELETE FROM ekb_run")
        wakeup = engine.wakeup()
        await deferral(one.handle(wakeup))
        assert await states(database) == {"pending": 1}
        await handled(one, wakeup)
    assert await states(database) == {"done": 1}


# Marks that take long


def test_a_slot_does_not_outlast_a_slow_mark() -> None:
    """A call that was not marked within an interval needs a new slot, as other calls have started since."""
    vendor, pacer = ScriptedVendor(), MemoryPace()
    others: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        other = pacer.pace("other", 1.0, 0.01, 30.0)
        settings = SessionConfig(ocr_rate=1.0, rate_guard=0.01)

        async def slow_mark(_: int) -> None:
            marks.append(loop.time())
            if len(marks) == 1:
                for _ in range(4):
                    others.append(await other.claim())
                    await asyncio.sleep(0.5)

        marks: list[float] = []
        async with EkbSession(StaticToken("t"), config=settings, transport=vendor, pacer=pacer) as ekb:
            job: Job[Any] = ekb.submit_ocr(url(1), mark=slow_mark)
            await job
            assert job.attempts == 1
        await other.close()
        assert len(marks) == 2

    with asyncio.Runner(debug=True, loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    [start] = vendor.starts
    assert start.at - others[-1] >= 1.0
