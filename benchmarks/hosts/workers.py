"""The processes of a contestant: a database, workers, and one that enqueues all calls and waits for them."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from benchmarks.contest import Figures
from benchmarks.hosts.load import Access, Load
from benchmarks.hosts.postgres import running_postgres
from benchmarks.hosts.vendor import BEGIN_PATH

_POLL_SECONDS = 0.1

_DISPATCHES = """
SELECT count(*) FILTER (WHERE status = 'picked'), count(*) FILTER (WHERE status = 'successful') FROM pgqueuer_log
"""


def measure(load: Load, base_url: str, module: str, factory: str, access: Access) -> Figures:
    """Run workers made by `factory` of `benchmarks.hosts.<module>`, and return the dispatches per call."""
    # On SIGTERM, exit in order, so that the processes started here end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with running_postgres() as dsn:
        return asyncio.run(_measure(load, base_url, dsn, module, factory, access))


async def _measure(load: Load, base_url: str, dsn: str, module: str, factory: str, access: Access) -> Figures:
    import aiohttp
    import asyncpg

    way = import_module(f"benchmarks.hosts.{module}")
    await way.install(dsn)
    if access is Access.WARM:
        await way.store_tokens(dsn, base_url, load)
    async with _workers(load, f"{way.__name__}:{factory}", dsn, base_url, str(load.rate), access):
        await way.enqueue(dsn, load)
        async with aiohttp.request("POST", base_url + BEGIN_PATH, raise_for_status=True):
            pass
        connection = await asyncpg.connect(dsn)
        await _wait(connection, way.IS_LEFT, load.limit)
        dispatches, ended = await connection.fetchrow(_DISPATCHES)
        await connection.close()
    # A job that found nothing to do is a dispatch, but no call.
    calls = min(ended, len(list(load.calls())))
    return {"dispatches": dispatches / calls} if calls else {}


async def _wait(connection: Any, is_left: str, limit: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while loop.time() < end and await connection.fetchval(is_left):  # noqa: ASYNC110 - the database sets no event
        await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _workers(load: Load, factory: str, *arguments: str) -> AsyncIterator[None]:
    """Run workers; the block begins when all are ready."""
    options = (f"--max-concurrent-tasks={load.places}", f"--batch-size={load.places // 2}", "--log-level=WARNING")
    pgq_run = (sys.executable, "-m", "pgqueuer", "run", *options, factory, "--", *arguments)
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(_process(*pgq_run)) for _ in range(load.workers)]
        for process in processes:
            if process.stdout is None or not await process.stdout.readline():
                raise RuntimeError("a worker did not start; its output is above")
        yield


@asynccontextmanager
async def _process(*command: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    try:
        yield process
    finally:
        # Killed, since on SIGTERM it would first finish the jobs that wait for their slots.
        if process.returncode is None:
            process.kill()
        await process.wait()


def tell_ready() -> None:
    """Report that this worker is about to begin; its garbage is collected as docs/scaling.md advises."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
