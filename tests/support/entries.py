"""Entries of token stores, as sessions use them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from ekb_async.sandbox import Sandbox
from ekb_async.tokens.store import LockedEntry, SharedToken, TokenEntry, TokenStore

KEY = "ab" * 32
SECRET = "5ecret-of-the-app"
TOKEN = SharedToken("ID01:value", "ID01:refresh", 1, 0.0, 5400.0, 7170.0)


def key_of(box: Sandbox) -> str:
    """Return the key under which sessions on a sandbox store their token."""
    return hashlib.sha256(f"{box.base_url}\n{box.credentials.app_key}".encode()).hexdigest()


@asynccontextmanager
async def entry_in(store: TokenStore, key: str = KEY, secret: str = SECRET) -> AsyncIterator[TokenEntry]:
    """Open an entry, as a session does, and close it."""
    entry = store.entry(key, secret)
    try:
        yield entry
    finally:
        await entry.close()


def entry_of(box: Sandbox, store: TokenStore) -> AbstractAsyncContextManager[TokenEntry]:
    """Open the entry that the sessions on a sandbox use."""
    return entry_in(store, key_of(box), box.credentials.app_security)


@asynccontextmanager
async def lock_in(
    store: TokenStore, patience: float, *, key: str = KEY, secret: str = SECRET
) -> AsyncIterator[LockedEntry]:
    """Lock an entry that is opened for this block."""
    async with entry_in(store, key, secret) as entry, entry.lock(patience) as locked:
        yield locked


async def token_in(store: TokenStore, *, key: str = KEY, secret: str = SECRET) -> SharedToken | None:
    """Return the token of an entry that is opened for this."""
    async with entry_in(store, key, secret) as entry:
        return await entry.read()
