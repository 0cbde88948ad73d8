"""Hooks: what a session reports of its calls, in which order, and what a hook cannot do."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from pathlib import Path
from typing import Any

import pytest

from ekb_async import Attempt, ConfigError, EkbSession, Hooks, Job, PermissionDeniedError, ServerError, SessionConfig
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import FAST, session_on
from tests.support.documented import names_of_program

FILE = "https://files.example.com/a.png?Signature=the-signature&Expires=1"
OCR = "/api/openapi/v2/invoice/processImageByFileUrl"


class Recorded(Hooks):
    """Hooks that keep what they are called with."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.attempts: list[Attempt[Any]] = []
        self.jobs: list[Job[Any]] = []

    def queued(self, job: Job[Any]) -> None:
        self.events.append(("queued", job.call))

    def attempt_started(self, attempt: Attempt[Any]) -> None:
        self.events.append(("attempt_started", attempt.call))

    def sent(self, attempt: Attempt[Any]) -> None:
        assert attempt.job is not None
        self.events.append(("sent", attempt.call))

    def attempt_ended(self, attempt: Attempt[Any]) -> None:
        self.events.append(("attempt_ended", attempt.call))
        self.attempts.append(attempt)

    def ended(self, job: Job[Any]) -> None:
        self.events.append(("ended", job.call))
        self.jobs.append(job)

    def of(self, call: str) -> list[str]:
        return [event for event, about in self.events if about == call]


def new_session(box: Sandbox, **settings: Any) -> EkbSession:
    return EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(**{**FAST, **settings}))


def observed(box: Sandbox) -> tuple[EkbSession, Recorded]:
    session, hooks = new_session(box), Recorded()
    session.observe(hooks)
    return session, hooks


async def test_a_call_that_is_repeated(quick_box: Sandbox) -> None:
    """A job is queued and ends once; each attempt starts, is sent and ends, with its status, error and wait."""
    quick_box.faults.append(Fault.answer(503, "网关维护中", calls="ocr", times=1))
    session, hooks = observed(quick_box)
    async with session as ekb:
        await ekb.ocr(FILE)
    attempt = ["attempt_started", "sent", "attempt_ended"]
    assert hooks.of("ocr") == ["queued", *attempt, *attempt, "ended"]
    first, second = (each for each in hooks.attempts if each.call == "ocr")
    assert (first.status, first.number, first.path, first.address) == (503, 1, OCR, OCR)
    assert isinstance(first.error, ServerError)
    assert first.wait is not None
    assert first.wait > 0
    assert (second.status, second.number, second.error, second.wait) == (200, 2, None, None)
    [job] = hooks.jobs
    assert (job.state, job.attempts) == ("done", 2)
    assert first.job is second.job is job


async def test_other_calls_have_attempts_only(quick_box: Sandbox, tmp_path: Path) -> None:
    """A token, a look-up, an upload and a file are attempts without a job; a file has its URL, others their path."""
    session, hooks = observed(quick_box)
    async with session as ekb:
        await ekb.upload(b"content", "a.png")
        assert [each.error async for each in ekb.download_invoices(["c:1:1"], tmp_path)] == [None]
    assert {event for event, _ in hooks.events} == {"attempt_started", "attempt_ended"}
    calls = {each.call: each for each in hooks.attempts}
    assert calls.keys() == {"token", "upload", "invoice_url", "download"}
    assert calls["download"].url.startswith(quick_box.base_url)
    assert (calls["download"].path, calls["upload"].url) == ("", "")
    assert all(each.status == 200 and each.job is None for each in calls.values())


async def test_a_failed_and_a_cancelled_call(quick_box: Sandbox) -> None:
    """A job that fails or is cancelled ends once, and so does each of its attempts."""
    quick_box.faults.append(Fault.answer(403, "没有权限", calls="ocr", times=1))
    quick_box.latency["verify"] = 30
    session, hooks = observed(quick_box)
    async with session as ekb:
        with pytest.raises(PermissionDeniedError):
            await ekb.ocr(FILE)
        running = ekb.submit_verify(FILE, staff_id="c:s")
        await quick_box.arrived("verify")
        running.cancel()
    assert [(job.call, job.state) for job in hooks.jobs] == [("ocr", "failed"), ("verify", "cancelled")]
    assert hooks.of("verify") == ["queued", "attempt_started", "sent", "ended", "attempt_ended"]
    assert isinstance(hooks.attempts[-1].error, asyncio.CancelledError)
    assert isinstance(hooks.jobs[0].error, PermissionDeniedError)


async def test_a_queued_job_belongs_to_its_caller(quick_box: Sandbox) -> None:
    """`queued` runs in the context of the submission, and both ends of an attempt in one context."""
    request = contextvars.ContextVar("request", default="")

    class Contexts(Hooks):
        def __init__(self) -> None:
            self.at_submission: list[str] = []
            self.tasks: list[asyncio.Task[Any] | None] = []

        def queued(self, job: Job[Any]) -> None:
            self.at_submission.append(request.get())

        def attempt_started(self, attempt: Attempt[Any]) -> None:
            request.set(attempt.call)
            self.tasks.append(asyncio.current_task())

        def attempt_ended(self, attempt: Attempt[Any]) -> None:
            assert request.get() == attempt.call
            assert self.tasks[-1] is asyncio.current_task()

    session, hooks = new_session(quick_box, max_running=1), Contexts()
    session.observe(hooks)
    async with session as ekb:
        for number in range(3):
            request.set(str(number))
            await ekb.ocr(FILE)
    assert hooks.at_submission == ["0", "1", "2"]


async def test_no_call_runs_in_the_context_of_another(quick_box: Sandbox) -> None:
    """A call that becomes ready when another one is submitted does not get the context of that one's caller."""
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="")
    seen: list[str] = []

    async def mark(_: int) -> None:
        seen.append(request.get())

    async with new_session(quick_box, max_running=1, ocr_rate=100_000.0) as ekb:

        def submit_another(_: Job[Any]) -> None:
            request.set("another")
            ekb.submit_ocr(FILE)

        ekb.submit_ocr(FILE, on_end=submit_another)
        await ekb.submit_ocr(FILE, mark=mark)
    assert seen == [""]


async def test_a_hook_that_fails_stops_nothing(quick_box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of a hook is logged without secrets; the call and the other hooks go on."""

    class Failing(Hooks):
        def queued(self, job: Job[Any]) -> None:
            raise RuntimeError(f"cannot handle {FILE}")

        def attempt_started(self, attempt: Attempt[Any]) -> None:
            raise RuntimeError(f"cannot handle {FILE}")

        def ended(self, job: Job[Any]) -> None:
            raise RuntimeError(f"cannot handle {FILE}")

    session, hooks = new_session(quick_box), Recorded()
    session.observe(Failing())
    session.observe(hooks)
    with caplog.at_level(logging.WARNING, "ekb_async.calls"):
        async with session as ekb:
            await ekb.ocr(FILE)
    assert hooks.of("ocr") == ["queued", "attempt_started", "sent", "attempt_ended", "ended"]
    assert "a hook failed with RuntimeError" in caplog.text
    assert "the-signature" not in caplog.text


async def test_a_hook_that_looks_at_a_cancelled_task_stops_nothing(quick_box: Sandbox) -> None:
    """A `CancelledError` that a hook raises is a failure of the hook, and cancels no call."""

    class Looking(Hooks):
        def attempt_started(self, attempt: Attempt[Any]) -> None:
            raise asyncio.CancelledError

        def ended(self, job: Job[Any]) -> None:
            raise asyncio.CancelledError

    session = new_session(quick_box)
    session.observe(Looking())
    async with session as ekb, asyncio.timeout(5):
        assert (await ekb.ocr(FILE)).platform


async def test_a_hook_can_cancel_a_job_that_was_just_queued(quick_box: Sandbox) -> None:
    """The job ends and is not sent, nothing is left in the queue, and a stream goes on."""

    class Refusing(Hooks):
        def queued(self, job: Job[Any]) -> None:
            job.cancel()

    session = new_session(quick_box)
    session.observe(Refusing())
    async with session as ekb, asyncio.timeout(5):
        job = ekb.submit_ocr(FILE, max_wait=1.0)
        assert (job.state, ekb.stats().ocr.queued) == ("cancelled", 0)
        assert [each.input async for each in ekb.ocr_many([FILE, FILE])] == [FILE, FILE]
    assert quick_box.count("ocr") == 0


async def test_a_hook_can_cancel_a_job_that_is_about_to_leave(quick_box: Sandbox) -> None:
    """The request does not leave, so that nothing is billed that is not counted."""

    class Refusing(Hooks):
        def sent(self, attempt: Attempt[Any]) -> None:
            assert isinstance(attempt.job, Job)
            attempt.job.cancel()

    session = new_session(quick_box)
    session.observe(Refusing())
    async with session as ekb, asyncio.timeout(5):
        job = ekb.submit_ocr(FILE)
        with pytest.raises(asyncio.CancelledError):
            await job
        await ekb.close()
        assert (job.attempts, job.unconfirmed, ekb.stats().ocr.sent) == (0, False, 0)
    assert quick_box.count("ocr") == 0


async def test_an_end_that_cannot_be_handled_stops_nothing(
    quick_box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """If `on_end` raises, as it does by submitting a call to a closing session, all jobs and the session end."""
    ekb = new_session(quick_box)

    def submit_another(_: Job[Any]) -> None:
        ekb.submit_ocr(FILE)

    with caplog.at_level(logging.WARNING, "ekb_async.calls"):
        jobs = [ekb.submit_ocr(FILE, on_end=submit_another) for _ in range(3)]
        await ekb.close()
    assert [job.state for job in jobs] == ["failed"] * 3
    assert caplog.text.count("a hook failed with SessionClosedError: the session is closed") == 3


async def test_an_attempt_shows_no_secret(quick_box: Sandbox) -> None:
    """The representation of an attempt has neither the file's URL nor the token."""
    session, hooks = observed(quick_box)
    async with session as ekb:
        await ekb.ocr(FILE)
    assert all(repr(each) == "Attempt" for each in hooks.attempts)


async def test_the_documented_program(
    quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example in docs/en/sessions.md runs as it stands there."""
    names = names_of_program("(Hooks)", quick_box, monkeypatch)
    await names["main"]()
    assert capsys.readouterr().out.splitlines() == ["token 1 200 None None", "ocr 1 200 None None", "ocr done 1 0"]


async def test_a_class_is_no_hook(quick_box: Sandbox) -> None:
    """A class in place of an object is refused at once."""
    with pytest.raises(ConfigError, match="not the class Recorded"):
        new_session(quick_box).observe(Recorded)  # type: ignore[arg-type]  # what is tested


async def test_a_session_in_use_takes_no_hooks(quick_box: Sandbox) -> None:
    """Hooks that would miss the first calls are refused."""
    async with session_on(quick_box) as ekb:
        await ekb.ocr(FILE)
        with pytest.raises(ConfigError, match="used already"):
            ekb.observe(Recorded())
