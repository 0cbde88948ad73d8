"""One session per tenant, for who works for many enterprises.

A session is made when its tenant is asked for, once for all who ask at the same time. While anybody uses it, it stays;
unused it is kept for a while, the least recently used the shortest. What is worth keeping longer outlives it: the pace,
so that a session made anew does not start a call too early, and the access token. They are kept in this process unless
the pool is given other homes for them. The connections are those of one connector, which all sessions have in common.

A session leaves the pool before it is closed, so whoever asks meanwhile gets another one, and never one that closes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp

from ekb_async.aio.tasks import TaskScope, await_uncancelled
from ekb_async.errors import ConfigError, EkbError, SessionClosedError
from ekb_async.pacing.rule import LimiterPace, Pacer, Slot
from ekb_async.redaction.masking import redact
from ekb_async.session.session import EkbSession, check_homes
from ekb_async.tokens.store import ProcessTokens, TokenStore
from ekb_async.validation import checked_number, checked_whole, warn_renamed

_log = logging.getLogger("ekb_async.tenants")

_MAX_IDLE = 1_000_000

SessionForTenant = Callable[[str], EkbSession | Awaitable[EkbSession]]


class TenantSessions:
    """The sessions of any number of tenants, used as an async context manager.

    `session_for_tenant` makes the session of a tenant, or is a coroutine function that does; `TenantCredentials` is one
    for a file. The pool owns what it returns, gives it what it was not given itself (connections, pace, access tokens),
    and closes it: so it must be a new one each time. A session that nobody uses is closed after `idle` seconds, and at
    most `max_idle` of them (1 to 1,000,000) are kept open. `pacer` and `token_store` are as for `EkbSession`; without
    them, pace and tokens are those of this pool. Raises `ConfigError` for wrong arguments.
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
        check_homes(pacer, token_store)
        self._session_for_tenant = session_for_tenant
        self._max_idle = checked_whole("max_idle", max_idle, most=_MAX_IDLE)
        self._idle = checked_number("idle", idle)
        self._pacer = pacer or _KeptPacer()
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
        """The former name of `session`."""
        warn_renamed("TenantSessions.of", "session")
        return self.session(tenant)

    @asynccontextmanager
    async def session(self, tenant: str) -> AsyncIterator[EkbSession]:
        """The open session of a tenant, for the length of an `async with` block; await in it what was submitted in it.

        Raises `ConfigError` naming the tenant if it has no session, `SessionClosedError` if the pool is closed.
        """
        if not isinstance(tenant, str):
            raise ConfigError(f"tenant must be a text, not {type(tenant).__name__}")
        pool = self._open()
        place = pool.enter(tenant)
        try:
            yield await place.session()
        finally:
            pool.leave(place)

    async def close(self) -> None:
        """Closes all sessions at once, as each does, and then their connections.

        May be called any number of times, also at once; each call returns, even if cancelled, when all has ended.
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
    """What there is of it in a running loop."""

    def __init__(
        self,
        session_for_tenant: SessionForTenant,
        max_idle: int,
        idle: float,
        *,
        pacer: Pacer,
        token_store: TokenStore,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._session_for_tenant = session_for_tenant
        self._max_idle = max_idle
        self._idle_time = idle
        self._pacer = pacer
        self._token_store = token_store
        # As a session's own client is: pacing and batching bound what is in flight.
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._scope = TaskScope()
        self._places: dict[str, _Place] = {}
        self._idle: dict[_Place, asyncio.TimerHandle] = {}

    def __repr__(self) -> str:
        return f"{len(self._places)} tenants, {len(self._idle)} of them idle"

    def enter(self, tenant: str) -> _Place:
        place = self._places.get(tenant)
        if place is not None and not place.good:
            self._retire(place)
            place = None
        if place is None:
            making = self._scope.start(self._make(tenant), name="ekb tenant session")
            place = self._places[tenant] = _Place(tenant, making)
        place.users += 1
        self._wake(place)
        return place

    def leave(self, place: _Place) -> None:
        place.users -= 1
        if place.users or self._places.get(place.tenant) is not place:
            return
        if not place.good:
            self._retire(place)
            return
        self._idle[place] = self.loop.call_later(self._idle_time, self._retire, place)
        if len(self._idle) > self._max_idle:
            self._retire(next(iter(self._idle)))

    async def close(self) -> None:
        try:
            for place in list(self._places.values()):
                self._retire(place)
            # Each session has its own limit to how long it takes.
            await self._scope.finish(math.inf)
        finally:
            await self._client.close()

    def _wake(self, place: _Place) -> None:
        if (timer := self._idle.pop(place, None)) is not None:
            timer.cancel()

    def _retire(self, place: _Place) -> None:
        del self._places[place.tenant]
        self._wake(place)
        self._scope.start(place.close(), name="ekb tenant close")

    async def _make(self, tenant: str) -> EkbSession | ConfigError:
        """A session, or why there is none, which is no exception since it may be that nobody waits for it any more."""
        try:
            return await self._opened(tenant)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns those who asked
            # What others say in their errors may be secret.
            reason = redact(str(error)) if isinstance(error, EkbError) else type(error).__name__
            return ConfigError(f"there is no session for tenant {tenant!r}: {reason}")

    async def _opened(self, tenant: str) -> EkbSession:
        made = self._session_for_tenant(tenant)
        session = await made if inspect.isawaitable(made) else made
        if not isinstance(session, EkbSession):
            raise ConfigError(f"session_for_tenant gave no EkbSession but {type(session).__name__}")
        session.share(client_session=self._client, pacer=self._pacer, token_store=self._token_store)
        return await session.__aenter__()


class _Place:
    """The session of one tenant, from the moment it is asked for until it is closed."""

    def __init__(self, tenant: str, making: asyncio.Task[EkbSession | ConfigError]) -> None:
        self.tenant = tenant
        self.users = 0
        self._making = making

    @property
    def good(self) -> bool:
        """Whether it has an open session, or may come to have one."""
        if not self._making.done():
            return True
        session = self._session
        return session is not None and not session.closed

    async def session(self) -> EkbSession:
        # Waiting does not own the making: a cancelled asker leaves it to the others.
        await asyncio.wait([self._making])
        if self._making.cancelled():
            raise SessionClosedError(f"the making of the session of tenant {self.tenant!r} was broken off")
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
        except Exception as error:  # noqa: BLE001 - nobody waits for this one, and the others are to be closed
            _log.warning("closing the session of tenant %r: %s", self.tenant, type(error).__name__)

    @property
    def _session(self) -> EkbSession | None:
        """What has been made."""
        if self._making.cancelled():
            return None
        made = self._making.result()
        return made if isinstance(made, EkbSession) else None


class _KeptPacer:
    """The pace within this process, kept from one session to the next, and common to tenants with the same keys."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, float, float, float], _KeptPace] = {}

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> _KeptPace:
        settings = (key, rate, margin, most_wait)
        if settings not in self._paces:
            self._paces[settings] = _KeptPace(rate, margin, most_wait)
        return self._paces[settings]


class _KeptPace(LimiterPace):
    def expired(self, slot: Slot) -> bool:
        """Whether another session has claimed a slot since."""
        return self._bucket.latest > slot
