"""Rows removed from a backlog whose calls an engine has wakeups for."""

from __future__ import annotations

from ekb_async.backlog import Backlog, RemoveReport
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.sandbox import Sandbox
from tests.support.played_engine import Engine, enqueue, open_worker, sessions_on, tasks_of


async def test_a_wakeup_of_a_removed_call_finds_nothing(database: str, quick_box: Sandbox) -> None:
    """The other calls are made, each once, and the surplus wakeup ends without a call."""
    engine = Engine()
    jobs = [InvoiceJob(kind="ocr", tenant="a", file=f"https://f.example/{n}.png", ref=str(n)) for n in range(3)]
    await enqueue(database, engine, jobs)
    async with Backlog.open(database) as backlog:
        [second] = [task.id async for task in backlog.results(ref="1")]
        assert await backlog.remove([second], tenant="a") == RemoveReport(rows=1, calls=1)
    async with open_worker(database, engine, sessions_on(quick_box)) as worker:
        for _ in range(len(engine.planned)):
            await worker.handle(engine.wakeup())
    assert [(task.ref, task.state) for task in await tasks_of(database)] == [("0", "done"), ("2", "done")]
    assert quick_box.count("ocr") == 2
