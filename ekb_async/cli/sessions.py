"""The sessions that the commands of `ekb` work with, and what they share with others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ekb_async import EkbSession, MachinePace, SessionConfig
from ekb_async.pacing.rule import Pacer
from ekb_async.session.session import DEFAULT_BASE_URL
from ekb_async.session.tenant_file import TenantCredentials
from ekb_async.session.tenants import TenantSessions
from ekb_async.tokens.store import TokenStore


def open_session(config: SessionConfig | None = None, *, dsn: str | None = None) -> EkbSession:
    """A session from the environment.

    It shares its pace with all other `ekb` of this user on this machine; with a DSN, pace and token with all hosts that
    use this database.
    """
    pacer, token_store = _homes(dsn)
    return EkbSession.from_env(config=config, pacer=pacer, token_store=token_store)


async def tenant_sessions(file: Path, config: SessionConfig, *, dsn: str | None = None) -> TenantSessions:
    """Sessions from a file of tenants' accounts, sharing the same; without a tenant, it is that of the environment."""
    base_url = os.environ.get("EKB_BASE_URL") or DEFAULT_BASE_URL
    accounts = await asyncio.to_thread(TenantCredentials.read, file, config=config, base_url=base_url)

    def session_for_tenant(tenant: str) -> EkbSession:
        return accounts(tenant) if tenant else EkbSession.from_env(config=config)

    pacer, token_store = _homes(dsn)
    return TenantSessions(session_for_tenant, pacer=pacer, token_store=token_store)


def _homes(dsn: str | None) -> tuple[Pacer, TokenStore | None]:
    if dsn is None:
        return MachinePace(), None
    from ekb_async.postgres import PostgresPace, PostgresTokens

    return PostgresPace(dsn), PostgresTokens(dsn)
