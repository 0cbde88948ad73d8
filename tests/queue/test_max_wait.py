"""The reason in the error of a call that was not sent in time."""

from __future__ import annotations

import asyncio
import re
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ekb_async import (
    AppCredentials,
    Attachment,
    EkbConnectionError,
    EkbSession,
    EkbTimeoutError,
    MachinePace,
    QueueTimeoutError,
    ServerError,
    SessionConfig,
    StaticToken,
    ThrottledError,
)
from ekb_async.errors import EkbError
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Fault, Sandbox, Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.conftest import FAST, session_on
from tests.support.waiting import until

URL = "https://files.example.com/a.png"
KEYS = AppCredentials(app_key="key", app_security="the-secret-of-the-app")


def closed_port() -> str:
    """Return a base URL on which nothing listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def timed_out(call: Callable[[], Awaitable[Any]]) -> QueueTimeoutError:
    """Return the error of a call that is not sent in time; it is raised long before the vendor would answer."""
    began = time.monotonic()
    with pytest.raises(QueueTimeoutError) as caught:
        await call()
    assert time.monotonic() - began < 10.0
    assert not caught.value.sent
    cause = caught.value.__cause__
    if cause is not None:
        assert isinstance(cause, EkbError)
        assert str(cause) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("credentials", [KEYS, StaticToken("the-token-itself")])
async def test_a_host_that_cannot_be_reached_is_the_cause(credentials: AppCredentials | StaticToken) -> None:
    """A connection error of the token call or of the call itself is the cause, and its text is in the message."""
    async with EkbSession(credentials, base_url=closed_port()) as ekb:
        error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.5))
        assert isinstance(error.__cause__, EkbConnectionError)
        assert "failed" in str(error)
        assert error.hint == EkbConnectionError.hint
        assert ekb.stats().ocr.failed == 1


async def test_a_call_behind_others_has_the_same_cause() -> None:
    """The cause that holds up the call in front is also that of the calls behind it."""
    async with EkbSession(KEYS, base_url=closed_port(), config=SessionConfig(**{**FAST, "max_backoff": 30})) as ekb:
        front = ekb.submit_ocr(URL)
        error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.2))
        assert isinstance(error.__cause__, EkbConnectionError)
        assert str(error).startswith("not sent within 0.2 s: jobs ahead: 1, and ")
        front.cancel()


async def test_a_token_call_without_an_answer_is_the_cause(quick_box: Sandbox) -> None:
    """While the token call is unanswered, the cause names it and the time it has taken."""
    quick_box.faults.append(Fault.delay(30, calls="token"))
    async with session_on(quick_box) as ekb:
        error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.2))
    assert isinstance(error.__cause__, EkbTimeoutError)
    assert re.search(r"no answer from /api/openapi/v1/auth/getAccessToken for \d\.\d s", str(error))


def test_a_connection_that_does_not_open_is_the_cause() -> None:
    """A call that has a slot and cannot be sent fails as well, at the latest a second after it got the slot."""

    class NeverOpen(InMemoryTransport):
        async def send(
            self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
        ) -> Reply:
            return await asyncio.Event().wait()  # type: ignore[return-value]  # never returns

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with EkbSession(StaticToken("the-token-itself"), transport=NeverOpen(Vendor())) as ekb:
            for max_wait, given_up_after in (0.05, 1.0), (5.0, 5.0):
                began = loop.time()
                with pytest.raises(QueueTimeoutError, match=f"could not be sent for {given_up_after} s") as caught:
                    await ekb.ocr(URL, max_wait=max_wait)
                assert loop.time() - began == pytest.approx(given_up_after, abs=0.01)
                assert isinstance(caught.value.__cause__, EkbTimeoutError)
                await asyncio.sleep(0.1)  # in virtual time
                assert ekb.stats().ocr.running == 0
            assert ekb.stats().ocr.sent == 0
            assert ekb.stats().ocr.failed == 2

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def test_a_download_url_that_cannot_be_had_is_the_cause(quick_box: Sandbox) -> None:
    """While the call for the attachment's URL is retried, its error is the cause."""
    quick_box.faults.append(Fault.answer(503, "网关维护中", calls="download_urls"))
    async with session_on(quick_box, max_backoff=30) as ekb:
        await ekb.flow_invoices(codes=["B1"])  # fetches the token
        error = await timed_out(lambda: ekb.ocr(Attachment(id="ID01", key="a.png"), max_wait=0.5))
    assert isinstance(error.__cause__, ServerError)
    assert "网关维护中" in str(error)


async def test_an_upload_without_an_answer_is_the_cause(quick_box: Sandbox, tmp_path: Path) -> None:
    """A local file whose upload is unanswered is reported as the cause."""
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n")
    quick_box.faults.append(Fault.delay(30, calls="upload"))
    async with session_on(quick_box) as ekb:
        await ekb.flow_invoices(codes=["B1"])  # fetches the token
        error = await timed_out(lambda: ekb.ocr(file, max_wait=0.5))
    assert "no answer from /api/openapi/v2/attachment/upload" in str(error)


async def test_calls_that_are_not_answered_are_the_cause(quick_box: Sandbox) -> None:
    """When `max_running` calls are unanswered, the cause gives their number and the time."""
    quick_box.latency["ocr"] = 30
    async with session_on(quick_box, max_running=2, close_timeout=0) as ekb:
        hanging = [ekb.submit_ocr(URL) for _ in range(2)]
        await quick_box.arrived("ocr", 2)
        error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.2))
        assert "no answer yet to the running calls (2, as many as max_running allows) for " in str(error)
        assert isinstance(error.__cause__, EkbTimeoutError)
        for job in hanging:
            job.cancel()


async def test_a_refusal_for_the_rate_is_the_cause() -> None:
    """While a refusal for the rate holds up calls it is the cause, also of a call that is refused when submitted."""
    async with Sandbox(ocr_rate=0.01, retry_after=25) as box, session_on(box, max_backoff=30) as ekb:
        await ekb.ocr(URL)
        refused = ekb.submit_ocr(URL)

        async def throttled() -> bool:
            return ekb.stats().ocr.throttled > 0

        await until(throttled)
        error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.1))
        assert isinstance(error.__cause__, ThrottledError)
        assert error.eta > 20
        refused.cancel()


async def test_a_pace_that_does_not_answer_is_the_cause(quick_box: Sandbox, tmp_path: Path) -> None:
    """A pace file that another program has locked is reported as the cause."""
    pace = MachinePace(tmp_path)
    config = SessionConfig(ocr_rate=5, rate_guard=0)
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, pacer=pace, config=config) as ekb:
        await ekb.ocr(URL)
        with closing(sqlite3.connect(tmp_path / "pace.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.4))
        assert "no answer from the shared pace for " in str(error)
        assert isinstance(error.__cause__, EkbTimeoutError)


async def test_a_queue_that_is_long_has_no_cause(quick_box: Sandbox) -> None:
    """If only the pace and the jobs ahead are the reason, the message gives their number and there is no cause."""
    async with session_on(quick_box, ocr_rate=1.0) as ekb:
        await ekb.ocr(URL)
        ahead = ekb.submit_ocr(URL)
        error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.1))
        assert str(error).startswith("not sent within 0.1 s: jobs ahead: 1, about ")
        assert error.__cause__ is None
        ahead.cancel()


async def test_a_call_that_may_not_wait_at_all_can_still_open_a_connection(quick_box: Sandbox) -> None:
    """With `max_wait=0` a call with an open slot is made although its connection has to be opened first."""
    async with session_on(quick_box, ocr_rate=1_000_000) as ekb:
        quick_box.latency["ocr"] = 30
        hanging = ekb.submit_ocr(URL)  # on the only connection there is
        await quick_box.arrived("ocr")
        quick_box.latency["ocr"] = 0
        assert (await ekb.ocr(URL, max_wait=0)).invoices
        hanging.cancel()


async def test_an_error_met_before_does_not_explain_a_later_wait(quick_box: Sandbox) -> None:
    """Once a call has been sent, an earlier error is no longer reported as a cause."""
    quick_box.faults.append(Fault.reset(calls="token", times=1))
    async with session_on(quick_box, max_running=1, close_timeout=0) as ekb:
        await ekb.ocr(URL)
        quick_box.latency["ocr"] = 30
        hanging = ekb.submit_ocr(URL)
        await quick_box.arrived("ocr", 2)
        error = await timed_out(lambda: ekb.ocr(URL, max_wait=0.1))
        assert "no answer yet to the running calls" in str(error)
        hanging.cancel()
