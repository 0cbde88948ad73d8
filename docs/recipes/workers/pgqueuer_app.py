"""A worker by PgQueuer: pgq run pgqueuer_app:worker"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer

from ekb_async import TenantCredentials
from ekb_async.ext.pgqueuer import register

logging.basicConfig(level=logging.INFO)
DSN = os.environ["EKB_DSN"]


@asynccontextmanager
async def worker() -> AsyncIterator[PgQueuer]:
    tenants = await asyncio.to_thread(TenantCredentials.read, os.environ["EKB_TENANTS"])
    # A pool replaces connections that are lost. With a single one, the worker would have to be restarted.
    async with asyncpg.create_pool(DSN, min_size=0, max_size=3) as pool:
        engine = PgQueuer.from_asyncpg_pool(pool)
        async with register(engine, tenants, DSN):
            yield engine
