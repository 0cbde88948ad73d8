"""Calls that a task awaits are made in that task: what ends the call, and what ends the task."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from ekb_async import (
    AppCredentials,
    Attempt,
    EkbSession,
    Hooks,
    Job,
    QueueTimeoutError,
    SessionClosedError,
    SessionConfig,
)
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.conftest import FAST, session_on

URL = "https://files.example/1.png"
KEYS = AppCredentials(app_key=Vendor().rules.app_key, app_security=Vendor().rules.app_security)


def new_session(box: Sandbox, hooks: Hooks, **settings: Any) -> EkbSession:
    session = EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(**{**FAST, **settings}))
    session.observe(hooks)
    return session


def is_untouched(task: asyncio.Task[Any] | None) -> bool:
    """Return whether nothing has cancelled the task."""
    return task is not None and not task.cancelling()


async def test_closing_ends_the_call_and_not_the_task_that_awaits_it() -> None:
    """A call that closing breaks off raises `SessionClosedError`; its task can go on, and await other things."""
    async with Sandbox(latency=60.0) as box:
        ekb = EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(close_timeout=0))

        async def call() -> str:
            with pytest.raises(SessionClosedError, match="may be billed"):
                await ekb.ocr(URL)
            assert is_untouched(asyncio.current_task())
            await asyncio.sleep(0)
            return "went on"

        task = asyncio.create_task(call())
        await box.arrived("ocr")
        await ekb.close()
        assert await task == "went on"


async def test_closing_waits_for_calls_that_end_in_time() -> None:
    """Closing lets a running call end within `close_timeout`."""
    async with Sandbox(latency={"ocr": 0.1}) as box, session_on(box) as ekb:
        task = asyncio.create_task(ekb.ocr(URL))
        await box.arrived("ocr")
        await ekb.close()
        assert task.done()
        assert (await task).invoices


class Cancels(Hooks):
    """Cancels each job at one event of its attempt."""

    def __init__(self, event: str) -> None:
        self.events: list[str] = []
        self._event = event

    def _note(self, event: str, job: Job[Any]) -> None:
        self.events.append(event)
        if event == self._event:
            job.cancel()

    def attempt_started(self, attempt: Attempt[Any]) -> None:
        if isinstance(attempt.job, Job):
            self._note("attempt_started", attempt.job)

    def sent(self, attempt: Attempt[Any]) -> None:
        assert isinstance(attempt.job, Job)
        self._note("sent", attempt.job)

    def ended(self, job: Job[Any]) -> None:
        self._note(job.state, job)


@pytest.mark.parametrize("event", ["attempt_started", "sent"])
async def test_a_hook_can_cancel_the_call_and_not_the_task_that_awaits_it(event: str) -> None:
    """A job that a hook cancels in its own task is not sent; its call raises `CancelledError`, and the task goes on."""
    async with Sandbox() as box:
        hooks = Cancels(event)
        async with new_session(box, hooks) as ekb:
            with pytest.raises(asyncio.CancelledError):
                await ekb.ocr(URL)
            assert is_untouched(asyncio.current_task())
            await asyncio.sleep(0)
            assert hooks.events[-1] == "cancelled"
            assert box.count("ocr") == 0
            assert ekb.stats().ocr.running == 0


class ConnectsSlowly(InMemoryTransport):
    """A network on which an OCR call waits a minute for its connection."""

    async def send(self, request: Request[Any], **options: Any) -> Reply:
        if request.endpoint.name == "ocr":
            await asyncio.sleep(60.0)
        return await super().send(request, **options)


def test_a_call_that_a_hook_cancels_does_not_wait_for_a_connection() -> None:
    """A job that a hook cancels before it has a connection ends at once."""

    async def call() -> None:
        hooks = Cancels("attempt_started")
        ekb = EkbSession(KEYS, transport=ConnectsSlowly(Vendor()))
        ekb.observe(hooks)
        async with ekb:
            async with asyncio.timeout(1.0):
                with pytest.raises(asyncio.CancelledError):
                    await ekb.ocr(URL)
                assert is_untouched(asyncio.current_task())
            assert hooks.events == ["attempt_started", "cancelled"]
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(call())


async def result_of(job: Job[Any]) -> Any:
    return await job


class Kept(Hooks):
    """Keeps the jobs."""

    def __init__(self) -> None:
        self.jobs: list[Job[Any]] = []

    def queued(self, job: Job[Any]) -> None:
        self.jobs.append(job)


async def test_cancelling_the_job_from_elsewhere_does_not_cancel_the_task() -> None:
    """A running job that another task cancels raises `CancelledError` in the task that called, which can go on."""
    async with Sandbox(latency={"ocr": 60.0}) as box:
        hooks = Kept()
        async with new_session(box, hooks, close_timeout=0.0) as ekb:

            async def call() -> str:
                with pytest.raises(asyncio.CancelledError):
                    await ekb.ocr(URL)
                assert is_untouched(asyncio.current_task())
                return "went on"

            task = asyncio.create_task(call())
            await box.arrived("ocr")
            assert hooks.jobs[0].cancel()
            assert await task == "went on"
            assert ekb.stats().ocr.running == 0


async def test_another_task_that_gives_up_waiting_leaves_the_call_to_its_caller() -> None:
    """If a task that awaits the job of a waiting call is cancelled, the call is made all the same."""
    async with Sandbox(ocr_rate=0) as box:
        hooks = Kept()
        async with new_session(box, hooks, ocr_rate=5.0) as ekb:
            await ekb.ocr(URL)
            task = asyncio.create_task(ekb.ocr(URL))
            await asyncio.sleep(0)
            watcher = asyncio.ensure_future(result_of(hooks.jobs[1]))
            await asyncio.sleep(0)
            watcher.cancel()
            assert (await task).invoices


async def test_a_cancelled_caller_is_cancelled_even_if_the_call_is_ended_at_that_moment() -> None:
    """If a task is cancelled in the moment in which its job is cancelled too, the task ends as cancelled."""
    async with Sandbox(latency={"ocr": 60.0}) as box:
        hooks = Kept()
        async with new_session(box, hooks, close_timeout=0.0) as ekb:
            task = asyncio.create_task(ekb.ocr(URL))
            await box.arrived("ocr")
            hooks.jobs[0].cancel()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()


class NeverConnects(InMemoryTransport):
    """A network on which no OCR call gets a connection."""

    async def send(self, request: Request[Any], **options: Any) -> Reply:
        if request.endpoint.name == "ocr":
            await asyncio.Event().wait()
        return await super().send(request, **options)


def test_a_call_that_cannot_be_sent_in_time_leaves_its_task_alone() -> None:
    """A call that has a slot and is not sent within `max_wait` raises `QueueTimeoutError` and nothing else."""

    async def call() -> None:
        vendor = Vendor()
        async with EkbSession(KEYS, transport=NeverConnects(vendor)) as ekb:
            with pytest.raises(QueueTimeoutError):
                await ekb.ocr(URL, max_wait=2.0)
            assert is_untouched(asyncio.current_task())
            await asyncio.sleep(1.0)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(call())


async def test_a_caller_that_is_cancelled_as_its_slot_opens_returns_the_slot() -> None:
    """A waiting caller that is cancelled in the turn of the loop that gives it a slot leaves it to the next one."""
    async with Sandbox(ocr_rate=0) as box, session_on(box, ocr_rate=5.0) as ekb:
        await ekb.ocr(URL)
        second, third = asyncio.create_task(ekb.ocr(URL)), asyncio.create_task(ekb.ocr(URL))
        while ekb.stats().ocr.running == 0:  # noqa: ASYNC110 - it must not miss that turn
            await asyncio.sleep(0)
        assert second.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert second.cancelled()
        # Had the slot been lost, there would be none for a fifth of a second.
        assert ekb.stats().ocr.running == 1
        assert (await third).invoices
        assert box.count("ocr") == 2


WHOSE = contextvars.ContextVar("WHOSE", default="nobody's")


class Contexts(Hooks):
    """Notes in whose context each attempt is made."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def attempt_started(self, attempt: Attempt[Any]) -> None:
        if attempt.call == "ocr":
            self.seen.append(WHOSE.get())


async def test_an_attempt_is_made_in_the_context_of_its_caller() -> None:
    """Hooks of an attempt see the context variables of the task that called, also if the call had to wait."""
    async with Sandbox(ocr_rate=0) as box:
        hooks = Contexts()
        async with new_session(box, hooks, ocr_rate=50.0) as ekb:

            async def call(name: str) -> None:
                WHOSE.set(name)
                await ekb.ocr(URL)

            await asyncio.gather(*(call(name) for name in "abc"))
            assert hooks.seen == ["a", "b", "c"]


async def test_a_job_that_waits_does_not_get_the_context_of_another_call() -> None:
    """A submitted job that waited for its slot has no context variables, whatever call's end started it."""
    async with Sandbox(ocr_rate=0) as box:
        hooks = Contexts()
        async with new_session(box, hooks, ocr_rate=1_000_000.0, max_running=1) as ekb:

            async def call() -> None:
                WHOSE.set("a caller's")
                await ekb.ocr(URL)

            task = asyncio.create_task(call())
            await box.arrived("ocr")
            job = ekb.submit_ocr(URL)
            await asyncio.gather(task, job)
            assert hooks.seen == ["a caller's", "nobody's"]
