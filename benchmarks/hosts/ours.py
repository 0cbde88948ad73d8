"""Workers that use the package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer

from benchmarks.hosts.load import Access, Load
from benchmarks.hosts.workers import tell_ready
from ekb_async import AppCredentials, EkbSession, SessionConfig, StaticToken, TenantSessions
from ekb_async.ext import pgqueuer
from ekb_async.ext.pgqueuer import InvoiceJob
from ekb_async.postgres import PostgresTokens

# Workers plan the wakeups of calls that were added.
IS_LEFT = """
SELECT EXISTS (SELECT FROM ekb_call WHERE state IN ('pending', 'running')) OR EXISTS (SELECT FROM pgqueuer)
"""

install = pgqueuer.install_schema


async def enqueue(dsn: str, load: Load) -> None:
    jobs = (
        InvoiceJob(kind="verify", tenant=tenant, file=file_url, staff_id="corp:staff")
        for tenant, file_url in load.calls()
    )
    await pgqueuer.enqueue(dsn, jobs)


async def store_tokens(dsn: str, base_url: str, load: Load) -> None:
    """Have the token of each tenant fetched and stored, by a free call."""
    sessions = TenantSessions(_sessions(base_url, SessionConfig(), Access.WARM), token_store=PostgresTokens(dsn))

    async def call(tenant: str) -> None:
        async with sessions.session(tenant) as ekb:
            await ekb.invoice_urls(["corp:1:2"])

    async with sessions:
        await asyncio.gather(*(call(tenant) for tenant in {call.tenant for call in load.calls()}))


@asynccontextmanager
async def worker(arguments: list[str]) -> AsyncIterator[PgQueuer]:
    """Yield an engine for `pgq run`, as in the documentation."""
    dsn, base_url, rate, access = arguments
    config = SessionConfig(verify_rate=float(rate))
    async with asyncpg.create_pool(dsn, min_size=0, max_size=3) as pool:
        engine = PgQueuer.from_asyncpg_pool(pool)
        async with pgqueuer.register(engine, _sessions(base_url, config, Access(access)), dsn, config=config):
            tell_ready()
            yield engine


def _sessions(base_url: str, config: SessionConfig, access: Access) -> Callable[[str], EkbSession]:
    """Return what makes the session of a tenant, whose token and app key are its name."""

    def session_for_tenant(tenant: str) -> EkbSession:
        keys = AppCredentials(app_key=tenant, app_security=f"secret of {tenant}")
        credentials = StaticToken(tenant) if access is Access.GIVEN else keys
        return EkbSession(credentials, base_url=base_url, config=config)

    return session_for_tenant
