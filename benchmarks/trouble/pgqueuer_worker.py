"""The worker for PgQueuer's command, as in the documentation."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer

from benchmarks.trouble.ways import DSN, TENANTS
from ekb_async import TenantCredentials
from ekb_async.ext.pgqueuer import register

dsn = os.environ[DSN]
session_for_tenant = TenantCredentials.read(os.environ[TENANTS])


@asynccontextmanager
async def worker() -> AsyncIterator[PgQueuer]:
    async with asyncpg.create_pool(dsn, min_size=0, max_size=3) as pool:
        engine = PgQueuer.from_asyncpg_pool(pool)
        async with register(engine, session_for_tenant, dsn):
            yield engine
