"""The sessions of the commands, and the pace and tokens that they share with other processes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ekb_async import EkbSession, MachinePace, SessionConfig
from ekb_async.pacing.rule import Pacer
from ekb_async.session.opening import DEFAULT_BASE_URL
from ekb_async.session.tenant_file import TenantCredentials
from ekb_async.session.tenants import TenantSessions
from ekb_async.tokens.store import TokenStore


def open_session(config: SessionConfig | None = None, *, dsn: str | None = None) -> EkbSession:
    """Return a session with the settings of the environment.

    It shares its pace with all other `ekb` processes of this user on this machine. With a DSN, it shares pace and token
    with all hosts that use the database.
    """
    pacer, token_store = _shared_state(dsn)
    return EkbSession.from_env(config=config, pacer=pacer, token_store=token_store)


async def tenant_sessions(file: Path, config: SessionConfig, *, dsn: str | None = None) -> TenantSessions:
    """Return sessions with the accounts of a tenant file; without a tenant, with the account of the environment.

    They share pace and tokens as `open_session` does.
    """
    base_url = os.environ.get("EKB_BASE_URL") or DEFAULT_BASE_URL
    accounts = await asyncio.to_thread(
        TenantCredentials.read,
        file,
        config=config,
        base_url=base_url,
        without_tenant=lambda: EkbSession.from_env(config=config),
    )
    pacer, token_store = _shared_state(dsn)
    return TenantSessions(accounts, pacer=pacer, token_store=token_store)


def _shared_state(dsn: str | None) -> tuple[Pacer, TokenStore | None]:
    if dsn is None:
        return MachinePace(), None
    from ekb_async.postgres import PostgresPace, PostgresTokens

    return PostgresPace(dsn), PostgresTokens(dsn)
