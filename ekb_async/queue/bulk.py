"""Streams: many inputs in, outcomes out in order of completion, with a bounded number held in between."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from ekb_async.aio.tasks import TaskScope, until_ended
from ekb_async.errors import EkbError, QueueFullError, SessionClosedError
from ekb_async.models.files import FileJob, shown_file
from ekb_async.queue.jobs import Job, JobEnd
from ekb_async.queue.limits import LIMITS

Input = TypeVar("Input")
Result = TypeVar("Result")
Input_co = TypeVar("Input_co", covariant=True)
Result_co = TypeVar("Result_co", covariant=True)

Inputs: TypeAlias = Iterable[Input] | AsyncIterable[Input]
"""Any number of inputs, available at once or arriving over time."""


class Outcome(msgspec.Struct, Generic[Input_co, Result_co], frozen=True):
    """The outcome of one input: its `result`, or the `error` it failed with."""

    input: Input_co
    result: Result_co | None = None
    error: Exception | None = None

    def __repr__(self) -> str:
        return f"Outcome({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("input", shown_file(self.input)), ("result", self.result), ("error", self.error)]


class Stream(abc.ABC, Generic[Input, Result]):
    """What turns inputs into outcomes."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[Outcome[Input, Result] | None] = asyncio.Queue()
        """The outcomes that the consumer has not taken yet."""
        self.common_error: EkbError | None = None
        """The error with which every further input would fail."""

    @property
    def is_empty(self) -> bool:
        """Whether every input accepted so far has given its outcome to the consumer."""
        return self.ended.empty()

    async def feed(self, inputs: Inputs[Input]) -> None:
        """Accept the inputs, waiting for room as needed."""
        if isinstance(inputs, AsyncIterable):
            async for item in inputs:
                await self.accept(item)
        else:
            for item in inputs:
                await self.accept(item)

    @abc.abstractmethod
    async def accept(self, item: Input, /) -> None:
        """Wait for room, and begin the work on an input."""

    @abc.abstractmethod
    def release(self, outcome: Outcome[Input, Result]) -> None:
        """Free the room of an outcome that the consumer is done with."""

    @abc.abstractmethod
    def cancel(self) -> None:
        """Cancel the calls of all inputs accepted so far; no more are fed."""


async def drained(
    stream: Stream[Input, Result], inputs: Inputs[Input], scope: TaskScope
) -> AsyncGenerator[Outcome[Input, Result], None]:
    """Feed a stream and yield its outcomes.

    An exception of feeding is raised after the outcomes of all inputs before it. Raises `SessionClosedError` if the
    session is closed.
    """
    # The task belongs to the session's scope, so that an abandoned stream does not outlive the session.
    feeder = scope.start(stream.feed(inputs), name="ekb stream input")
    feeder.add_done_callback(lambda _: stream.ended.put_nowait(None))
    try:
        while not (feeder.done() and stream.is_empty):
            outcome = await stream.ended.get()
            if outcome is not None:
                yield outcome
                stream.release(outcome)
        if feeder.cancelled():
            raise SessionClosedError("the session was closed")
        feeder.result()
    finally:
        feeder.cancel()
        try:
            await until_ended(feeder)
        finally:
            stream.cancel()


def outcomes(
    inputs: Inputs[Input],
    submit: Callable[[Input, JobEnd], Job[Result]],
    room: Callable[[], Awaitable[None]],
    scope: TaskScope,
) -> AsyncGenerator[Outcome[Input, Result], None]:
    """Submit a bounded number of inputs ahead of the consumer and yield the outcome of each as its call ends.

    An error that every further call would meet (no permission, wrong keys) becomes the outcome of all further inputs,
    and nothing more is sent. If `inputs` raises, so does the iterator, after the outcomes of all inputs before. Closing
    the iterator cancels the calls whose outcomes it has not yielded.
    """
    return drained(_Stream(submit, room), inputs, scope)


class _Stream(Stream[Input, Result]):
    def __init__(self, submit: Callable[[Input, JobEnd], Job[Result]], room: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._submit = submit
        self._room = room
        self._jobs: dict[Job[Result], Input] = {}
        self._held = asyncio.Semaphore(LIMITS.stream_inputs)
        self._content_bytes = 0
        self._released = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._jobs and super().is_empty

    def release(self, outcome: Outcome[Input, Result]) -> None:
        self._held.release()
        self._content_bytes -= _content_size(outcome.input)
        self._released.set()

    def cancel(self) -> None:
        jobs = list(self._jobs)
        self._jobs.clear()
        for job in jobs:
            job.cancel()

    async def accept(self, item: Input, /) -> None:
        await self._held.acquire()
        await self._wait_for_content_room(_content_size(item))
        while self.common_error is None:
            try:
                job = self._submit(item, self._job_ended)
            except QueueFullError:
                await self._room()
            except SessionClosedError:
                raise
            except EkbError as error:
                self.ended.put_nowait(Outcome(item, error=error))
                return
            else:
                self._jobs[job] = item
                if job.ended:  # a hook has cancelled it
                    self._job_ended(job)
                return
        self.ended.put_nowait(Outcome(item, error=self.common_error.again()))

    async def _wait_for_content_room(self, size: int) -> None:
        """Wait until this many more bytes of content may be held, and count them. Content alone always may."""
        while size and self._content_bytes and self._content_bytes + size > LIMITS.stream_content_bytes:
            self._released.clear()
            await self._released.wait()
        self._content_bytes += size

    def _job_ended(self, job: Job[Result]) -> None:
        if job not in self._jobs:
            return
        item = self._jobs.pop(job)
        error = job.error
        if isinstance(error, EkbError) and error.for_all:
            self.common_error = error
        self.ended.put_nowait(Outcome(item, job.result, error))


def _content_size(item: object) -> int:
    return item.size if isinstance(item, FileJob) else 0
