"""Jobs of the two calls that verify an invoice without a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ekb_async import (
    CheckedInvoice,
    ConfigError,
    EkbError,
    EkbSession,
    Job,
    Priority,
    QueueTimeoutError,
    ServerError,
    SessionConfig,
    StaticToken,
)
from ekb_async.sandbox import Fault, SampleInvoice, Sandbox

SUBMIT: dict[str, Callable[..., Job[CheckedInvoice]]] = {
    "verify_by_id": lambda ekb, **options: ekb.submit_verify_by_id("c:1:7", **options),
    "verify_by_fields": lambda ekb, **options: ekb.submit_verify_by_fields(
        code="1", number="7", date="20240101", **options
    ),
}


@pytest.mark.parametrize("call", SUBMIT)
async def test_a_submitted_check_is_marked_before_it_leaves_and_reported_at_its_end(call: str) -> None:
    """`mark` is awaited before the vendor gets the call, and `on_end` is called once with the job."""
    events: list[Any] = []
    async with Sandbox(corporation="c") as box, EkbSession(box.credentials, base_url=box.base_url) as ekb:
        box.vendor.add_invoice("c:1:7", SampleInvoice(code="1", number="7"))

        async def mark(unanswered: int) -> None:
            events.append((unanswered, box.count(call)))

        job = SUBMIT[call](ekb, mark=mark, on_end=events.append)
        checked = await job
    assert checked.is_verified
    assert events == [(1, 0), job]
    assert box.count(call) == 1


@pytest.mark.parametrize("call", SUBMIT)
async def test_a_submitted_check_can_be_cancelled_between_two_tries(call: str) -> None:
    """`on_retry` is called with the job and the error of each try that another one follows; it may cancel the job."""
    errors: list[EkbError] = []

    def on_retry(job: Job[CheckedInvoice], error: EkbError) -> None:
        errors.append(error)
        if len(errors) == 2:
            job.cancel()

    config = SessionConfig(max_backoff=0.01, verify_rate=1000.0, rate_guard=0.0)
    async with Sandbox(verify_rate=0, faults=[Fault.answer(500, "no")]) as box:
        async with EkbSession(StaticToken("token"), base_url=box.base_url, config=config) as ekb:
            job = SUBMIT[call](ekb, on_retry=on_retry)
            with pytest.raises(asyncio.CancelledError):
                await job
            assert job.state == "cancelled"
            assert ekb.stats().verify_by_id.running == ekb.stats().verify_by_fields.running == 0
        assert box.count(call) == 2
    assert [type(error) for error in errors] == [ServerError, ServerError]


@pytest.mark.parametrize("call", SUBMIT)
async def test_a_submitted_check_waits_in_its_queue(call: str) -> None:
    """A later job of a higher class is sent first, and one that would wait too long is refused at once."""
    async with Sandbox(corporation="c") as box, EkbSession(box.credentials, base_url=box.base_url) as ekb:
        box.vendor.add_invoice("c:1:7", SampleInvoice(code="1", number="7"))
        await SUBMIT[call](ekb)
        bulk = SUBMIT[call](ekb, priority=Priority.BULK)
        first = SUBMIT[call](ekb, priority=Priority.HIGH)
        assert (first.position, bulk.position) == (0, 1)
        with pytest.raises(QueueTimeoutError):
            SUBMIT[call](ekb, max_wait=0.1)
        assert bulk.cancel()
        assert first.cancel()


async def test_a_blank_id_is_refused_before_anything_is_sent() -> None:
    """Submitting raises `ConfigError` for an ID without characters."""
    async with Sandbox() as box, EkbSession(box.credentials, base_url=box.base_url) as ekb:
        with pytest.raises(ConfigError):
            ekb.submit_verify_by_id(" ")
        assert not box.log
