"""Workers written with PgQueuer alone: a job is a call, and a table holds each tenant's next slot.

A limiter in the worker's memory could not keep a rate that two workers share. The interval is that of the package, with
its margin of 10 ms.
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

IS_LEFT = "SELECT EXISTS (SELECT FROM pgqueuer)"

_MARGIN = 0.01

_CREATE_TABLE = "CREATE TABLE slot (tenant text PRIMARY KEY, next timestamptz NOT NULL DEFAULT now())"
_ADD_TENANTS = "INSERT INTO slot (tenant) SELECT unnest($1::text[])"
_RESERVE = """
UPDATE slot SET next = greatest(next, clock_timestamp()) + $2::interval WHERE tenant = $1
RETURNING extract(epoch FROM next - $2::interval - clock_timestamp())::float8
"""
_RESERVE_NOW = """
UPDATE slot SET next = clock_timestamp() + $2::interval WHERE tenant = $1 AND next <= clock_timestamp() RETURNING true
"""

ClaimSlot = Callable[[asyncpg.Pool, str, timedelta], Awaitable[None]]
"""Returns when the tenant may make a request, once per interval, or raises `RetryRequested`."""


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


async def wait_for_slot(database: asyncpg.Pool, tenant: str, interval: timedelta) -> None:
    """Reserve the tenant's next slot, and sleep until then."""
    await asyncio.sleep(await database.fetchval(_RESERVE, tenant, interval))


async def slot_or_retry(database: asyncpg.Pool, tenant: str, interval: timedelta) -> None:
    """Have the job retried an interval later if the tenant's next slot is not there yet."""
    if not await database.fetchval(_RESERVE_NOW, tenant, interval):
        raise RetryRequested(interval, "no slot yet")


def waiting(arguments: list[str]) -> AbstractAsyncContextManager[PgQueuer]:
    """Return a worker for `pgq run` whose jobs wait for their slots."""
    return _worker(arguments, wait_for_slot)


def retrying(arguments: list[str]) -> AbstractAsyncContextManager[PgQueuer]:
    """Return a worker for `pgq run` whose jobs are retried until there is a slot."""
    return _worker(arguments, slot_or_retry)


@asynccontextmanager
async def _worker(arguments: list[str], claim_slot: ClaimSlot) -> AsyncIterator[PgQueuer]:
    dsn, base_url, rate, _ = arguments
    interval = timedelta(seconds=1 / float(rate) + _MARGIN)
    connection = await asyncpg.connect(dsn)
    engine = PgQueuer.from_asyncpg_connection(connection)
    connector = aiohttp.TCPConnector(limit=0)
    async with asyncpg.create_pool(dsn) as database, aiohttp.ClientSession(base_url, connector=connector) as http:

        @engine.entrypoint("verify")
        async def verify(job: Job) -> None:
            tenant, file_url = json.loads(job.payload or b"")
            await claim_slot(database, tenant, interval)
            invoice = {"fileUrl": file_url, "staffId": "corp:staff"}
            async with http.post(VERIFY_PATH, params={"accessToken": tenant}, json=invoice) as reply:
                if reply.status == 429:
                    raise RetryRequested(interval, "refused")
                reply.raise_for_status()
                await reply.read()

        tell_ready()
        yield engine
    await connection.close()
