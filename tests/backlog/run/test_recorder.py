"""What a run has written is neither written nor counted again, whenever the run is broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ekb_async.backlog import Backlog
from ekb_async.backlog.run.recorder import Recorder
from ekb_async.backlog.store.call_store import Written
from ekb_async.backlog.store.values.calls import CallResult, Marking, SentMark
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, session

DAY = 20_000


class SlowStore:
    """A store that has written a record some time before it returns."""

    def __init__(self) -> None:
        self.records: list[tuple[list[SentMark], list[CallResult]]] = []
        self.is_written = asyncio.Event()
        self.may_return = asyncio.Event()

    async def record(
        self,
        run_id: int,
        marks: Sequence[SentMark],
        results: Sequence[CallResult],
        *,
        last: bool = False,
        written: Written | None = None,
    ) -> None:
        self.records.append((list(marks), list(results)))
        if written is not None:
            written({mark.call_id: Marking(DAY) for mark in marks})
            self.is_written.set()
            await self.may_return.wait()


class CancelsTask(asyncio.Event):
    """An event that cancels a task when it is set, before the task has its turn."""

    def __init__(self, task: asyncio.Task[Marking]) -> None:
        super().__init__()
        self._task = task

    def set(self) -> None:
        super().set()
        self._task.cancel()


def recorder_of(store: SlowStore) -> Recorder:
    return Recorder(store)  # type: ignore[arg-type]  # only `record` is used


def unexpected(error: BaseException) -> None:
    raise error


async def test_a_record_that_is_cancelled_after_it_was_written() -> None:
    """Results are not written again, and what a mark has counted is given back with the end of its call."""
    recorder = recorder_of(store := SlowStore())
    recorder.end(CallResult(1, "done", attempts=1, unspent=(DAY,)))
    marking = asyncio.create_task(recorder.mark(SentMark(2, 1)))
    writer = asyncio.create_task(recorder.write(unexpected))
    await store.is_written.wait()
    marking.cancel()
    writer.cancel()
    await asyncio.wait([marking, writer])
    recorder.end(CallResult(2, "pending"))
    await recorder.write_rest()
    assert store.records == [
        ([SentMark(2, 1)], [CallResult(1, "done", attempts=1, unspent=(DAY,))]),
        ([], [CallResult(2, "pending", unspent=(DAY,))]),
    ]


async def test_a_caller_that_is_cancelled_when_its_mark_is_there() -> None:
    """What its mark has counted is given back, as if it had been cancelled before."""
    recorder = recorder_of(store := SlowStore())
    marking = asyncio.create_task(recorder.mark(SentMark(2, 1)))
    recorder.news = CancelsTask(marking)
    store.may_return.set()
    writer = asyncio.create_task(recorder.write(unexpected))
    await asyncio.wait([marking])
    writer.cancel()
    await asyncio.wait([writer])
    assert marking.cancelled()
    recorder.end(CallResult(2, "pending"))
    await recorder.write_rest()
    assert store.records[-1] == ([], [CallResult(2, "pending", unspent=(DAY,))])


async def test_refusals_of_a_new_token_are_no_checks(tmp_path: Path, place: Location) -> None:
    """A vendor that accepts a new token a moment later has billed nothing until then."""
    rows = [f"verify_by_id,,djg8LshfUkfM00:0440:0000000{number},,,{number}" for number in range(3)]
    async with (
        Sandbox(verify_rate=0, token_settle=0.3) as box,
        session(box, verify_rate=20.0) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows))
        summary = await backlog.run(ekb)
        assert summary.counts["done"] == 3
        assert box.count("verify_by_id", status=403) >= 3
        assert [task.attempts for task in await all_tasks(backlog)] == [1, 1, 1]
        assert sum((await backlog.spent()).values()) == 3
