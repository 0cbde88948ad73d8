"""Work that is begun before its task: what has run by then, and what becomes of the rest."""

from __future__ import annotations

import asyncio

import pytest

from ekb_async.aio.tasks import begun


async def test_work_that_need_not_wait_is_done_at_once() -> None:
    """Work without a wait has run when `begun` returns, and gives its result to whatever awaits it."""
    steps: list[str] = []

    async def work() -> int:
        steps.append("ran")
        return 7

    rest = begun(work())
    assert steps == ["ran"]
    assert await rest == 7


async def test_the_rest_waits_as_if_it_had_not_been_begun() -> None:
    """Work that waits goes on in the task that awaits the rest, with the result or the error of what it waits for."""
    good: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    bad: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        found = await good
        try:
            return await bad
        except KeyError:
            return f"{found}, and an error"

    task = asyncio.create_task(begun(work()))
    await asyncio.sleep(0)
    good.set_result("a result")
    await asyncio.sleep(0)
    bad.set_exception(KeyError())
    assert await task == "a result, and an error"


async def test_cancelling_reaches_the_work() -> None:
    """Cancelling the task of the rest raises `CancelledError` where the work waits."""
    events: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cleaned up")

    task = asyncio.create_task(begun(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["cleaned up"]


async def test_the_rest_can_be_closed_unused() -> None:
    """Closing the rest closes the work."""
    events: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("closed")

    begun(work()).close()
    assert events == ["closed"]
