"""How each trouble strikes, again and again until it is cancelled."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Sequence

from benchmarks.trouble.database import OwnServer
from benchmarks.trouble.fleet import Worker
from benchmarks.trouble.load import Trouble

_PERIOD = 20.0
_STOPPED_FOR = 15.0
_DATABASE_AWAY_FOR = 10.0
_DATABASE_PERIOD = 40.0
_CUT_PERIOD = 5.0


async def strike(trouble: Trouble, workers: Sequence[Worker], database: OwnServer) -> None:
    """Make trouble until this is cancelled, and undo then what would last."""
    for worker in itertools.cycle(workers):
        match trouble:
            case Trouble.NONE:
                await asyncio.sleep(_PERIOD)
            case Trouble.KILL:
                await asyncio.sleep(_PERIOD / 2)
                worker.signal(signal.SIGKILL)
                await asyncio.sleep(_PERIOD / 2)
            case Trouble.STOP:
                await _stop(worker)
            case Trouble.ROLLING:
                await asyncio.sleep(_PERIOD / 2)
                await worker.replace()
            case Trouble.DATABASE:
                await _stop_database(database)
            case Trouble.CUTS:
                await asyncio.sleep(_CUT_PERIOD)
                await database.cut()


async def _stop(worker: Worker) -> None:
    await asyncio.sleep(_PERIOD - _STOPPED_FOR)
    worker.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(_STOPPED_FOR)
    finally:
        worker.signal(signal.SIGCONT)


async def _stop_database(database: OwnServer) -> None:
    await asyncio.sleep(_PERIOD)
    stopping = asyncio.create_task(_away(database))
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        await stopping
        raise
    await asyncio.sleep(_DATABASE_PERIOD - _PERIOD - _DATABASE_AWAY_FOR)


async def _away(database: OwnServer) -> None:
    await database.stop()
    await asyncio.sleep(_DATABASE_AWAY_FOR)
    await database.start()
