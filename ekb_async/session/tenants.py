"""`TenantSessions`: a pool with one session per tenant, for programs that serve many enterprises.

A session is made on the first request for its tenant; concurrent requests share it. It stays open while it is in use.
Unused, it is kept for a while; if too many are unused, the least recently used is closed first. The pace and the access
token outlive the session, so that a later session of the tenant does not start a call too early or log in again. Both
are kept in this process unless the pool is given another pacer and token store. All sessions share one connector.

A session is removed from the pool before it is closed, so a request in between gets a new one, never a closing one. A
session whose account has changed is removed as well, and closed when its last user has left it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self

from ekb_async.aio.tasks import TaskScope, await_uncancelled
from ekb_async.config import SessionConfig
from ekb_async.errors import ConfigError, EkbError, SessionClosedError
from ekb_async.pacing.process import ProcessPacer
from ekb_async.pacing.rule import Pacer
from ekb_async.redaction.masking import redact
from ekb_async.session.accounts import Accounts, SessionForTenant
from ekb_async.session.limits import LIMITS
from ekb_async.session.opening import check_pacer_and_store
from ekb_async.session.session import EkbSession
from ekb_async.tokens.store import ProcessTokens, TokenStore
from ekb_async.validation import checked_number, checked_whole, warn_renamed

_log = logging.getLogger("ekb_async.tenants")

_MAX_IDLE_SESSIONS = 1_000_000


class TenantSessions:
    """A pool of sessions, one per tenant; an async context manager.

    `session_for_tenant` is a function or coroutine function that makes the session of a tenant; `TenantCredentials` is
    one that reads a file. It must return a new session each time: the pool owns it, supplies the connections, pace and
    access tokens that it was not made with, and closes it. If `TenantCredentials` finds a tenant changed, its next user
    gets a new session; a function is called again for a tenant whose keys were refused. An unused session is closed
    after `idle` seconds (0 or more); at most `max_idle` unused ones (1 to 1,000,000) are kept open. `pacer` and
    `token_store` are as for `EkbSession`; by default pace and tokens belong to the pool. Raises `ConfigError` for wrong
    arguments.
    """

    def __init__(
        self,
        session_for_tenant: SessionForTenant,
        *,
        max_idle: int = 100,
        idle: float = 300.0,
        pacer: Pacer | None = None,
        token_store: TokenStore | None = None,
        most_idle: int | None = None,
    ) -> None:
        if most_idle is not None:
            warn_renamed("most_idle", "max_idle")
            max_idle = most_idle
        if not callable(session_for_tenant):
            raise ConfigError(f"session_for_tenant must be callable, not {type(session_for_tenant).__name__}")
        check_pacer_and_store(pacer, token_store)
        self._session_for_tenant = session_for_tenant
        self._max_idle = checked_whole("max_idle", max_idle, most=_MAX_IDLE_SESSIONS)
        self._idle = checked_number("idle", idle)
        self._pacer = pacer or ProcessPacer()
        self._token_store = token_store or ProcessTokens()
        self._pool: _Pool | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "new" if self._pool is None else repr(self._pool)
        return f"<TenantSessions: {state}>"

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def of(self, tenant: str) -> AbstractAsyncContextManager[EkbSession]:
        """Deprecated; use `session`."""
        warn_renamed("TenantSessions.of", "session")
        return self.session(tenant)

    @asynccontextmanager
    async def session(self, tenant: str) -> AsyncIterator[EkbSession]:
        """Lend the open session of a tenant to an `async with` block; await all submitted jobs within the block.

        Raises `ConfigError` naming the tenant if its session cannot be made, `SessionClosedError` for a closed pool.
        """
        if not isinstance(tenant, str):
            raise ConfigError(f"tenant must be a text, not {type(tenant).__name__}")
        pool = self._open()
        await pool.look_for_changes(tenant)
        # The pool may have been closed meanwhile.
        entry = self._open().enter(tenant)
        try:
            yield await entry.session()
        finally:
            pool.leave(entry)

    async def config(self, tenant: str) -> SessionConfig:
        """Return the settings of a tenant's sessions; one is made if they are not known. Raises as `session` does."""
        if (known := self._open().accounts.config(tenant)) is not None:
            return known
        async with self.session(tenant) as session:
            return session.config

    async def changed(self) -> set[str]:
        """Look for changed accounts, and return the tenants that have changed since this was called before.

        A tenant that was added after it was asked for, and one that was removed, has changed too. The next user of a
        changed tenant gets a new session. Raises `SessionClosedError` for a closed pool.
        """
        return await self._open().changed()

    async def close(self) -> None:
        """Close all sessions concurrently, each as `EkbSession.close` does, and then their connections.

        May be called repeatedly and concurrently; each call, even a cancelled one, returns only after all are closed.
        """
        self._closed = True
        if self._pool is None:
            return
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._pool.close(), name="ekb tenants close")
        await await_uncancelled(self._closing)

    def _open(self) -> _Pool:
        if self._closed:
            raise SessionClosedError("the tenants' sessions are closed")
        if self._pool is None:
            self._pool = _Pool(
                self._session_for_tenant, self._max_idle, self._idle, pacer=self._pacer, token_store=self._token_store
            )
        if self._pool.loop is not asyncio.get_running_loop():
            raise ConfigError("tenants' sessions belong to the event loop they were first used in")
        return self._pool


class _Pool:
    """The part of a pool that needs a running loop: the sessions, their shared client and the idle timers."""

    def __init__(
        self,
        session_for_tenant: SessionForTenant,
        max_idle: int,
        idle: float,
        *,
        pacer: Pacer,
        token_store: TokenStore,
    ) -> None:
        from ekb_async.client.transport import new_client

        self.loop = asyncio.get_running_loop()
        self.accounts = Accounts(session_for_tenant)
        self._max_idle = max_idle
        self._idle_time = idle
        self._pacer = pacer
        self._token_store = token_store
        self._client = new_client()
        self._scope = TaskScope()
        self._entries: dict[str, _Entry] = {}
        # In the order of last use.
        self._idle: dict[_Entry, asyncio.TimerHandle] = {}
        # Removed, because their accounts have changed, and still in use.
        self._outdated: set[_Entry] = set()
        self._changed: set[str] = set()
        self._look: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"{len(self._entries)} tenants, {len(self._idle)} of them idle"

    async def look_for_changes(self, tenant: str) -> None:
        """Look for changed accounts if that is due or the tenant was refused, and wait for the result.

        Otherwise the first call after a pause would be made and billed with an account that was replaced or removed
        long before. A file that cannot be read for a moment is not waited for.
        """
        self._replace_all(self.accounts.changed_in_file())
        if self.accounts.is_suspect(tenant):
            await asyncio.wait([self._start_look()])
        elif self.accounts.look_is_due or (self.accounts.are_in_file and self._is_looking):
            await asyncio.wait([self._start_look()], timeout=LIMITS.look_patience_seconds)

    async def changed(self) -> set[str]:
        await asyncio.wait([self._start_look()])
        changed, self._changed = self._changed | self.accounts.made_anew(), set()
        return changed

    def _start_look(self) -> asyncio.Task[None]:
        if self._look is None or not self._is_looking:
            self._look = self._scope.start(self._look_once(), name="ekb tenant accounts")
        return self._look

    @property
    def _is_looking(self) -> bool:
        return self._look is not None and not self._look.done()

    async def _look_once(self) -> None:
        self._replace_all(await self.accounts.look())

    def _replace_all(self, changed: set[str]) -> None:
        self._changed |= changed
        for tenant in changed & self._entries.keys():
            self._replace(self._entries[tenant])

    def _replace(self, entry: _Entry) -> None:
        """Give the next user of a tenant a new session."""
        if not entry.users:
            self._retire(entry)
            return
        del self._entries[entry.tenant]
        self._outdated.add(entry)

    def enter(self, tenant: str) -> _Entry:
        entry = self._entries.get(tenant)
        if entry is not None and not entry.is_usable:
            self._retire(entry)
            entry = None
        if entry is None:
            making = self._scope.start(self._make(tenant), name="ekb tenant session")
            entry = self._entries[tenant] = _Entry(tenant, making)
        entry.users += 1
        self._stop_idle_timer(entry)
        return entry

    def leave(self, entry: _Entry) -> None:
        entry.users -= 1
        if entry.users:
            return
        if entry in self._outdated:
            self._outdated.remove(entry)
            self._close(entry)
        if self._entries.get(entry.tenant) is not entry:
            return
        if entry.is_refused:
            self.accounts.suspect(entry.tenant)
        elif entry.is_usable:
            self.accounts.trust(entry.tenant)
        if not entry.is_usable:
            self._retire(entry)
            return
        self._idle[entry] = self.loop.call_later(self._idle_time, self._retire, entry)
        if len(self._idle) > self._max_idle:
            self._retire(next(iter(self._idle)))

    async def close(self) -> None:
        try:
            for entry in list(self._entries.values()):
                self._retire(entry)
            for entry in self._outdated:
                self._close(entry)
            self._outdated.clear()
            if self._look is not None:
                self._look.cancel()
            # Each session limits its closing by its own `close_timeout`.
            await self._scope.finish(math.inf)
        finally:
            await self._client.close()

    def _stop_idle_timer(self, entry: _Entry) -> None:
        if (timer := self._idle.pop(entry, None)) is not None:
            timer.cancel()

    def _retire(self, entry: _Entry) -> None:
        del self._entries[entry.tenant]
        self._stop_idle_timer(entry)
        self._close(entry)

    def _close(self, entry: _Entry) -> None:
        self._scope.start(entry.close(), name="ekb tenant close")

    async def _make(self, tenant: str) -> EkbSession | ConfigError:
        """Return an open session, or the error. It is not raised, since all callers may have been cancelled by now."""
        try:
            return await self._open_session(tenant)
        except Exception as error:  # noqa: BLE001 - whatever it is, the waiting callers get it
            # The text of another library's error may contain secrets.
            reason = redact(str(error)) if isinstance(error, EkbError) else type(error).__name__
            return ConfigError(f"there is no session for tenant {tenant!r}: {reason}")

    async def _open_session(self, tenant: str) -> EkbSession:
        session = await self.accounts.session(tenant)
        session.share(client_session=self._client, pacer=self._pacer, token_store=self._token_store)
        return await session.__aenter__()


class _Entry:
    """The session of one tenant, from the first request for it until it is closed."""

    def __init__(self, tenant: str, making: asyncio.Task[EkbSession | ConfigError]) -> None:
        self.tenant = tenant
        self.users = 0
        self._making = making

    @property
    def is_usable(self) -> bool:
        """Whether the session is open or still being made."""
        if not self._making.done():
            return True
        session = self._session
        return session is not None and not session.closed

    @property
    def is_refused(self) -> bool:
        """Whether the vendor has refused the keys of the session."""
        return self._making.done() and self._session is not None and self._session.refused

    async def session(self) -> EkbSession:
        # Cancelling one waiting caller must not cancel the task that makes the session for the others.
        await asyncio.wait([self._making])
        if self._making.cancelled():
            raise SessionClosedError(f"making the session of tenant {self.tenant!r} was cancelled")
        made = self._making.result()
        if isinstance(made, ConfigError):
            raise made.again()
        return made

    async def close(self) -> None:
        self._making.cancel()
        await asyncio.wait([self._making])
        if self._session is None:
            return
        try:
            await self._session.close()
        except Exception as error:  # noqa: BLE001 - no caller waits for it, and the other sessions must be closed
            _log.warning("closing the session of tenant %r: %s", self.tenant, type(error).__name__)

    @property
    def _session(self) -> EkbSession | None:
        """The session, None if making it failed or was cancelled. Only after the task has ended."""
        if self._making.cancelled():
            return None
        made = self._making.result()
        return made if isinstance(made, EkbSession) else None
