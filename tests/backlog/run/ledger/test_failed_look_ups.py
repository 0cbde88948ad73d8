"""A run that asks the ledger first when the look-ups fail, or are interrupted: nothing is paid for meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog, Progress
from ekb_async.errors import AuthError, PermissionDeniedError
from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, checks, session
from tests.support.ledger_rows import add_to_ledger, fields_row, file_row
from tests.support.read_rows import add_rows
from tests.support.waiting import until


async def sent(box: Sandbox, call: str, count: int) -> bool:
    return box.count(call) >= count


OVER_RATE = Fault.answer(429, "请求过于频繁", calls="ledger", times=4)
DOWN = Fault.gateway_page(503, calls="ledger", times=4)


@pytest.mark.parametrize("fault", [OVER_RATE, DOWN], ids=["over rate", "down"])
async def test_calls_wait_until_the_ledger_answers(tmp_path: Path, place: Location, fault: Fault) -> None:
    """While the ledger does not answer, nothing is paid for; afterwards what it has is done, and the rest called."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, faults=[fault]) as box,
        session(box, max_tries=1) as ekb,
        Backlog.open(place) as backlog,
    ):
        add_to_ledger(box, *range(5))
        await add_rows(backlog, tmp_path, *(file_row(tmp_path, invoice) for invoice in range(10)))
        summary = await backlog.run(ekb, ledger_first=True)
        assert (summary.counts["done"], summary.saved, summary.failures) == (10, 5, {})
        assert box.vendor.billed["verify"].total() == 5


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.answer(412, "未开通此功能", calls="ledger"), PermissionDeniedError),
        (Fault.answer(401, "accessToken无效", calls="ledger"), AuthError),
    ],
)
async def test_a_ledger_that_may_not_be_asked_ends_the_run(
    tmp_path: Path, place: Location, fault: Fault, error: type[Exception]
) -> None:
    """The run ends with the vendor's error and a note, nothing is paid for, and the rows stay pending."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, faults=[fault]) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
    ):
        await add_rows(backlog, tmp_path, *(file_row(tmp_path, invoice) for invoice in range(10)))
        with pytest.raises(error) as raised:
            await backlog.run(ekb, ledger_first=True)
        assert any("--ledger-first" in note for note in raised.value.__notes__)
        assert (await backlog.counts())["pending"] == 10
        assert box.count("verify") == 0


async def test_an_outage_of_calls_does_not_end_with_the_ledger(tmp_path: Path, place: Location) -> None:
    """While verification fails, what the ledger answers is done, and no row fails because others were answered."""
    faults = [Fault.answer(500, "系统异常", calls="verify", times=40)]
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, faults=faults) as box,
        session(box, max_tries=1, max_running=4) as ekb,
        Backlog.open(place) as backlog,
    ):
        add_to_ledger(box, *range(0, 60, 2))
        await add_rows(backlog, tmp_path, *(file_row(tmp_path, invoice) for invoice in range(60)))
        run = asyncio.create_task(backlog.run(ekb, ledger_first=True))
        await until(partial(sent, box, "verify", 7))
        assert (await backlog.counts())["failed"] == 0
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (await backlog.counts())["failed"] == 0


async def test_a_run_cancelled_during_look_ups_pays_nothing(tmp_path: Path, place: Location) -> None:
    """Calls whose look-up was interrupted are pending again, and the next run looks them up again."""
    faults = [Fault.delay(30, calls="ledger", times=1)]
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, faults=faults) as box,
        session(box, close_timeout=0.1) as ekb,
        session(box) as another,
        Backlog.open(place) as backlog,
    ):
        add_to_ledger(box, 1, 2, 3)
        await backlog.add_manifest(checks(tmp_path, *map(fields_row, (1, 2, 3))))
        run = asyncio.create_task(backlog.run(ekb, ledger_first=True))
        await until(partial(sent, box, "ledger", 1))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (await backlog.counts())["pending"] == 3
        assert box.count("verify_by_fields") == 0
        assert [task.attempts for task in await all_tasks(backlog)] == [0, 0, 0]
        assert (await backlog.run(another, ledger_first=True)).saved == 3


async def test_a_run_broken_off_during_look_ups_is_followed_by_another(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A run that is broken off before answers are recorded leaves them to the next, which asks again."""
    add_to_ledger(quick_box, *range(5))
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(checks(tmp_path, *map(fields_row, range(5))))

        def end(now: Progress) -> None:
            if quick_box.count("ledger"):
                backlog.break_off()

        with contextlib.suppress(asyncio.CancelledError):
            await backlog.run(ekb, progress=end, ledger_first=True)
        assert (await backlog.run(ekb, ledger_first=True)).counts["done"] == 5
    assert quick_box.count("verify_by_fields") == 0
