"""Workers that use the package."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer

from benchmarks.hosts.load import Load
from benchmarks.hosts.workers import tell_ready
from ekb_async import EkbSession, SessionConfig, StaticToken
from ekb_async.ext import pgqueuer
from ekb_async.ext.pgqueuer import InvoiceJob

install = pgqueuer.install_schema


async def enqueue(dsn: str, load: Load) -> None:
    jobs = (
        InvoiceJob(kind="verify", tenant=tenant, file=file_url, staff_id="corp:staff")
        for tenant, file_url in load.calls()
    )
    await pgqueuer.enqueue(dsn, jobs, config=SessionConfig(verify_rate=load.rate))


@asynccontextmanager
async def worker(arguments: list[str]) -> AsyncIterator[PgQueuer]:
    """Yield an engine for `pgq run`, as in the documentation."""
    dsn, base_url, rate = arguments
    config = SessionConfig(verify_rate=float(rate))
    connection = await asyncpg.connect(dsn)
    try:
        engine = PgQueuer.from_asyncpg_connection(connection)
        async with pgqueuer.register(
            engine, lambda tenant: EkbSession(StaticToken(tenant), base_url=base_url, config=config), dsn, config=config
        ):
            tell_ready()
            yield engine
    finally:
        await connection.close()
