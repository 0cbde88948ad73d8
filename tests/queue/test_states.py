"""The states of a queue's calls: every transition of the table, and what always holds under any sequence of events."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ekb_async import (
    AuthError,
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    Job,
    PermissionDeniedError,
    Priority,
    QueueTimeoutError,
    SessionClosedError,
    SessionConfig,
    ThrottledError,
)
from ekb_async.pacing.rule import Slot
from ekb_async.protocol.retry import Again, Fail, History, next_step
from ekb_async.queue import states
from ekb_async.queue.jobs import Order, Phase
from ekb_async.queue.states import (
    CallStates,
    CancelAttempt,
    Effects,
    Grant,
    Resolve,
    ReturnSlot,
    Start,
    WaitBeforeRetry,
)

MAX_RUNNING = 3
ENDED = {Phase.DONE, Phase.FAILED, Phase.CANCELLED}


class NoQueue:
    """The owner of jobs that belong to no loop."""

    loop: asyncio.AbstractEventLoop
    call = "ocr"

    def position(self, job: Job[Any]) -> int:
        return 0

    def eta(self, job: Job[Any]) -> float:
        return 0.0

    def cancel(self, job: Job[Any]) -> None:
        raise AssertionError("nothing cancels a job here")


def new_job(calls: CallStates, priority: Priority = Priority.NORMAL) -> Job[Any]:
    order: Order[Any] = Order(None, lambda _: pytest.fail("nothing is requested"), 1.0)
    return Job(NoQueue(), order, calls.waiting.next_key(priority))


def first(calls: CallStates) -> tuple[Job[Any], str] | None:
    """Return the job that is first in line, whose file is ready."""
    return next(((job, "") for job in calls.waiting.front), None)


def granted(effects: Effects) -> Grant:
    [start] = effects
    assert isinstance(start, Start)
    return start.grant


# The table

SENT_ERROR = EkbTimeoutError("no answer", sent=True)
AGAIN_AT_ONCE = Again(history=History(tries=1))
AGAIN_LATER = Again(history=History(tries=2), wait=1.0, counts=True)
EVENTS: dict[str, Callable[[CallStates, Job[Any], Grant | None], Effects]] = {
    "slot_open": lambda calls, _, __: calls.slot_open(Slot(2.0), first(calls)),
    "left": lambda calls, _, grant: calls.left(needed(grant), 1.0),
    "lapsed": lambda calls, _, grant: calls.lapsed(needed(grant)),
    "succeeded": lambda calls, _, grant: calls.succeeded(needed(grant), "result"),
    "failed with Again, no wait": lambda calls, _, grant: calls.failed(needed(grant), SENT_ERROR, AGAIN_AT_ONCE),
    "failed with Again, a wait": lambda calls, _, grant: calls.failed(needed(grant), SENT_ERROR, AGAIN_LATER),
    "failed with Fail": lambda calls, _, grant: calls.failed(needed(grant), SENT_ERROR, Fail(SENT_ERROR)),
    "broken": lambda calls, _, grant: calls.broken(needed(grant)),
    "broken with an error": lambda calls, _, grant: calls.broken(needed(grant), RuntimeError("a bug")),
    "backoff_over": lambda calls, job, _: calls.backoff_over(job),
    "cancel": lambda calls, job, _: calls.cancel(job),
    "fail": lambda calls, job, _: calls.fail([job], QueueTimeoutError("too late")),
    "fail_all": lambda calls, _, __: calls.fail_all(PermissionDeniedError("no licence", status=403)),
    "close": lambda calls, _, __: calls.close(),
}
OF_ATTEMPTS = {name for name in EVENTS if name.partition(" ")[0] in {"left", "lapsed", "succeeded", "failed", "broken"}}


def needed(grant: Grant | None) -> Grant:
    assert grant is not None
    return grant


def brought_to(phase: Phase) -> tuple[CallStates, Job[Any], Grant | None]:
    """Return states with one job in this phase, and its running attempt if it has one."""
    calls = CallStates(1.0, MAX_RUNNING)
    job = new_job(calls)
    calls.submit(job)
    if phase is Phase.WAITING:
        return calls, job, None
    grant = granted(calls.slot_open(Slot(1.0), first(calls)))
    if phase is Phase.GRANTED:
        return calls, job, grant
    calls.left(grant, 1.0)
    if phase is Phase.BACKOFF:
        calls.failed(grant, SENT_ERROR, AGAIN_LATER)
    elif phase is Phase.DONE:
        calls.succeeded(grant, "result")
    elif phase is Phase.FAILED:
        calls.failed(grant, SENT_ERROR, Fail(SENT_ERROR))
    elif phase is Phase.CANCELLED:
        calls.cancel(job)
        calls.broken(grant)
    return calls, job, grant if phase is Phase.SENT else None


def table() -> dict[tuple[str, str], str]:
    """Return the transitions in the module's docstring, by phase and event."""
    rows = re.findall(r"^\| ([A-Z]+) \| (.+) \| ([A-Z]+) \|$", states.__doc__ or "", re.MULTILINE)
    found: dict[tuple[str, str], str] = {}
    for phase, events, then in rows:
        names = [events] if events in EVENTS else events.split(", ")
        found |= {(phase, name): then for name in names}
    return found


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("phase", Phase)
def test_the_table_is_what_the_class_does(phase: Phase, event: str) -> None:
    """Each event leads from each phase to the one that the docstring gives, and changes nothing if it gives none."""
    calls, job, grant = brought_to(phase)
    if grant is None and event in OF_ATTEMPTS:
        assert (phase.name, event) not in table()
        return
    EVENTS[event](calls, job, grant)
    assert job.phase.name == table().get((phase.name, event), phase.name)


def test_the_table_names_events_of_the_class() -> None:
    """Each row of the table is about an event that the test above tries."""
    assert {event for _, event in table()} <= set(EVENTS)
    assert len(table()) > 25


@pytest.mark.parametrize("event", ["broken", "failed with Again, no wait", "failed with Again, a wait"])
def test_a_closed_queue_repeats_nothing(event: str) -> None:
    """Once the queue is closed, an attempt without an answer is the last: the job fails with `SessionClosedError`."""
    calls, job, grant = brought_to(Phase.SENT)
    calls.close()
    EVENTS[event](calls, job, grant)
    assert job.phase is Phase.FAILED
    assert isinstance(job.error, SessionClosedError)
    assert job.unconfirmed


# Any sequence of events

ERRORS: list[Callable[[], EkbError]] = [
    lambda: EkbConnectionError("refused", sent=False),
    lambda: EkbTimeoutError("no answer", sent=True),
    lambda: ThrottledError("too fast", status=429),
    lambda: AuthError("wrong token", status=401),
    lambda: PermissionDeniedError("no licence", status=403),
]


class StatesMachine(RuleBasedStateMachine):
    """A model of the shell: it has the slots that are out, the attempts that run, and the timers that are set."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = CallStates(1.0, MAX_RUNNING)
        self.config = SessionConfig(max_tries=3, max_backoff=1.0)
        self.numbers = itertools.count(1)
        self.jobs: list[Job[Any]] = []
        self.attempts: list[Grant] = []
        self.timers: list[Job[Any]] = []
        self.cancelled: list[Grant] = []
        self.resolved: Counter[int] = Counter()
        self.slots: Counter[float] = Counter()
        self.ends: dict[int, tuple[Phase, int]] = {}

    def perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Start(grant):
                    self.attempts.append(grant)
                    self.slots[grant.slot] += 1
                case ReturnSlot(slot):
                    self.slots[slot] -= 1
                case CancelAttempt(grant):
                    assert grant in self.attempts
                    self.cancelled.append(grant)
                case WaitBeforeRetry(job, seconds):
                    assert seconds > 0
                    self.timers.append(job)
                case Resolve(job):
                    assert job.phase in ENDED
                    self.resolved[id(job)] += 1

    @rule(priority=st.sampled_from(Priority))
    def submit(self, priority: Priority) -> None:
        if not self.calls.closed:
            job = new_job(self.calls, priority)
            self.jobs.append(job)
            self.calls.submit(job)

    @rule(ready=st.integers(0, 3))
    def open_slot(self, ready: int) -> None:
        """Claim a slot; only the job at place `ready` has its file."""
        slot = Slot(float(next(self.numbers)))
        front = list(self.calls.waiting.front)
        possible = self.calls.wants_slot and not self.calls.closed and ready < len(front)
        effects = self.calls.slot_open(slot, (front[ready], "") if ready < len(front) else None)
        if possible:
            assert granted(effects).job is front[ready]
        else:
            assert effects == (ReturnSlot(slot),)
            self.slots[slot] += 1
        self.perform(effects)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        grant = data.draw(st.sampled_from(self.attempts))
        if grant.job.phase is Phase.GRANTED:
            self.perform(self.calls.left(grant, float(next(self.numbers))))
            assert grant.is_sent

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), how=st.sampled_from(["succeeded", "broken", "lapsed", "bug"]))
    def end_attempt(self, data: st.DataObject, how: str) -> None:
        grant = data.draw(st.sampled_from(self.attempts))
        self.attempts.remove(grant)
        if how == "succeeded":
            self.perform(self.calls.succeeded(grant, "result"))
        elif how == "lapsed" and not grant.is_sent:
            self.perform(self.calls.lapsed(grant))
        else:
            self.perform(self.calls.broken(grant, RuntimeError("a bug") if how == "bug" else None))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), make=st.sampled_from(ERRORS))
    def fail_attempt(self, data: st.DataObject, make: Callable[[], EkbError]) -> None:
        grant = data.draw(st.sampled_from(self.attempts))
        self.attempts.remove(grant)
        error = make()
        self.perform(self.calls.failed(grant, error, next_step(error, grant.job.history, self.config)))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def end_backoff(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.timers))
        self.timers.remove(job)
        self.perform(self.calls.backoff_over(job))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), how=st.sampled_from(["cancel", "expire"]))
    def end_job(self, data: st.DataObject, how: str) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.perform(self.calls.cancel(job) if how == "cancel" else self.calls.fail([job], QueueTimeoutError("late")))
        assert job.phase in ENDED

    @rule()
    def fail_all(self) -> None:
        self.perform(self.calls.fail_all(PermissionDeniedError("no licence", status=403)))
        assert not len(self.calls.waiting)
        assert not self.calls.in_backoff

    @rule(closes=st.integers(0, 8))
    def close(self, closes: int) -> None:
        if closes == 0:
            self.perform(self.calls.close())

    @invariant()
    def one_attempt_at_most_is_about_to_be_sent(self) -> None:
        assert sum(job.phase is Phase.GRANTED for job in self.jobs) <= 1

    @invariant()
    def no_more_attempts_run_than_allowed(self) -> None:
        assert len(self.attempts) <= MAX_RUNNING
        assert set(map(id, self.calls.running.values())) == set(map(id, self.attempts))

    @invariant()
    def an_ended_job_changes_no_more(self) -> None:
        for job in self.jobs:
            if job.phase in ENDED:
                assert self.resolved[id(job)] == 1
                now = (job.phase, job.attempts)
                assert self.ends.setdefault(id(job), now) == now
            else:
                assert self.resolved[id(job)] == 0

    @invariant()
    def each_slot_is_used_or_returned_once(self) -> None:
        assert all(0 <= count <= 1 for count in self.slots.values())

    @invariant()
    def only_a_sent_call_is_unconfirmed(self) -> None:
        for job in self.jobs:
            assert job.attempts > 0 or not job.unconfirmed
            assert job.phase is not Phase.SENT or job.unconfirmed
            assert job.phase is not Phase.DONE or not job.unconfirmed
            assert job.maybe_billed < max(1, job.attempts)

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        waiting, backing_off = list(self.calls.waiting), list(self.calls.in_backoff)
        for job in self.jobs:
            places = (job in waiting, job in backing_off, job.phase in {Phase.GRANTED, Phase.SENT}, job.phase in ENDED)
            assert sum(places) == 1, job
            assert (job.phase is Phase.WAITING) == (job in waiting)
            assert (job.phase is Phase.BACKOFF) == (job in backing_off)

    def teardown(self) -> None:
        self.perform(self.calls.close())
        for grant in list(self.attempts):
            self.attempts.remove(grant)
            self.perform(self.calls.broken(grant) if grant.is_sent else self.calls.lapsed(grant))
        assert all(job.phase in ENDED for job in self.jobs)
        counts = self.calls.counts.snapshot(queued=0, running=0)
        ends = Counter(job.phase for job in self.jobs)
        assert (counts.succeeded, counts.failed) == (ends[Phase.DONE], ends[Phase.FAILED])
        assert counts.sent == sum(job.attempts for job in self.jobs)
        assert counts.maybe_billed == sum(job.maybe_billed for job in self.jobs)


TestStates = StatesMachine.TestCase
TestStates.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


class StatesAtLength(StatesMachine):
    """The same machine, for many more steps."""


TestStatesAtLength = pytest.mark.slow(StatesAtLength.TestCase)
TestStatesAtLength.settings = settings(max_examples=60, stateful_step_count=100, deadline=None)
