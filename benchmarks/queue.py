"""queue: a hundred thousand jobs are queued, a tenth of them is cancelled, the others are made.

Time is virtual, so waiting for a slot takes none, and the transport answers at once: what remains is the cost of the
queue and of what depends on it. The peer is the usual program with `aiolimiter`: a task for each call, waiting in the
limiter. Memory is that of the queued jobs, measured by `tracemalloc` in a second pass.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from benchmarks.bodies import body
from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal

_RATE = 1_000_000.0


@dataclass(frozen=True)
class Load:
    """The number of queued jobs; every tenth is cancelled."""

    jobs: int


@dataclass(frozen=True)
class Queued:
    """Jobs in a queue: functions to cancel the n-th, and to wait until the others are done."""

    cancel: Callable[[int], object]
    drain: Callable[[], Awaitable[object]]


Filled = Callable[[list[str]], AbstractAsyncContextManager[Queued]]


@asynccontextmanager
async def parked_tasks(file_urls: list[str]) -> AsyncIterator[Queued]:
    """Start a task for each call, which waits in the limiter, sends and decodes."""
    from aiolimiter import AsyncLimiter

    from benchmarks.decoders.with_msgspec import read_ocr

    limiter = AsyncLimiter(1, 1 / _RATE)
    answer = body("ocr")

    async def send(_: str) -> bytes:
        return answer

    async def recognise(url: str) -> object:
        async with limiter:
            return read_ocr(await send(url))

    tasks = [asyncio.create_task(recognise(url)) for url in file_urls]
    await asyncio.sleep(0)  # lets each task reach the limiter
    try:
        yield Queued(lambda n: tasks[n].cancel(), lambda: asyncio.wait(tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def session_jobs(file_urls: list[str]) -> AsyncIterator[Queued]:
    """Submit jobs to the session."""
    from benchmarks.at_once import AnswersAtOnce
    from ekb_async import EkbSession, SessionConfig, StaticToken

    answer = body("ocr")
    config = SessionConfig(ocr_rate=_RATE, rate_guard=0, queue_size=len(file_urls))
    async with EkbSession(StaticToken("token"), config=config, transport=AnswersAtOnce(lambda _: answer)) as ekb:
        jobs = [ekb.submit_ocr(url) for url in file_urls]

        async def drain() -> None:
            for job in jobs:
                if job.state != "cancelled":
                    await job

        yield Queued(lambda n: jobs[n].cancel(), drain)


async def _time(filled: Filled, file_urls: list[str]) -> Figures:
    gc.collect()
    marks = [time.process_time()]
    async with filled(file_urls) as queued:
        marks.append(time.process_time())
        for n in range(0, len(file_urls), 10):
            queued.cancel(n)
        marks.append(time.process_time())
        await queued.drain()
    marks.append(time.process_time())
    queueing, cancelling, draining = ((end - begin) / len(file_urls) * 1e6 for begin, end in itertools.pairwise(marks))
    return {
        "queue": queueing,
        "cancel": 10 * cancelling,
        "drain": draining / 0.9,
        "cpu": queueing + cancelling + draining,
    }


async def _memory(filled: Filled, file_urls: list[str]) -> Figures:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    async with filled(file_urls):
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return {"bytes": (after - before) / len(file_urls)}


def _contestant(name: str, filled: Filled) -> Contestant[Load]:
    def run(load: Load, _: str) -> Figures:
        from ekb_async.simulation import VirtualTimeLoop

        file_urls = [f"https://files.example.com/{n}.png" for n in range(load.jobs)]
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(_time(filled, file_urls[:10]))  # modules that are imported late, caches
            return runner.run(_time(filled, file_urls)) | runner.run(_memory(filled, file_urls))

    return Contestant(name, run)


_FEW, _MANY = "10,000 jobs", "100,000 jobs"

BENCHMARK = Benchmark(
    name="queue",
    title="jobs queued, a tenth cancelled, the others made without a pace",
    figures=(
        Figure("queue", "queue, µs per job"),
        Figure("cancel", "cancel, µs"),
        Figure("drain", "make, µs"),
        Figure("cpu", "all, µs per job"),
        Figure("bytes", "bytes per queued job", 0),
    ),
    cases=(
        Case(_FEW, Load(jobs=10_000), Load(jobs=100)),
        Case(_MANY, Load(jobs=100_000), Load(jobs=1000), rounds=3, is_another_size=True),
    ),
    contestants=(
        _contestant("ekb_async", session_jobs),
        _contestant("tasks in aiolimiter", parked_tasks),
    ),
    goals=(
        Goal(
            says="at most 1,000 bytes per queued job",
            value=lambda results: results.ours(_MANY, "bytes"),
            at_most=1000,
        ),
        Goal(
            says="at most 15 µs per job, from being queued to the result",
            value=lambda results: results.ours(_MANY, "cpu"),
            at_most=15,
        ),
        Goal(
            says="at most 15 µs per job for being queued, and for being cancelled",
            value=lambda results: max(results.ours(_MANY, "queue"), results.ours(_MANY, "cancel")),
            at_most=15,
        ),
        Goal(
            says="linear: 100,000 jobs cost at most 11 times what 10,000 do",
            value=lambda results: 10 * results.ours(_MANY, "cpu") / results.ours(_FEW, "cpu"),
            at_most=11,
        ),
    ),
    drawn=("cpu", "bytes"),
)
