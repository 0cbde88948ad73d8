"""A run: database, vendor and workers, trouble while the slots are counted, calm until every call has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.contest import Figures
from benchmarks.trouble.database import OwnServer, own_server
from benchmarks.trouble.fleet import running_fleet
from benchmarks.trouble.load import Load
from benchmarks.trouble.striking import strike
from benchmarks.trouble.vendor import Account, Received, running_vendor
from benchmarks.trouble.ways import DSN, TENANTS, WAYS
from ekb_async.aio.tasks import cancel_and_wait
from ekb_async.backlog import Backlog

KEPT = "EKB_BENCHMARK_LOGS"
"""The variable that names a directory in which the workers' logs are kept."""

_POLL_SECONDS = 0.25
_HAS_BEGUN = "SELECT EXISTS (SELECT FROM ekb_call WHERE state <> 'pending')"
_IS_LEFT = "SELECT EXISTS (SELECT FROM ekb_call WHERE state IN ('pending', 'running'))"
_ENDS = "SELECT split_part(identity, ':', 3) || ':' || split_part(identity, ':', 4), state, maybe_billed FROM ekb_call"


def measure(load: Load, way: str) -> Figures:
    """Run workers in trouble, and return what became of their calls."""
    # On SIGTERM, exit in order, so that the processes started here end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_server() as database, tempfile.TemporaryDirectory() as temporary:
        directory = Path(os.environ.get(KEPT) or temporary)
        directory.mkdir(parents=True, exist_ok=True)
        return asyncio.run(_measure(load, way, database, directory))


async def _measure(load: Load, name: str, database: OwnServer, directory: Path) -> Figures:
    way = WAYS[name]
    await way.enqueue(database.dsn, load)
    loop = asyncio.get_running_loop()
    async with running_vendor(load) as (accounts, received):
        tenants = directory / "tenants.json"
        _write_accounts(tenants, accounts)
        environment = {DSN: database.dsn, TENANTS: str(tenants)}
        command = way.worker(database.dsn, str(tenants))
        output = directory / f"{name}-{load.trouble}"
        async with running_fleet(load.workers, command, environment, output) as workers:
            await _until(database, _HAS_BEGUN, holds=True, limit=load.limit)
            trouble = asyncio.create_task(strike(load.trouble, workers, database))
            await asyncio.wait([trouble], timeout=load.seconds)
            if trouble.done():
                trouble.result()
            await cancel_and_wait(trouble)
            began = loop.time()
            await _until(database, _IS_LEFT, holds=False, limit=load.limit)
            calm = loop.time() - began
        return {"calm": calm, **await _judged(load, database, await received())}


async def _judged(load: Load, database: OwnServer, received: Mapping[str, Received]) -> Figures:
    """Return the figures of a run that has ended, by the vendor's books and those of the backlog."""
    begin = min(start for each in received.values() for start in each.starts)
    sent = [start for each in received.values() for start in each.starts if start <= begin + load.seconds]
    billed = {file: times for each in received.values() for file, times in each.billed.items()}
    ends = {file: (state, maybe) for file, state, maybe in await database.fetch(_ENDS)}
    async with Backlog.open(database.dsn) as backlog:
        accounting = await backlog.accounting()
    at_vendor = sum(billed.values())
    certain = accounting.calls - accounting.maybe_billed
    refused = sum(each.refused for each in received.values())
    return {
        "used": 100 * len(sent) / load.slots,
        "refused": refused,
        "twice": sum(billed.get(file, 0) > 1 + maybe for file, (_, maybe) in ends.items()),
        "again": sum(max(0, times - 1) for times in billed.values()),
        "lost": sum(
            state in ("pending", "running") or (state == "done" and file not in billed)
            for file, (state, _) in ends.items()
        ),
        "unconfirmed": sum(state == "failed" for state, _ in ends.values()),
        "maybe": accounting.maybe_billed,
        "uncounted": max(0, at_vendor - accounting.calls) + max(0, certain - at_vendor),
    }


def _write_accounts(file: Path, accounts: Mapping[str, Account]) -> None:
    file.write_bytes(msgspec.json.encode(accounts))
    file.chmod(0o600)


async def _until(database: OwnServer, question: str, *, holds: bool, limit: float) -> None:
    """Wait until the answer to a question is this, at most `limit` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while True:
                [(answer,)] = await database.fetch(question)
                if answer is holds:
                    return
                await asyncio.sleep(_POLL_SECONDS)
