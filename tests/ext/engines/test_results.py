"""Results that a worker passes on, once they are recorded."""

from __future__ import annotations

import asyncio
import functools
import logging

import pytest

from ekb_async import ConfigError
from ekb_async.backlog import Backlog, Completion
from ekb_async.ext.engines.handling.results import OnResult, checked_on_result
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.sandbox import Sandbox
from tests.support.played_engine import Engine, deferral, enqueue, open_worker, sessions_on, tasks_of

JOBS = [InvoiceJob(kind="ocr", tenant="a", file=f"https://f.example/{n}.png", ref=str(n)) for n in range(3)]


async def work(database: str, box: Sandbox, on_result: OnResult, timing: WorkerTiming | None = None) -> None:
    """Make the calls of all jobs with a worker, and close it."""
    engine = Engine()
    await enqueue(database, engine, JOBS)
    async with open_worker(database, engine, sessions_on(box), on_result=on_result, timing=timing) as worker:
        for _ in engine.planned:
            await worker.handle(engine.wakeup())


async def test_results_are_passed_on_once_recorded(database: str, quick_box: Sandbox) -> None:
    """A coroutine function gets each result once, with its call and references, when a query finds it as well."""
    passed: list[Completion] = []
    async with Backlog.open(database) as backlog:

        async def on_result(result: Completion) -> None:
            [task] = [task async for task in backlog.results(calls=[result.call_id])]
            assert (task.state, task.result) == (result.state, result.result)
            passed.append(result)

        await work(database, quick_box, on_result)
    tasks = await tasks_of(database)
    assert sorted((each.call_id, each.refs, each.tenant, each.kind, each.state, each.error) for each in passed) == [
        (task.call_id, (task.ref,), "a", "ocr", "done", None) for task in tasks
    ]
    assert all(each.result["invoices"] for each in passed)
    assert {each.cursor for each in passed} == {""}


async def test_failures_are_passed_on_and_calls_made_again_are_not(database: str, quick_box: Sandbox) -> None:
    """A call that is pending again is not passed on before it ends; a failed one has its error."""
    passed: list[Completion] = []
    engine = Engine()
    await enqueue(database, engine, [InvoiceJob(kind="url", tenant="a", invoice_id="unknown")])
    async with Sandbox() as away:
        sessions = sessions_on(away)
    async with open_worker(database, engine, sessions, on_result=passed.append) as worker:
        await deferral(worker.handle(engine.wakeup(kind="url")))
    assert passed == []
    async with open_worker(database, engine, sessions_on(quick_box), on_result=passed.append) as worker:
        await worker.handle(engine.wakeup(kind="url"))
    [task] = await tasks_of(database)
    assert [(each.call_id, each.state, each.error) for each in passed] == [(task.call_id, "failed", task.error)]


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_error_is_one_line_and_stops_nothing(
    database: str, quick_box: Sandbox, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    """An error of the function is logged on one line, without secrets; each call is made and recorded."""
    seen = []

    def fail(result: Completion) -> None:
        seen.append(result.call_id)
        raise ValueError("line\nhttps://f.example/1.png?Signature=SECRET")

    async def fail_later(result: Completion) -> None:
        fail(result)

    with caplog.at_level(logging.ERROR, "ekb_async.engines"):
        await work(database, quick_box, functools.partial(fail_later) if is_async else fail)
    assert [task.state for task in await tasks_of(database)] == ["done"] * 3
    assert len(seen) == 3
    assert len(caplog.messages) == 3
    assert all("failed: ValueError: line https://" in each and "\n" not in each for each in caplog.messages)
    assert "SECRET" not in caplog.text


async def test_closing_waits_for_a_slow_function_within_its_time(
    database: str, quick_box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """No call waits for the function; a worker that ends waits for it as long as for calls, and says what it left."""
    passed, cancelled = asyncio.Event(), []

    async def last_forever(result: Completion) -> None:
        passed.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(result.call_id)

    with caplog.at_level(logging.WARNING, "ekb_async.engines"):
        await work(database, quick_box, last_forever, WorkerTiming(close_timeout=0.3))
    assert passed.is_set()
    assert [task.state for task in await tasks_of(database)] == ["done"] * 3
    assert cancelled
    assert "the worker has ended before 3 results were passed to on_result" in caplog.messages


async def test_closing_waits_for_the_function(database: str, quick_box: Sandbox) -> None:
    """Results that are being passed on when a worker ends are passed on."""
    passed = []

    async def slow(result: Completion) -> None:
        await asyncio.sleep(0.05)
        passed.append(result.call_id)

    await work(database, quick_box, slow)
    assert len(passed) == 3


def test_what_cannot_be_called_is_refused() -> None:
    """`on_result` must be a function."""
    with pytest.raises(ConfigError, match="on_result must be a function of a result, not int"):
        checked_on_result(1)  # type: ignore[arg-type]
