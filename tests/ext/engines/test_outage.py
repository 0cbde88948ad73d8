"""Outages of the vendor: a worker finds them after a few tries, and probes with single ones at growing intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.ext.engines.handling.dispatcher import Dispatcher
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.wakeups import Deferred, Wakeup
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.fast_times import FAST_WORKER, SHORT_PAUSES
from tests.support.played_engine import Engine, enqueue, open_worker, sessions_on, tasks_of
from tests.support.waiting import until

CALLS = 20

PAUSES = msgspec.structs.replace(FAST_WORKER, first_pause=0.05, longest_pause=60.0)


@pytest.fixture
def engine() -> Engine:
    return Engine()


def ocr(*names: object) -> list[InvoiceJob]:
    return [InvoiceJob(kind="ocr", tenant="a", file=f"https://f.example/{name}.png", ref=str(name)) for name in names]


async def handed_out(one: Dispatcher, wakeups: list[Wakeup]) -> list[Wakeup]:
    """Hand out wakeups at the same time; return those that were postponed."""
    ends = await asyncio.gather(*(one.handle(wakeup) for wakeup in wakeups), return_exceptions=True)
    assert all(end is None or isinstance(end, Deferred) for end in ends)
    return [wakeup for wakeup, end in zip(wakeups, ends, strict=True) if end is not None]


async def until_handed_out(
    one: Dispatcher, wakeups: list[Wakeup], holds: Callable[[list[Wakeup]], bool]
) -> list[Wakeup]:
    """Hand out wakeups again and again until a condition of the postponed ones holds; return those."""

    async def does_hold() -> bool:
        nonlocal wakeups
        wakeups = await handed_out(one, wakeups)
        return holds(wakeups)

    await until(does_hold)
    return wakeups


def has_sent(box: Sandbox, calls: int) -> Callable[[list[Wakeup]], bool]:
    return lambda _: box.count("ocr") >= calls


@pytest.mark.parametrize(
    ("fault", "is_unknown"),
    [(Fault.answer(500, "内部错误", calls="ocr"), False), (Fault.gateway_page(500, calls="ocr"), True)],
)
async def test_a_vendor_that_answers_500(
    database: str, engine: Engine, quick_box: Sandbox, caplog: pytest.LogCaptureFixture, fault: Fault, is_unknown: bool
) -> None:
    """After three tries in a row, one call is sent per pause, and each pause is twice as long as the one before.

    This holds for answers of a gateway as well, after which it is unknown whether the call was billed.
    """
    quick_box.faults = [fault]
    await enqueue(database, engine, ocr(*range(CALLS)))
    wakeups = [engine.wakeup() for _ in range(CALLS)]
    async with open_worker(database, engine, sessions_on(quick_box, max_running=1), timing=PAUSES) as one:
        wakeups = await handed_out(one, wakeups)
        in_vain = quick_box.count("ocr")
        assert in_vain <= 3
        for _ in range(3):
            in_vain += 1
            wakeups = await until_handed_out(one, wakeups, has_sent(quick_box, in_vain))
            assert quick_box.count("ocr") == in_vain
        quick_box.faults.clear()
        await until_handed_out(one, wakeups, lambda postponed: not postponed)
    pauses = [float(line.partition(" pause for ")[2].split()[0]) for line in caplog.messages if " pause for " in line]
    assert pauses == [0.05, 0.1, 0.2, 0.4]
    unknown = in_vain if is_unknown else 0
    async with Backlog.open(database) as backlog:
        assert await backlog.counts() == {"pending": 0, "running": 0, "done": CALLS - unknown, "failed": unknown}
        assert await backlog.maybe_billed() == unknown
    errors = [task.error_type for task in await tasks_of(database) if task.state == "failed"]
    assert errors == ["OutcomeUnknownError"] * unknown


async def test_calls_that_no_server_can_process(
    database: str, engine: Engine, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that always cause a server error hold up no call that was added after them, and fail in the end."""
    reply = quick_box.vendor.reply

    def answer(request: VendorRequest, at: float) -> VendorReply:
        if b"poison" in request.body:
            return VendorReply(500, b'{"errorCode":500,"errorMessage":"no"}', {})
        return reply(request, at)

    monkeypatch.setattr(quick_box.vendor, "reply", answer)
    await enqueue(database, engine, ocr("poison1", "poison2", "poison3", 1, 2, 3))
    async with open_worker(database, engine, sessions_on(quick_box), timing=SHORT_PAUSES) as one:
        wakeups = [engine.wakeup() for _ in range(6)]
        await until_handed_out(one, wakeups, lambda postponed: not postponed)
    tasks = await tasks_of(database)
    assert [task.state for task in tasks] == ["failed"] * 3 + ["done"] * 3
    assert all(9 <= task.attempts <= 13 for task in tasks[:3])
