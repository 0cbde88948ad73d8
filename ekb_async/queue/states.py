"""The states of a queue's calls, without a loop, a clock or a task.

Each event is a method that changes the state and returns effects, which `ekb_async.queue.paced` performs. Then it finds
out whether a job can start, since any event may be what a job has waited for.

| phase | event | next phase |
| --- | --- | --- |
| WAITING | slot_open | GRANTED |
| WAITING | fail, fail_all, close | FAILED |
| WAITING | cancel | CANCELLED |
| GRANTED | left | SENT |
| GRANTED | lapsed | WAITING |
| GRANTED | succeeded | DONE |
| GRANTED | failed with Again, no wait | WAITING |
| GRANTED | failed with Again, a wait | BACKOFF |
| GRANTED | failed with Fail | FAILED |
| GRANTED | fail | FAILED |
| GRANTED | cancel, broken | CANCELLED |
| GRANTED | broken with an error | FAILED |
| SENT | succeeded | DONE |
| SENT | failed with Again, no wait | WAITING |
| SENT | failed with Again, a wait | BACKOFF |
| SENT | failed with Fail | FAILED |
| SENT | fail | FAILED |
| SENT | cancel, broken, lapsed | CANCELLED |
| SENT | broken with an error | FAILED |
| BACKOFF | backoff_over | WAITING |
| BACKOFF | fail, fail_all, close | FAILED |
| BACKOFF | cancel | CANCELLED |

DONE, FAILED and CANCELLED do not change any more. Once the queue is closed, `broken`, `lapsed` and `failed with Again`
lead to FAILED. An event that a phase does not have changes nothing.

A job is chosen after its slot is there: one that was cancelled or overtaken meanwhile costs no slot, and one whose file
is still being uploaded lets others go first. For each further attempt a job waits under its first key, so it is ahead
of all later jobs of its priority.

The attempt of a job that was cancelled or failed in mid-attempt goes on until its task has ended, and counts as running
until then. Five things always hold: at most one attempt has a slot and was not sent; no more than `max_running`
attempts run; a job that has ended does not change; each slot is used or returned once; only a call that was sent is
unconfirmed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ekb_async.errors import AuthError, EkbError, PermissionDeniedError, SessionClosedError, ThrottledError
from ekb_async.pacing.rule import Slot
from ekb_async.protocol.retry import Fail, Step, answer_lost
from ekb_async.queue.jobs import Job, JobQueue, Phase
from ekb_async.queue.limits import LIMITS
from ekb_async.queue.stats import QueueCounts
from ekb_async.redaction.masking import HiddenRepr


class Grant(HiddenRepr, msgspec.Struct, eq=False):
    """An attempt of a job: its slot, the file URL to use in it, and when it was sent, on the loop's clock."""

    job: Job[Any]
    slot: Slot
    url: str
    is_sent: bool = False
    sent_at: float = 0.0


class Start(msgspec.Struct, frozen=True):
    """Start the attempt of a grant."""

    grant: Grant


class ReturnSlot(msgspec.Struct, frozen=True):
    """Return a slot that was not used."""

    slot: Slot


class CancelAttempt(msgspec.Struct, frozen=True):
    """Cancel the running attempt of a job that has ended."""

    grant: Grant


class WaitBeforeRetry(msgspec.Struct, frozen=True):
    """Report `backoff_over` after these seconds, and jitter."""

    job: Job[Any]
    seconds: float


class Resolve(msgspec.Struct, frozen=True):
    """Release what waits for a job that has ended."""

    job: Job[Any]


Effect = Start | ReturnSlot | CancelAttempt | WaitBeforeRetry | Resolve
Effects = tuple[Effect, ...]


class CallStates:
    """The jobs of one queue, from their submission to their end; at most `max_running` attempts run at a time."""

    def __init__(self, rate: float, max_running: int) -> None:
        self.waiting = JobQueue()
        self.in_backoff: dict[Job[Any], None] = {}
        self.running: dict[Job[Any], Grant] = {}
        self.unsent: Grant | None = None
        """The attempt that has a slot and was not sent yet."""
        self.closed = False
        self.broken_off = 0
        """How many attempts ended without an answer because the queue was closed."""
        self.unanswered = 0
        """How many jobs were to be repeated for a lost answer when the queue was closed."""
        self.counts = QueueCounts(rate)
        self._max_running = max_running
        self._rejected_in_a_row = 0

    @property
    def wants_slot(self) -> bool:
        """Whether a job could start if it had a slot, and its file were ready."""
        return self.unsent is None and bool(self.waiting.front) and len(self.running) < self._max_running

    @property
    def may_run_more(self) -> bool:
        return len(self.running) < self._max_running

    # Waiting

    def submit(self, job: Job[Any]) -> None:
        self.waiting.push(job)

    def slot_open(self, slot: Slot, ready: tuple[Job[Any], str] | None) -> Effects:
        """Give a slot to the first job whose file is ready, with the file's URL; None if there is no such job."""
        if ready is None or self.closed or not self.wants_slot:
            return (ReturnSlot(slot),)
        job, url = ready
        self.waiting.remove(job)
        job.phase = Phase.GRANTED
        grant = self.unsent = self.running[job] = Grant(job, slot, url)
        return (Start(grant),)

    def backoff_over(self, job: Job[Any]) -> Effects:
        if job.phase is not Phase.BACKOFF:
            return ()
        del self.in_backoff[job]
        return self._wait_again(job)

    # Attempts

    def left(self, grant: Grant, now: float) -> Effects:
        """Record that the attempt is sent at this moment."""
        job = grant.job
        if job.phase is not Phase.GRANTED:
            return ()
        job.phase = Phase.SENT
        grant.is_sent, grant.sent_at = True, now
        self.counts.note_sent(now)
        self.counts.maybe_billed += job.unconfirmed
        job.maybe_billed += job.unconfirmed
        job.attempts += 1
        job.unconfirmed = job.history.billed
        self.unsent = None
        return ()

    def lapsed(self, grant: Grant) -> Effects:
        """Record that the slot passed before the attempt could be sent: the job takes another."""
        job = grant.job
        if job.phase is not Phase.GRANTED:
            return self.broken(grant)
        self._release(grant)
        if self.closed:
            closed = SessionClosedError("the session was closed before the call was sent")
            return (ReturnSlot(grant.slot), *self._failed_for_good(job, closed, for_all=False))
        return (ReturnSlot(grant.slot), *self._wait_again(job))

    def succeeded(self, grant: Grant, result: object) -> Effects:
        job = grant.job
        self._release(grant)
        self._rejected_in_a_row = 0
        job.unconfirmed = False
        if job.ended:
            return ()
        self.counts.succeeded += 1
        job.succeed(result)
        return (Resolve(job),)

    def failed(self, grant: Grant, error: EkbError, step: Step) -> Effects:
        """Record an attempt's error, and do what follows it; the slot is used up even if nothing was sent."""
        job = grant.job
        self._release(grant)
        self.counts.throttled += isinstance(error, ThrottledError)
        if grant.is_sent and not answer_lost(error):
            job.unconfirmed = False
        if isinstance(step, Fail):
            job.is_refused = grant.is_sent and isinstance(error, ThrottledError | AuthError | PermissionDeniedError)
            return self._failed_for_good(job, step.error, for_all=step.for_all)
        if job.ended:
            return ()
        job.history = step.history
        if self.closed:
            closed = _closed_before_repeating(job)
            closed.attempts = error.attempts
            return self._failed_for_good(job, closed, for_all=False)
        if step.wait <= 0:
            return self._wait_again(job)
        job.phase = Phase.BACKOFF
        self.in_backoff[job] = None
        return (WaitBeforeRetry(job, step.wait),)

    def broken(self, grant: Grant, error: Exception | None = None) -> Effects:
        """Record that an attempt ended in another way: with `error`, or cancelled if that is None."""
        job = grant.job
        self._release(grant)
        effects: Effects = () if grant.is_sent else (ReturnSlot(grant.slot),)
        if not job.ended:
            if error is None and self.closed:
                self.broken_off += 1
                error = SessionClosedError("the session was closed while the call was running; it may be billed")
                error.attempts = job.history.tries
            if error is not None:
                return (*effects, self._failed(job, error))
            job.withdraw()
            effects += (Resolve(job),)
        return effects

    # Ends

    def cancel(self, job: Job[Any]) -> Effects:
        if job.ended:
            return ()
        attempt = self._withdrawn(job)
        job.withdraw()
        return (*attempt, Resolve(job))

    def fail(self, jobs: Iterable[Job[Any]], error: EkbError) -> Effects:
        """End jobs with copies of an error, whether they wait or have a slot."""
        effects: list[Effect] = []
        for job in jobs:
            if not job.ended:
                effects += self._withdrawn(job)
                effects.append(self._failed(job, error.again()))
        return tuple(effects)

    def fail_next(self, error: EkbError) -> Effects:
        """End as many waiting jobs as could start at once."""
        return self.fail(self.waiting.front[: max(1, self._max_running - len(self.running))], error)

    def fail_all(self, error: EkbError) -> Effects:
        """End all jobs that have no slot with copies of an error that each would meet."""
        unsent = error.again()
        unsent.for_all = not isinstance(error, SessionClosedError)
        unsent.attempts = 0
        jobs = [*self.waiting.drain(), *self.in_backoff]
        self.in_backoff.clear()
        return tuple(self._failed(job, unsent.again()) for job in jobs)

    def close(self) -> Effects:
        """End all jobs that have no slot; attempts go on."""
        self.closed = True
        to_repeat = [*self.in_backoff, *(job for job in self.waiting if job.attempts)]
        self.unanswered = sum(job.unconfirmed for job in to_repeat)
        repeated = [effect for job in to_repeat for effect in self.fail([job], _closed_before_repeating(job))]
        queued = SessionClosedError("the session was closed while the job was queued")
        return (*repeated, *self.fail_all(queued))

    def _failed_for_good(self, job: Job[Any], error: EkbError, *, for_all: bool) -> Effects:
        is_rejected = isinstance(error, AuthError)
        self._rejected_in_a_row = self._rejected_in_a_row + 1 if is_rejected else 0
        # One call rejected with a fresh token may be an accident.
        for_all |= is_rejected and self._rejected_in_a_row >= LIMITS.rejections_in_a_row
        error.for_all |= for_all
        effects: Effects = () if job.ended else (self._failed(job, error),)
        if for_all:
            self._rejected_in_a_row = 0
            return (*effects, *self.fail_all(error))
        return effects

    def _failed(self, job: Job[Any], error: Exception) -> Resolve:
        self.counts.failed += 1
        job.fail(error)
        return Resolve(job)

    def _wait_again(self, job: Job[Any]) -> Effects:
        job.phase = Phase.WAITING
        self.waiting.push(job)
        return ()

    def _release(self, grant: Grant) -> None:
        del self.running[grant.job]
        if self.unsent is grant:
            self.unsent = None

    def _withdrawn(self, job: Job[Any]) -> Effects:
        """Take a job out of what it waits in; return the effect that ends its attempt if it has one."""
        if job.phase is Phase.WAITING:
            self.waiting.remove(job)
        elif job.phase is Phase.BACKOFF:
            del self.in_backoff[job]
        else:
            return (CancelAttempt(self.running[job]),)
        return ()


def _closed_before_repeating(job: Job[Any]) -> SessionClosedError:
    if job.unconfirmed:
        return SessionClosedError("the session was closed before the call was repeated; it may be billed")
    return SessionClosedError("the session was closed before the call was repeated")
