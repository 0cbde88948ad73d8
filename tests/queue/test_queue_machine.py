"""The call queue under any sequence of submitting, cancelling, failing, being refused, waiting and closing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ekb_async import (
    EkbError,
    EkbSession,
    Job,
    PermissionDeniedError,
    Priority,
    QueueTimeoutError,
    SessionClosedError,
    SessionConfig,
    StaticToken,
)
from ekb_async.models import OcrResult
from ekb_async.simulation import VirtualTimeLoop
from tests.support.scripted_vendor import ANSWERS, REFUSED, ScriptedVendor

INTERVAL = 1.0
GUARD = 0.01
MAX_RUNNING = 4
MAX_TRIES = 3


class QueueMachine(RuleBasedStateMachine):
    """No job is lost, none is paid twice, and no two starts are closer than the interval but after a refusal."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.vendor = ScriptedVendor()
        self.jobs: dict[str, Job[OcrResult]] = {}
        self.ended_at_start_count: dict[str, int] = {}
        self.cancelled: set[str] = set()
        self.closed = False
        config = SessionConfig(
            rate_guard=GUARD, max_running=MAX_RUNNING, max_tries=MAX_TRIES, max_backoff=5.0, queue_size=1000
        )
        self.session = EkbSession(StaticToken("t"), config=config, transport=self.vendor)
        self.settle()

    def settle(self, seconds: float = 0.0) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for url, job in self.jobs.items():
            if job.state in {"done", "failed", "cancelled"} and url not in self.ended_at_start_count:
                self.ended_at_start_count[url] = self.count(url)

    def count(self, url: str) -> int:
        return sum(start.url == url for start in self.vendor.starts)

    async def _submit(self, url: str, priority: Priority, max_wait: float | None) -> None:
        self.jobs[url] = self.session.submit_ocr(url, priority=priority, max_wait=max_wait)

    @precondition(lambda self: not self.closed)
    @rule(
        priorities=st.lists(st.sampled_from(Priority), min_size=1, max_size=8),
        max_wait=st.sampled_from([None, None, 0.5, 5.0]),
    )
    def submit(self, priorities: list[Priority], max_wait: float | None) -> None:
        for priority in priorities:
            url = f"https://files.example/{len(self.jobs)}.png"
            with contextlib.suppress(QueueTimeoutError):
                self.loop.run_until_complete(self._submit(url, priority, max_wait))
            assert url in self.jobs or max_wait is not None

    @precondition(lambda self: bool(self.jobs))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        url = data.draw(st.sampled_from(sorted(self.jobs)))
        had_ended = self.jobs[url].state in {"done", "failed", "cancelled"}
        assert self.jobs[url].cancel() is not had_ended
        if not had_ended:
            self.cancelled.add(url)
            assert self.jobs[url].state == "cancelled"

    @rule(answer=st.sampled_from([*ANSWERS, REFUSED]), seconds=st.floats(0.0, 3.0))
    def meet(self, answer: str, seconds: float) -> None:
        self.vendor.next_answer = answer
        self.settle(seconds)
        self.vendor.next_answer = "success"

    @rule(seconds=st.floats(0.0, 20.0))
    def wait(self, seconds: float) -> None:
        self.settle(seconds)

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.closed = True
        self.loop.run_until_complete(self.session.close())
        self.settle()
        assert all(job.state in {"done", "failed", "cancelled"} for job in self.jobs.values())

    @invariant()
    def starts_are_apart(self) -> None:
        """Only the start after a refused one may follow sooner, which used nothing of the rate; and only once."""
        is_early = False
        for earlier, later in itertools.pairwise(self.vendor.starts):
            may_be_early = earlier.answer == "throttled" and not is_early
            is_early = later.at - earlier.at < INTERVAL
            assert may_be_early or not is_early

    @invariant()
    def no_more_run_than_allowed(self) -> None:
        assert self.vendor.most_under_way <= MAX_RUNNING

    @invariant()
    def none_runs_twice(self) -> None:
        assert all(count <= 1 for count in self.vendor.under_way.values())
        for url in self.jobs:
            answers = [start.answer for start in self.vendor.starts if start.url == url]
            # No attempt follows a successful one.
            assert "success" not in answers[:-1]

    @invariant()
    def what_has_ended_stays_ended(self) -> None:
        for url, count in self.ended_at_start_count.items():
            assert self.count(url) == count

    def teardown(self) -> None:
        try:
            self.settle(400.0 + 4 * len(self.jobs))
            for url, job in self.jobs.items():
                self.check_end(url, job)
            if not self.closed:
                self.loop.run_until_complete(self.session.close())
            assert not asyncio.all_tasks(self.loop)
        finally:
            self.loop.close()

    def check_end(self, url: str, job: Job[OcrResult]) -> None:
        answers = [start.answer for start in self.vendor.starts if start.url == url]
        assert (url in self.cancelled) == (job.state == "cancelled")
        if job.state == "done":
            assert answers[-1] == "success"
        elif job.state == "failed":
            assert isinstance(job.error, EkbError)
            if not self.closed and not isinstance(job.error, QueueTimeoutError | PermissionDeniedError):
                assert job.error.attempts == MAX_TRIES
            if isinstance(job.error, QueueTimeoutError):
                assert answers == []
            assert self.closed or not isinstance(job.error, SessionClosedError)
        else:
            assert job.state == "cancelled"


TestQueue = pytest.mark.slow(QueueMachine.TestCase)
TestQueue.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
