"""Workers make checks by ID and by fields, which a program or a manifest has added."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ekb_async.errors import ConfigError
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.sandbox import Sandbox
from tests.support.played_engine import Engine, enqueue, open_worker, sessions_on, tasks_of


def by_fields(**fields: Any) -> InvoiceJob:
    return InvoiceJob(kind="verify_by_fields", tenant="a", **{"number": "11112222", "date": "20240101", **fields})


async def test_checks_are_paced_and_made(database: str, quick_box: Sandbox) -> None:
    """Checks get wakeups at the rate of verification, one each, and jobs for one invoice are one call."""
    engine = Engine()
    same = by_fields(code="031", date=date(2024, 1, 1), amount=Decimal(5), ref="1")
    jobs = [same, by_fields(code=" 031", date="2024-01-01", amount="5.00"), by_fields(number="2")]
    jobs.append(InvoiceJob(kind="verify_by_id", tenant="a", invoice_id="corp:1:3"))
    report = await enqueue(database, engine, jobs, verify_rate=0.5)
    assert (report.added, report.duplicates) == (3, 1)
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
        (InvoiceJob(kind="verify_by_id", invoice_id="c:1:2", amount="5"), "job 1: verify_by_id takes no fields"),
        (InvoiceJob(kind="verify_by_id"), "job 1: invoice_id must be a text"),
    ],
)
async def test_a_wrong_job_is_named(database: str, job: InvoiceJob, reason: str) -> None:
    """A job that cannot be sent is refused with its number and the reason, and nothing is added."""
    engine = Engine()
    with pytest.raises(ConfigError, match=reason):
        await enqueue(database, engine, [job])
    assert await tasks_of(database) == []
