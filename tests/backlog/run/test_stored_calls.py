"""How a single stored call is made and what becomes of it, whatever claims it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog, BacklogTiming
from ekb_async.backlog.run.calls.call_files import CallFiles
from ekb_async.backlog.run.calls.next_day import NextDay
from ekb_async.backlog.run.calls.staff import StaffIds
from ekb_async.backlog.run.calls.stored_calls import BilledCall, CallEnd, StoredCalls
from ekb_async.backlog.run.failures import Fault
from ekb_async.backlog.store.values.calls import Call, Marking, SentMark
from ekb_async.errors import EkbConnectionError, OutcomeUnknownError, QueueFullError
from ekb_async.sandbox import Fault as VendorFault
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import session

CALL = Call(
    id=7,
    identity="",
    row_count=1,
    kind="ocr",
    file="https://f.example/1.png",
    invoice_id="",
    staff_id="",
    file_name="",
    start=None,
    length=None,
    manifest="",
    columns="",
)


class Marks:
    """The marks that were asked for, and what becomes of them: accepted or not, or an error."""

    def __init__(self, outcome: bool | EkbConnectionError = True) -> None:
        self.written: list[tuple[int, int]] = []
        self._outcome = outcome

    async def __call__(self, mark: SentMark) -> Marking:
        if isinstance(self._outcome, EkbConnectionError):
            raise self._outcome
        self.written.append((mark.call_id, mark.unconfirmed))
        return Marking(int(self._outcome))


async def made(tmp_path: Path, ekb: EkbSession, marks: Marks, **settings: Any) -> CallEnd | None:
    """Make the call, and return what became of it."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        calls = stored_calls(backlog, ekb, marks, **settings)
        billed = BilledCall(CALL)
        await calls.make(billed)
        return calls.end(billed)


def stored_calls(backlog: Backlog, ekb: EkbSession, marks: Marks, **settings: Any) -> StoredCalls:
    return StoredCalls(
        session=ekb,
        tenant="",
        files=CallFiles(backlog._store),
        staff=StaffIds(),
        mark=marks,
        next_day=NextDay(BacklogTiming(), time.time),
        may_repeat=lambda *_: True,
        may_begin_again=lambda *_: True,
        **{"repeat_unknown": True, **settings},
    )


async def test_a_call_is_marked_and_made(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """A call is marked once per attempt, with the attempts that are unanswered, and its answer is to be recorded."""
    quick_box.faults = [VendorFault.lost_answer(calls="ocr", times=1)]
    marks = Marks()
    end = await made(tmp_path, ekb, marks)
    assert end is not None
    assert (end.result.state, end.result.attempts, end.result.maybe_billed, end.error) == ("done", 2, 1, None)
    assert marks.written == [(7, 1), (7, 2)]


async def test_a_call_that_another_run_has(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """A call whose mark is not accepted is not sent, and nothing is to be recorded."""
    assert await made(tmp_path, ekb, Marks(outcome=False)) is None
    assert quick_box.count("ocr") == 0


async def test_a_call_that_cannot_be_marked(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """A call whose mark cannot be written is not sent, and is pending."""
    end = await made(tmp_path, ekb, Marks(outcome=EkbConnectionError("the database is away", sent=True)))
    assert end is not None
    assert (end.result.state, end.result.attempts, end.fault) == ("pending", 0, Fault.UNSENT)
    assert quick_box.count("ocr") == 0


async def test_a_call_that_must_not_be_repeated(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """If unknown outcomes are held, a call without an answer is not sent again, even if the session would do that."""
    quick_box.faults = [VendorFault.lost_answer(calls="ocr")]
    end = await made(tmp_path, ekb, Marks(), repeat_unknown=False)
    assert end is not None
    assert isinstance(end.error, OutcomeUnknownError)
    assert (end.result.state, end.result.attempts, end.result.maybe_billed) == ("failed", 1, 1)
    assert (end.fault, quick_box.count("ocr")) == (Fault.UNANSWERED, 1)


async def test_a_call_withdrawn_before_it_is_queued(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """A call that is withdrawn while its file is located is neither marked nor sent, and is pending."""
    marks = Marks()
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        calls, billed = stored_calls(backlog, ekb, marks), BilledCall(CALL)
        billed.withdraw()
        with pytest.raises(asyncio.CancelledError):
            await calls.make(billed)
        end = calls.end(billed)
    assert end is not None
    assert (end.result.state, end.error, end.is_broken_off) == ("pending", None, False)
    assert (marks.written, quick_box.count("ocr")) == ([], 0)


async def test_a_call_that_is_answered_after_it_was_paused(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """The answer to a probe's second try is kept, although an outage began while that was under way."""
    quick_box.faults = [VendorFault.answer(500, calls="ocr", times=1)]
    quick_box.latency = {"ocr": 0.1}
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        calls, billed = stored_calls(backlog, ekb, Marks()), BilledCall(CALL, is_probe=True)
        making = asyncio.create_task(calls.make(billed))
        await quick_box.arrived("ocr", 2)
        billed.pause()
        await making
        end = calls.end(billed)
    assert end is not None
    assert (end.result.state, end.error) == ("done", None)


@pytest.mark.parametrize("holds", [False, True])
async def test_a_call_broken_off_after_it_was_sent(tmp_path: Path, quick_box: Sandbox, *, holds: bool) -> None:
    """A call that is broken off may be billed: it is pending, or held for a person where that is configured."""
    quick_box.latency = {"ocr": 60.0}
    async with Backlog.open(tmp_path / "b.sqlite") as backlog, session(quick_box, close_timeout=0) as ekb:
        calls, billed = stored_calls(backlog, ekb, Marks(), repeat_unknown=not holds), BilledCall(CALL)
        making = asyncio.create_task(calls.make(billed))
        await quick_box.arrived("ocr")
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        end = calls.end(billed)
    assert end is not None
    assert (end.result.state, end.result.error_type) == ("failed" if holds else "pending", "OutcomeUnknownError")
    assert (end.result.attempts, end.result.maybe_billed, end.is_broken_off) == (1, 1, True)


async def test_a_full_queue(tmp_path: Path, quick_box: Sandbox) -> None:
    """If a full queue is not waited for, the call is pending, and the row is not at fault."""
    async with session(quick_box, queue_size=1, ocr_rate=0.01) as ekb:
        await ekb.ocr("https://f.example/1.png")
        waiting = ekb.submit_ocr("https://f.example/2.png")
        end = await made(tmp_path, ekb, Marks())
        waiting.cancel()
    assert end is not None
    assert isinstance(end.error, QueueFullError)
    assert (end.result.state, end.fault) == ("pending", Fault.UNSENT)
