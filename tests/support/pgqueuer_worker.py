"""The module that PgQueuer's command imports to start a worker for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer

from ekb_async.ext import pgqueuer
from tests.support.engine_worker import CONFIG, DSN, TIMING, session_for_tenant


@asynccontextmanager
async def worker() -> AsyncIterator[PgQueuer]:
    async with asyncpg.create_pool(DSN, min_size=0, max_size=3) as pool:
        engine = PgQueuer.from_asyncpg_pool(pool)
        async with pgqueuer.register(engine, session_for_tenant, DSN, config=CONFIG, timing=TIMING):
            yield engine
