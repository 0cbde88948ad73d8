"""Workers as one would write them with PgQueuer alone: a job is a call, and a table has when a tenant is next.

A limiter in the worker's memory could not hold a rate that two workers share. They keep to the same interval as the
package does, with its guard of 10 ms.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import aiohttp
import asyncpg
from pgqueuer import AsyncpgDriver, PgQueuer, Queries
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job

from benchmarks.canned_vendor import VERIFY_PATH
from benchmarks.hosts.load import Load
from benchmarks.hosts.workers import tell_ready

_GUARD = 0.01

_CREATE_TABLE = "CREATE TABLE turn (tenant text PRIMARY KEY, next timestamptz NOT NULL DEFAULT now())"
_ADD_TENANTS = "INSERT INTO turn (tenant) SELECT unnest($1::text[])"
_RESERVE = """
UPDATE turn SET next = greatest(next, clock_timestamp()) + $2::interval WHERE tenant = $1
RETURNING extract(epoch FROM next - $2::interval - clock_timestamp())::float8
"""
_RESERVE_NOW = """
UPDATE turn SET next = clock_timestamp() + $2::interval WHERE tenant = $1 AND next <= clock_timestamp() RETURNING true
"""

TakeTurn = Callable[[asyncpg.Pool, str, timedelta], Awaitable[None]]
"""Returns when the tenant may make a request, of which there is one per interval, or has the job come again."""


async def install(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.execute(_CREATE_TABLE)
    await connection.close()


async def enqueue(dsn: str, load: Load) -> None:
    calls = list(load.calls())
    connection = await asyncpg.connect(dsn)
    await connection.execute(_ADD_TENANTS, list({call.tenant for call in calls}))
    payloads: list[bytes | None] = [json.dumps(call).encode() for call in calls]
    await Queries(AsyncpgDriver(connection)).enqueue(["verify"] * len(calls), payloads, [0] * len(calls))
    await connection.close()


async def wait_for_turn(database: asyncpg.Pool, tenant: str, interval: timedelta) -> None:
    """Reserves the tenant's next turn, and sleeps until then."""
    await asyncio.sleep(await database.fetchval(_RESERVE, tenant, interval))


async def turn_or_retry(database: asyncpg.Pool, tenant: str, interval: timedelta) -> None:
    """Has the job come again an interval later, if it is not the tenant's turn."""
    if not await database.fetchval(_RESERVE_NOW, tenant, interval):
        raise RetryRequested(interval, "not its turn")


def waiting(arguments: list[str]) -> AbstractAsyncContextManager[PgQueuer]:
    """A factory for `pgq run`."""
    return _worker(arguments, wait_for_turn)


def retrying(arguments: list[str]) -> AbstractAsyncContextManager[PgQueuer]:
    """A factory for `pgq run`."""
    return _worker(arguments, turn_or_retry)


@asynccontextmanager
async def _worker(arguments: list[str], take_turn: TakeTurn) -> AsyncIterator[PgQueuer]:
    dsn, base_url, rate = arguments
    interval = timedelta(seconds=1 / float(rate) + _GUARD)
    connection = await asyncpg.connect(dsn)
    engine = PgQueuer.from_asyncpg_connection(connection)
    connector = aiohttp.TCPConnector(limit=0)
    async with asyncpg.create_pool(dsn) as database, aiohttp.ClientSession(base_url, connector=connector) as http:

        @engine.entrypoint("verify")
        async def verify(job: Job) -> None:
            tenant, file_url = json.loads(job.payload or b"")
            await take_turn(database, tenant, interval)
            invoice = {"fileUrl": file_url, "staffId": "corp:staff"}
            async with http.post(VERIFY_PATH, params={"accessToken": tenant}, json=invoice) as reply:
                if reply.status == 429:
                    raise RetryRequested(interval, "refused")
                reply.raise_for_status()
                await reply.read()

        tell_ready()
        yield engine
    await connection.close()
