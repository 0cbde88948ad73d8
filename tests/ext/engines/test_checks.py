"""Workers make checks by ID and by fields, which a program or a manifest has added."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.sandbox import Sandbox
from tests.support.calendar import Calendar, at
from tests.support.played_engine import Engine, enqueue, fetch, open_worker, sessions_on, tasks_of
from tests.support.waiting import until


def by_fields(**fields: Any) -> InvoiceJob:
    return InvoiceJob(kind="verify_by_fields", tenant="a", **{"number": "11112222", "date": "20240101", **fields})


async def test_checks_are_paced_and_made(database: str, quick_box: Sandbox) -> None:
    """Checks get wakeups at the rate of verification, one each, and jobs for one invoice are one call."""
    engine = Engine()
    same = by_fields(code="031", date=date(2024, 1, 1), amount=Decimal(5), ref="1")
    jobs = [same, by_fields(code=" 031", date="2024-01-01", amount="5.00"), by_fields(number="2")]
    jobs += [InvoiceJob(kind="verify_by_id", tenant="a", invoice_id=each) for each in ("corp:1:3", " corp:1:3 ")]
    report = await enqueue(database, engine, jobs, verify_rate=0.5)
    assert (report.added, report.duplicates) == (3, 2)
    assert [wakeup.delay for wakeup in engine.of("a", "verify_by_fields")] == pytest.approx([0.0, 2.0])
    async with open_worker(database, engine, sessions_on(quick_box)) as one:
        for wakeup in list(engine.planned):
            await one.handle(engine.wakeup("a", wakeup.kind))
    assert {task.state for task in await tasks_of(database)} == {"done"}
    assert set(quick_box.vendor.billed["verify_by_fields"]) == {"031:11112222", ":2"}


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (by_fields(number=" "), "job 1: number: verify_by_fields needs a value"),
        (by_fields(date="yesterday"), "job 1: date: this is no date"),
        (by_fields(amount="x"), "job 1: amount: this is no decimal number"),
        (by_fields(code="a\nb"), "job 1: code must be a text without control characters"),
        (by_fields(invoice_id="c:1:2"), "job 1: verify_by_fields takes no invoice_id"),
        (by_fields(file="https://f.example/a.png"), "job 1: verify_by_fields takes no file"),
        (InvoiceJob(kind="verify_by_id", invoice_id="c:1:2", amount="5"), "job 1: amount: verify_by_id takes no value"),
        (InvoiceJob(kind="verify_by_id"), "job 1: invoice_id must be a text"),
    ],
)
async def test_a_wrong_job_is_named(database: str, job: InvoiceJob, reason: str) -> None:
    """A job that cannot be sent is refused with its number and the reason, and nothing is added."""
    engine = Engine()
    with pytest.raises(ConfigError, match=reason):
        await enqueue(database, engine, [job])
    assert await tasks_of(database) == []


async def test_a_check_that_waits_gets_a_wakeup_when_it_is_due(database: str) -> None:
    """Until then it has none, and a surplus wakeup neither takes it nor is postponed; then any worker plans it."""
    engine = Engine()
    async with Sandbox(verify_rate=0, not_yet_known=True) as box:
        calendar = Calendar(box, "2030-03-10 15:00")
        await enqueue(database, engine, [by_fields(date="20300310")])

        async def is_planned() -> bool:
            return bool(engine.planned)

        async def upkeep() -> bool:
            """Return whether a worker has planned a call that was added later."""
            return any(wakeup.tenant == "b" for wakeup in engine.planned)

        async with (
            open_worker(database, engine, sessions_on(box), clock=calendar) as one,
            open_worker(database, engine, sessions_on(box), clock=calendar),
            Backlog.open(database, clock=calendar) as backlog,
        ):
            engine.planned.clear()
            await one.handle(engine.wakeup("a", "verify_by_fields"))
            waiting = await backlog.waiting()
            assert (waiting.rows, at(waiting.first)[:14]) == (1, "2030-03-11 00:")
            await one.handle(engine.wakeup("a", "verify_by_fields"))
            await fetch(database, "INSERT INTO ekb_call (tenant, identity, kind, row_id) VALUES ('b', 'x', 'url', 1)")
            await until(upkeep)
            assert engine.of("a", "verify_by_fields") == []
            engine.planned.clear()
            calendar.set("2030-03-11 00:25")
            await until(is_planned)
            assert len(engine.of("a", "verify_by_fields")) == 1
            await one.handle(engine.wakeup("a", "verify_by_fields"))
            (task,) = await tasks_of(database)
            assert (task.state, task.attempts) == ("done", 2)


async def test_a_check_by_id_waits_if_its_date_is_known(database: str) -> None:
    """A job may have the date of the invoice, by which a check by ID waits for the next day as well."""
    engine = Engine()
    async with Sandbox(verify_rate=0) as box:
        calendar = Calendar(box, "2030-03-10 15:00")
        known = InvoiceJob(kind="verify_by_id", tenant="a", invoice_id="c:1:unknown1", date="2030-03-10")
        await enqueue(database, engine, [known, InvoiceJob(kind="verify_by_id", tenant="a", invoice_id="c:1:unknown2")])
        async with open_worker(database, engine, sessions_on(box), clock=calendar) as one:
            for _ in range(2):
                await one.handle(engine.wakeup("a", "verify_by_id"))
        assert [task.state for task in await tasks_of(database)] == ["pending", "failed"]
