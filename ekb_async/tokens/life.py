"""The life of an access token: fetched on first use, renewed before it expires, shared through a `TokenStore`.

All calls of a session use one token. The vendor's token lives two hours, one from a refresh 32 days. It comes with a
refresh token that only works before that end. Two windows follow. In the early one a single task renews the token while
calls go on with the present one. In the late one, when the token could expire on the way to the vendor, every call
waits for that task. A refused refresh falls back to the keys.

A token that the vendor rejects is dropped only if it is still the one in use, so any number of callers that are refused
together cause one new token. Keys that the vendor rejects are remembered for a while, so that a hundred callers do not
try them again. Right after it issued a token, the vendor may answer 403 for a moment: a token that has never been
accepted is given that time.

The store is read when there is no usable token, before a renewal, and after a rejection, never for a call that has its
token. A token that another process has stored meanwhile is used; otherwise this process requests one from the vendor,
and the others wait for it. Nothing depends on the store: if it cannot be used, the session fetches a token of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal

from ekb_async.aio.tasks import TaskScope
from ekb_async.config import AppCredentials, Credentials, StaticToken
from ekb_async.errors import AuthError, EkbError, ResponseError, SessionClosedError
from ekb_async.models.wire.envelope import value_of
from ekb_async.protocol import endpoints
from ekb_async.protocol.clock import VendorClock
from ekb_async.protocol.decoding import TokenGrant
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.retry import RefusedToken
from ekb_async.tokens.limits import LIMITS
from ekb_async.tokens.store import LockedEntry, ProcessTokens, SharedToken, TokenStore, TokenStoreError

_log = logging.getLogger("ekb_async.tokens")

# As the vendor documents them.
_LIFE_SECONDS = 7200.0
_REFRESHED_LIFE_SECONDS = 32 * 86_400.0


@dataclasses.dataclass(slots=True, eq=False)
class Token:
    """An access token with its windows, in seconds of the loop's clock. The `repr` shows no secret."""

    value: str = dataclasses.field(repr=False)
    refresh: str = dataclasses.field(default="", repr=False)
    issued: float = 0.0
    renew_from: float = float("inf")
    unusable_from: float = float("inf")
    generation: int = 0
    """The token's number in the store; 0 if it was fetched without the store."""
    from_store: bool = False
    """Whether another session fetched it, so that the vendor may have revoked it long ago."""
    accepted: bool = False
    discarded: bool = False


class Tokens:
    """The one token of a session; `exchange` sends a token call with retries and returns its grant.

    With keys it is shared by all sessions that use the same `key` in the same `store`. A session that hangs while it
    fetches a token delays the others by at most `patience` seconds.
    """

    def __init__(
        self,
        credentials: Credentials,
        exchange: Callable[[Request[TokenGrant]], Awaitable[TokenGrant]],
        clock: VendorClock,
        scope: TaskScope,
        store: TokenStore,
        key: str,
        patience: float,
    ) -> None:
        self._keys = credentials if isinstance(credentials, AppCredentials) else None
        self._exchange = exchange
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._token = Token(credentials.token) if isinstance(credentials, StaticToken) else None
        self._renewal: asyncio.Task[Token] | None = None
        self._refusal: AuthError | None = None
        self._refusal_ends = 0.0
        # A given token is not shared.
        store, secret = (store, self._keys.app_security) if self._keys is not None else (ProcessTokens(), "")
        self._entry = store.entry(key, secret)
        self._patience = patience
        self._rejected: int | None = None
        self._has_own_token = False

    def usable(self) -> Token | None:
        """Return the token, None if there is none that can be used now. Starts a renewal that is due."""
        token = self._token
        now = self._loop.time()
        # Refused keys do not matter while there is a token; without keys, a refused token cannot be replaced.
        if token is None or now >= token.unusable_from or (self._keys is None and self.refused):
            return None
        if now >= token.renew_from:
            self._renew()
        return token

    async def get(self) -> Token:
        """Return a usable token, after a renewal if need be. Raises `AuthError` for wrong keys, or the call's error."""
        if token := self.usable():
            return token
        if self._refusal is not None and self.refused:
            raise self._refusal.again()
        renewal = self._renew()
        # No caller owns the renewal: if this one is cancelled, the others still wait for it.
        await asyncio.wait([renewal])
        if renewal.cancelled():
            raise SessionClosedError("the session was closed while a token was fetched")
        error = renewal.exception()
        if isinstance(error, EkbError):
            raise error.again()
        return renewal.result()

    @property
    def refused(self) -> bool:
        """Whether the vendor refused the keys or the given token a short time ago, so that every call would fail."""
        return self._refusal is not None and self._loop.time() < self._refusal_ends

    def refused_token(self, token: Token, error: AuthError) -> RefusedToken:
        """Return what it means that the vendor refused this token; one that cannot be replaced is not used again."""
        if self._keys is None:
            self._remember_refusal(error)
            return RefusedToken.GIVEN
        is_new = self._loop.time() - token.issued < LIMITS.settling_seconds
        # A 403 may only mean that the vendor does not accept the token yet.
        if error.status == 403 and is_new and not token.accepted and not token.discarded:
            return RefusedToken.NEW
        if self.refused:
            self.discard(token)
        return RefusedToken.SHARED if token.from_store else RefusedToken.OWN

    def discard(self, token: Token) -> None:
        """Drop a token that the vendor refused. If it is still in use, the next `get` fetches another one."""
        token.discarded = True
        if token is self._token:
            self._token = None
            self._rejected = token.generation

    async def close(self) -> None:
        """Release what the store keeps open for this session. Only after its renewals have ended."""
        await self._entry.close()

    def _renew(self) -> asyncio.Task[Token]:
        if self._renewal is None:
            self._renewal = self._scope.start(self._fetch(), name="ekb token renewal")
            self._renewal.add_done_callback(self._renewed)
        return self._renewal

    def _renewed(self, renewal: asyncio.Task[Token]) -> None:
        self._renewal = None
        if renewal.cancelled():
            return
        # Reading the exception also marks it as retrieved when no caller waits for an early renewal.
        if renewal.exception() is None:
            self._token = renewal.result()
        elif self._token is not None:
            self._token.renew_from = self._loop.time() + LIMITS.failed_renewal_pause_seconds

    async def _fetch(self) -> Token:
        old = self._token
        try:
            return await self._fetch_shared(old)
        except TokenStoreError as error:
            self._use_own_token(error)
            return await self._ask_vendor(old)

    async def _fetch_shared(self, old: Token | None) -> Token:
        """Return the token that another session stored, or fetch and store a new one.

        Raises `TokenStoreError` only before the vendor is asked for a token.
        """
        if (token := self._to_adopt(await self._entry.read(), old)) is not None:
            return token
        async with self._entry.lock(self._patience) as locked:
            found = await locked.read()
            if (token := self._to_adopt(found, old)) is not None:
                return token
            token = await self._ask_vendor(old)
            await self._share(locked, token, found)
            return token

    def _to_adopt(self, found: SharedToken | None, old: Token | None) -> Token | None:
        """Return the stored token if it can be used; in place of an old one, only if it needs no renewal itself."""
        if found is None or found.unusable_from <= 0 or found.generation == self._rejected:
            return None
        if old is not None and (found.generation == old.generation or found.renew_from <= 0):
            return None
        now = self._loop.time()
        _log.info("using the access token that another session fetched")
        return Token(
            found.value,
            found.refresh,
            issued=now + min(0.0, found.issued),
            renew_from=now + found.renew_from,
            unusable_from=now + min(_REFRESHED_LIFE_SECONDS, found.unusable_from),
            generation=found.generation,
            from_store=True,
        )

    async def _share(self, locked: LockedEntry, token: Token, found: SharedToken | None) -> None:
        now = self._loop.time()
        # Even a failed write may have been saved: then this token must be recognised in the store by its generation.
        token.generation = found.generation + 1 if found is not None else 1
        moments = (token.issued - now, token.renew_from - now, token.unusable_from - now)
        try:
            await locked.write(SharedToken(token.value, token.refresh, token.generation, *moments))
        except TokenStoreError as error:
            self._use_own_token(error)
        else:
            self._has_own_token = False

    def _use_own_token(self, error: TokenStoreError) -> None:
        if not self._has_own_token:
            self._has_own_token = True
            _log.warning("this session uses a token of its own, since the shared one cannot be reached: %s", error)

    async def _ask_vendor(self, old: Token | None) -> Token:
        if old is not None and old.refresh and self._loop.time() < old.unusable_from:
            try:
                grant = await self._exchange(endpoints.refresh_token(old.value, old.refresh))
                return self._issued(grant, longest=_REFRESHED_LIFE_SECONDS)
            except EkbError:
                pass  # The refresh token may have expired; the keys decide.
        if self._keys is None:
            raise AuthError("a given token is not renewed", status=401, endpoint=endpoints.TOKEN.path)
        try:
            return self._issued(await self._exchange(endpoints.get_token(self._keys)))
        except AuthError as error:
            self._remember_refusal(error)
            raise

    def _issued(self, grant: TokenGrant, *, longest: float = _LIFE_SECONDS) -> Token:
        if not 0 < len(grant.access_token) <= LIMITS.token_characters:
            raise ResponseError("the answer holds no access token", endpoint=endpoints.TOKEN.path)
        now = self._loop.time()
        life = self._life(value_of(grant.expire_time), longest)
        refresh = value_of(grant.refresh_token)
        early = max(LIMITS.early_window_seconds, life * LIMITS.early_window_share_of_long)
        late = min(LIMITS.late_window_seconds, life * LIMITS.late_window_share)
        _log.info("a new access token was issued for %.0f s", life)
        return Token(
            value=grant.access_token,
            refresh=refresh if isinstance(refresh, str) and len(refresh) <= LIMITS.token_characters else "",
            issued=now,
            renew_from=now + life - min(life * LIMITS.early_window_share, early),
            unusable_from=now + life - late,
        )

    def _life(self, end: object, longest: float) -> float:
        """Return the seconds until an end in epoch milliseconds, or the documented life if that is implausible."""
        if isinstance(end, int | Decimal) and 0 < end < LIMITS.latest_end_milliseconds:
            # An end that is past or too far away shows that the clocks disagree, not how long the token lives.
            until_end = float(end) / 1000 - self._clock.now()
            if 0 < until_end <= longest:
                return until_end
        return _LIFE_SECONDS

    def _remember_refusal(self, error: AuthError) -> None:
        self._refusal = error
        self._refusal_ends = self._loop.time() + LIMITS.refusal_memory_seconds
