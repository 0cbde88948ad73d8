"""Jobs of the two calls that verify an invoice without a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ekb_async import CheckedInvoice, ConfigError, EkbSession, Job, Priority, QueueTimeoutError
from ekb_async.sandbox import SampleInvoice, Sandbox

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
