"""What the error of a call says if the call had been sent before, whatever ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ekb_async import Attempt, EkbSession, Hooks, Job, Priority, SessionConfig
from ekb_async.errors import (
    EkbConnectionError,
    EkbError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ServerError,
    SessionClosedError,
)
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import FAST

URL = "https://files.example.com/1.png"
LOST = Fault.lost_answer(calls="ocr", times=1)


class _Ends(Hooks):
    def __init__(self) -> None:
        self.first = asyncio.Event()

    def attempt_ended(self, attempt: Attempt[Any]) -> None:
        if attempt.call == "ocr":
            self.first.set()


@asynccontextmanager
async def a_lost_answer(box: Sandbox, **config: Any) -> AsyncIterator[tuple[EkbSession, Job[Any]]]:
    """Yield a session and a job that was sent, had no answer, and waits for a slot in half a second."""
    hooks = _Ends()
    settings = SessionConfig(**{**FAST, "ocr_rate": 2.0, **config})
    session = EkbSession(box.credentials, base_url=box.base_url, config=settings)
    session.observe(hooks)
    async with session as ekb:
        job = ekb.submit_ocr(URL)
        await hooks.first.wait()
        assert job.state == "queued"
        yield ekb, job


def check(error: EkbError, kind: type[EkbError]) -> None:
    """Check that an error says that its call may be billed."""
    assert type(error) is kind
    assert error.maybe_billed == 1
    assert error.attempts >= 1
    assert not error.preliminary


async def test_the_session_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """The error and a line of log say that the call may be billed; a job that was never sent has no such error."""
    async with Sandbox(ocr_rate=0, faults=[LOST]) as box:
        async with a_lost_answer(box) as (ekb, job):
            never_sent = ekb.submit_ocr(URL)
        with pytest.raises(SessionClosedError, match="it may be billed") as caught:
            await job
        check(caught.value, SessionClosedError)
        with pytest.raises(SessionClosedError) as caught:
            await never_sent
        assert (caught.value.attempts, caught.value.maybe_billed) == (0, 0)
        assert box.count("ocr") == 1
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.partition(": ")[2] for line in lines if "dropped" in line or "may be billed" in line] == [
        "2 queued jobs were dropped by closing",
        "1 of them had been sent; they may be billed",
    ]


async def test_another_call_is_refused_for_all() -> None:
    """A refusal that ends all jobs hides neither an attempt nor that it may be billed."""
    refusal = Fault.answer(403, "没有权限", calls="ocr", times=1)
    async with Sandbox(ocr_rate=0, faults=[LOST]) as box, a_lost_answer(box) as (ekb, job):
        box.faults.append(refusal)
        first, never_sent = ekb.submit_ocr(URL, priority=Priority.HIGH), ekb.submit_ocr(URL)
        results = await asyncio.gather(first, job, never_sent, return_exceptions=True)
    assert [type(each) for each in results] == [PermissionDeniedError] * 3
    facts = [(each.attempts, each.maybe_billed) for each in results if isinstance(each, EkbError)]
    assert facts == [(1, 0), (1, 1), (0, 0)]


async def test_the_vendor_is_gone() -> None:
    """An error of the connection counts as sent, since an attempt before it was."""
    async with Sandbox(ocr_rate=0, faults=[LOST]) as box:
        context = a_lost_answer(box)
        _, job = await context.__aenter__()
    try:
        with pytest.raises(EkbConnectionError) as caught:
            await job
    finally:
        await context.__aexit__(None, None, None)
    check(caught.value, EkbConnectionError)
    assert caught.value.sent


async def test_the_token_cannot_be_renewed() -> None:
    """An error of a call that had to come first is not preliminary if the call itself was sent before."""
    faults = [LOST, Fault.answer(401, "token失效", calls="ocr", times=1)]
    async with Sandbox(ocr_rate=0, faults=faults) as box, a_lost_answer(box) as (_, job):
        box.faults.append(Fault.answer(503, calls="token"))
        with pytest.raises(ServerError) as caught:
            await job
    check(caught.value, ServerError)


async def test_an_unknown_outcome(quick_box: Sandbox) -> None:
    """An attempt that is not repeated is counted as well."""
    quick_box.faults.append(LOST)
    settings = SessionConfig(repeat_unknown=False)
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, config=settings) as ekb:
        with pytest.raises(OutcomeUnknownError) as caught:
            await ekb.ocr(URL)
    check(caught.value, OutcomeUnknownError)
