"""The attempts of one queue's calls: each from its slot to the event with which it ends for the states.

An attempt is a task of its own, or a part of the task that called, which saves a task and several turns of the loop.
In either case it belongs to the scope of the queue, can be cancelled alone, and ends no later than its owner.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from ekb_async.aio.tasks import TaskScope
from ekb_async.client.attempt import Api
from ekb_async.client.hooks import Attempt, report
from ekb_async.errors import EkbError, ThrottledError
from ekb_async.files.hints import fit_hint
from ekb_async.files.urls import FileUrls
from ekb_async.pacing.rule import Pace
from ekb_async.protocol.retry import Again
from ekb_async.queue.delays import Delays
from ekb_async.queue.jobs import Job
from ekb_async.queue.limits import LIMITS
from ekb_async.queue.states import CallStates, Effects, Grant
from ekb_async.redaction.masking import without_frames


class SlotLapsed(Exception):  # noqa: N818 - not an error: the call takes another slot
    """Raised when a call was not sent within its slot, since other processes may use later slots by now."""


class Attempts:
    """The attempts of one queue that are under way; `perform` does what the states ask for after each event."""

    def __init__(
        self,
        name: str,
        api: Api,
        pace: Pace,
        file_urls: FileUrls,
        states: CallStates,
        delays: Delays,
        perform: Callable[[Effects], None],
    ) -> None:
        self.mean_duration = 0.0
        """Moving average of the seconds that calls took, weighted to the latest; 0 before the first."""
        self._name = name
        self._api = api
        self._pace = pace
        self._file_urls = file_urls
        self._states = states
        self._delays = delays
        self._perform = perform
        self._now = asyncio.get_running_loop().time
        self._scope = TaskScope()
        self._under_way: dict[Grant, asyncio.Future[None]] = {}

    def start(self, grant: Grant) -> None:
        """Make the attempt of a grant in a task of its own."""
        ended = functools.partial(self._task_ended, grant)
        self._under_way[grant] = self._scope.start(self._make(grant), name=self._name, on_end=ended)

    async def make_in_caller(self, grant: Grant) -> None:
        """Make the attempt of a grant, to its end; if the caller is cancelled, so is the job."""
        failure: Exception | None = None
        try:
            with self._scope.in_caller() as work:
                self._under_way[grant] = work
                await self._make(grant)
        except asyncio.CancelledError:
            grant.job.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - an error that no rule covers is that of the job
            failure = without_frames(error)
        finally:
            self._ended(grant, failure)

    def cancel(self, grant: Grant) -> None:
        """Cancel the attempt of a job that has ended."""
        attempt = self._under_way.get(grant)
        if attempt is not None:
            attempt.cancel()
        else:
            # Its caller has not begun it.
            self._broken(grant, None)

    async def finish(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the attempts, then cancel the others and wait until they have ended."""
        await self._scope.finish(timeout)

    async def _make(self, grant: Grant) -> None:
        job, order = grant.job, grant.job.order
        request = order.request(grant.url)
        attempt = Attempt(request, job.history, job)
        try:
            token = self._api.tokens.usable() or await self._api.token(request)
            if job.mark is not None:
                await job.mark(job.maybe_billed + job.unconfirmed + 1)
            # Checked here as well as when it leaves, so that no connection is used for an expired slot.
            if self._pace.expired(grant.slot):
                self._take_another_slot(job, "preparing")
            if (seconds_until := self._pace.seconds_until(grant.slot)) > 0:
                await asyncio.sleep(seconds_until)
            result = await self._api.send(attempt, token, order.timeout, functools.partial(self._left, grant, attempt))
        except SlotLapsed:
            self._perform(self._states.lapsed(grant))
        except EkbError as error:
            self._failed(grant, attempt, error)
        except BaseException as error:
            without_frames(error)
            raise
        else:
            self._succeeded(grant, result)

    def _take_another_slot(self, job: Job[Any], what: str) -> None:
        """Raise `SlotLapsed`, since the slot has passed; at most once per job in preparing and once in sending.

        If writing the mark or opening a connection always takes longer than an interval, the call would otherwise never
        be sent.
        """
        if what not in job.lapses:
            job.lapses += (what,)
            raise SlotLapsed

    def _left(self, grant: Grant, attempt: Attempt[Any]) -> None:
        job = grant.job
        if grant.is_sent and not job.ended:
            return
        if not job.ended:
            if self._pace.expired(grant.slot):
                self._take_another_slot(job, "sending")
            report(self._api.hooks.sent, attempt)
        if job.ended:
            # The job has just been cancelled, perhaps by a hook, or timed out: the request must not be sent.
            raise asyncio.CancelledError
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if self._delays.error is not None:
            self._delays.note_sent()
        self._pace.mark_started(grant.slot)
        self._perform(self._states.left(grant, self._now()))

    def _succeeded(self, grant: Grant, result: object) -> None:
        if self._delays.error is not None:
            self._delays.note_ended(None, sent=grant.is_sent)
        seconds = self._now() - grant.sent_at if grant.is_sent else None
        self._pace.accepted(grant.slot, seconds)
        if seconds is not None:
            share = LIMITS.latest_duration_share if self.mean_duration else 1.0
            self.mean_duration += (seconds - self.mean_duration) * share
        self._perform(self._states.succeeded(grant, result))

    def _failed(self, grant: Grant, attempt: Attempt[Any], error: EkbError) -> None:
        step = attempt.step or self._api.decide(attempt, error)
        self._delays.note_ended(error, sent=grant.is_sent)
        if isinstance(error, ThrottledError):
            self._pace.refused(grant.slot, error.retry_after)
        job = grant.job
        file = job.order and job.order.file
        if file is not None:
            fit_hint(error, file)
            if isinstance(step, Again) and step.fresh_url:
                self._file_urls.forget_url(file)
        self._perform(self._states.failed(grant, error, step))
        if isinstance(step, Again) and step.counts and not job.ended and job.on_retry is not None:
            report((functools.partial(job.on_retry, job),), error)

    def _task_ended(self, grant: Grant, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._ended(grant, error if isinstance(error, Exception) else None)

    def _ended(self, grant: Grant, error: Exception | None) -> None:
        """Note that the work of an attempt has ended, with an error that no rule covers if there is one."""
        del self._under_way[grant]
        if self._states.running.get(grant.job) is grant:
            # It was cancelled, maybe before its first step, or failed with an error that no rule covers.
            self._broken(grant, error)

    def _broken(self, grant: Grant, error: Exception | None) -> None:
        self._delays.note_ended(error or asyncio.CancelledError(), sent=grant.is_sent)
        self._perform(self._states.broken(grant, error))
