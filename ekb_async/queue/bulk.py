"""Many files in, outcomes out in order of completion, with a bounded number of them held in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from ekb_async.aio.tasks import TaskScope, until_ended
from ekb_async.errors import EkbError, QueueFullError, SessionClosedError
from ekb_async.models.files import FileJob, shown_file
from ekb_async.queue.jobs import Job

Input = TypeVar("Input")
Result = TypeVar("Result")
Input_co = TypeVar("Input_co", covariant=True)
Result_co = TypeVar("Result_co", covariant=True)

Inputs: TypeAlias = Iterable[Input] | AsyncIterable[Input]
"""Several inputs, now or as they come."""


class Outcome(msgspec.Struct, Generic[Input_co, Result_co], frozen=True):
    """What became of one input: its `result`, or the `error` it failed with."""

    input: Input_co
    result: Result_co | None = None
    error: Exception | None = None

    def __repr__(self) -> str:
        return f"Outcome({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("input", shown_file(self.input)), ("result", self.result), ("error", self.error)]


HELD_BY_A_STREAM = 200
"""Inputs that a stream holds between taking them in and giving their outcomes."""
CONTENT_HELD_BY_A_STREAM = 128 * 1024 * 1024
"""Bytes of content among these, from which on a stream takes no further content in."""


class Stream(Protocol[Input, Result]):
    """Inputs on their way to outcomes."""

    @property
    def ended(self) -> asyncio.Queue[Outcome[Input, Result] | None]:
        """The outcomes that the consumer has not seen yet."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether nothing taken in is still to be given."""
        ...

    async def feed(self, inputs: Inputs[Input]) -> None:
        """Takes the inputs in, as there is room."""
        ...

    def release(self, outcome: Outcome[Input, Result], /) -> None:
        """The consumer has seen an outcome."""
        ...

    def cancel(self) -> None:
        """Breaks off what was taken in; nothing more is fed."""
        ...


async def drained(
    stream: Stream[Input, Result], inputs: Inputs[Input], scope: TaskScope
) -> AsyncGenerator[Outcome[Input, Result], None]:
    """Feeds a stream and gives its outcomes. Raises what feeding raises, after the outcomes of all that came before."""
    # The session owns the task, so that a stream nobody goes on with does not outlive it.
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
    submit: Callable[[Input], Job[Result]],
    room: Callable[[], Awaitable[None]],
    scope: TaskScope,
) -> AsyncGenerator[Outcome[Input, Result], None]:
    """Submits a bounded number of inputs ahead of the consumer and gives each one's outcome as it ends.

    What all further calls would fail with (no permission, wrong keys) is the outcome of all further inputs, unsent. If
    `inputs` raises, so does the iterator, after the outcomes of all that came before. Closing the iterator cancels what
    it has not given yet.
    """
    return drained(_Stream(submit, room), inputs, scope)


class _Stream(Generic[Input, Result]):
    def __init__(self, submit: Callable[[Input], Job[Result]], room: Callable[[], Awaitable[None]]) -> None:
        self._submit = submit
        self._room = room
        self._hopeless: EkbError | None = None
        self._jobs: dict[Job[Result], Input] = {}
        self._held = asyncio.Semaphore(HELD_BY_A_STREAM)
        self._content = 0
        self._released = asyncio.Event()
        self.ended: asyncio.Queue[Outcome[Input, Result] | None] = asyncio.Queue()

    @property
    def is_empty(self) -> bool:
        return not self._jobs and self.ended.empty()

    async def feed(self, inputs: Inputs[Input]) -> None:
        if isinstance(inputs, AsyncIterable):
            async for item in inputs:
                await self._take_in(item)
        else:
            for item in inputs:
                await self._take_in(item)

    def release(self, outcome: Outcome[Input, Result]) -> None:
        self._held.release()
        self._content -= _content_size(outcome.input)
        self._released.set()

    def cancel(self) -> None:
        for job in list(self._jobs):
            job.on_end = None
            job.cancel()

    async def _take_in(self, item: Input) -> None:
        await self._held.acquire()
        await self._take_in_content(_content_size(item))
        while self._hopeless is None:
            try:
                job = self._submit(item)
            except QueueFullError:
                await self._room()
            except SessionClosedError:
                raise
            except EkbError as error:
                self.ended.put_nowait(Outcome(item, error=error))
                return
            else:
                self._jobs[job] = item
                job.on_end = self._job_ended
                return
        self.ended.put_nowait(Outcome(item, error=self._hopeless.again()))

    async def _take_in_content(self, size: int) -> None:
        """Wait until content of that size may be held beside what is held already; alone, it always may."""
        while size and self._content and self._content + size > CONTENT_HELD_BY_A_STREAM:
            self._released.clear()
            await self._released.wait()
        self._content += size

    def _job_ended(self, job: Job[Result]) -> None:
        item = self._jobs.pop(job)
        error = job.error
        if isinstance(error, EkbError) and error.for_all:
            self._hopeless = error
        self.ended.put_nowait(Outcome(item, job.result, error))


def _content_size(item: object) -> int:
    return item.size if isinstance(item, FileJob) else 0
