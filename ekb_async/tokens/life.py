"""The access token: fetched on first use, renewed ahead of its end, shared by all calls of a session, and by all who
have the same `TokenStore`.

The vendor's token lives two hours, one from a refresh 32 days, and comes with a refresh token that only works before
that end. Two windows follow. In the early one a single task renews while calls go on with the token they have; in the
late one, when the token could die on its way, every call waits for that same task. A refused refresh falls back to the
keys.

A token that the vendor rejects is dropped only if it is still the one in use, so any number of callers that were
refused together cause one new token. Keys that the vendor rejects are remembered for a while, so that a hundred
callers do not try them again. Right after issue the vendor may answer 403 for a moment: a token that has never been
accepted is given that.

The store is asked when there is no token to use, before a renewal, and after a rejection, never for a call that has its
token. What another process has put there meanwhile is taken; otherwise this one asks the vendor, and the others wait
for it. Nothing depends on the store: if it is away, the session fetches a token of its own.
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
from ekb_async.protocol.endpoints import Request, TokenGrant
from ekb_async.tokens.store import LockedEntry, ProcessTokens, SharedToken, TokenStore, TokenStoreError

_log = logging.getLogger("ekb_async.tokens")

_DOCUMENTED_LIFE = 7200.0
_REFRESHED_LIFE = 32 * 86_400.0
_FURTHEST_END = 10**15
_LONGEST_TOKEN = 4_096
_EARLY_SHARE, _EARLY_MOST, _EARLY_SHARE_OF_LONG = 0.25, 600.0, 1 / 32
_LATE_SHARE, _LATE_MOST = 0.05, 30.0
_REFUSAL_REMEMBERED = 30.0
_SETTLING = 3.0
_NEXT_RENEWAL_AFTER_FAILURE = 5.0


@dataclasses.dataclass(slots=True, eq=False)
class Token:
    """An access token with its windows, in seconds of the loop's clock. The `repr` shows no secret."""

    value: str = dataclasses.field(repr=False)
    refresh: str = dataclasses.field(default="", repr=False)
    issued: float = 0.0
    renew_from: float = float("inf")
    unusable_from: float = float("inf")
    generation: int = 0
    """Which of the store's tokens it is; 0 if it was fetched without the store."""
    taken: bool = False
    """Whether somebody else fetched it, so that the vendor may have revoked it long ago."""
    accepted: bool = False
    rejected: bool = False


class Tokens:
    """The one token of a session; `exchange` sends a token call with retries and returns its grant.

    With keys it is shared with all who use the same `key` in the same `store`; who hangs while fetching one holds up
    the others for `patience` seconds at most.
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
        # A given token is nobody else's to renew.
        home, secret = (store, self._keys.app_security) if self._keys is not None else (ProcessTokens(), "")
        self._entry = home.entry(key, secret)
        self._patience = patience
        self._rejected: int | None = None
        self._apart = False

    def usable(self) -> Token | None:
        """The token, if there is one that can be used now."""
        token = self._token
        now = self._loop.time()
        # Refused keys do not matter as long as there is a token; a given token is all there is.
        if token is None or now >= token.unusable_from or (self._keys is None and self.refused):
            return None
        if now >= token.renew_from:
            self._renew()
        return token

    async def get(self) -> Token:
        """A token that can be used now. Raises `AuthError` if the keys are wrong, or what the token call raised."""
        if token := self.usable():
            return token
        if self._refusal is not None and self.refused:
            raise self._refusal.again()
        renewal = self._renew()
        # Waiting does not own the renewal: a cancelled caller leaves it to the others.
        await asyncio.wait([renewal])
        if renewal.cancelled():
            raise SessionClosedError("the session was closed while a token was fetched")
        error = renewal.exception()
        if isinstance(error, EkbError):
            raise error.again()
        return renewal.result()

    @property
    def refused(self) -> bool:
        """Whether the vendor has refused the keys, or the given token, so that every call would fail now."""
        return self._refusal is not None and self._loop.time() < self._refusal_ends

    def settling(self, token: Token) -> bool:
        """Whether a 403 may only mean that this token was issued a moment ago."""
        young = self._loop.time() - token.issued < _SETTLING
        return not token.accepted and not token.rejected and young and self._keys is not None

    def reject(self, token: Token, error: AuthError) -> None:
        """The vendor refused this token: the next `get` fetches a new one, unless another caller did already."""
        token.rejected = True
        if self._keys is None:
            self._remember(error)
        elif token is self._token:
            self._token = None
            self._rejected = token.generation

    def _renew(self) -> asyncio.Task[Token]:
        if self._renewal is None:
            self._renewal = self._scope.start(self._fetch(), name="ekb token renewal")
            self._renewal.add_done_callback(self._renewed)
        return self._renewal

    def _renewed(self, renewal: asyncio.Task[Token]) -> None:
        self._renewal = None
        if renewal.cancelled():
            return
        # Asking for the exception also marks it as seen when nobody waits for an early renewal.
        if renewal.exception() is None:
            self._token = renewal.result()
        elif self._token is not None:
            self._token.renew_from = self._loop.time() + _NEXT_RENEWAL_AFTER_FAILURE

    async def _fetch(self) -> Token:
        old = self._token
        try:
            return await self._fetch_together(old)
        except TokenStoreError as error:
            self._go_apart(error)
            return await self._ask_vendor(old)

    async def _fetch_together(self, old: Token | None) -> Token:
        """The token that another one has fetched, or a new one for all. Raises `TokenStoreError` before one is asked
        for.
        """
        if (token := self._better(await self._entry.read(), old)) is not None:
            return token
        async with self._entry.lock(self._patience) as held:
            found = await held.read()
            if (token := self._better(found, old)) is not None:
                return token
            token = await self._ask_vendor(old)
            await self._share(held, token, found)
            return token

    def _better(self, found: SharedToken | None, old: Token | None) -> Token | None:
        """What was found in the store, if it can be used and needs no renewal as the old token does."""
        if found is None or found.unusable_from <= 0 or found.generation == self._rejected:
            return None
        if old is not None and (found.generation == old.generation or found.renew_from <= 0):
            return None
        now = self._loop.time()
        _log.info("the access token that another session fetched is used from now on")
        return Token(
            found.value,
            found.refresh,
            issued=now + min(0.0, found.issued),
            renew_from=now + found.renew_from,
            unusable_from=now + min(_REFRESHED_LIFE, found.unusable_from),
            generation=found.generation,
            taken=True,
        )

    async def _share(self, held: LockedEntry, token: Token, found: SharedToken | None) -> None:
        now = self._loop.time()
        # Even a write that failed may have been kept: then this token must be known again in the store.
        token.generation = found.generation + 1 if found is not None else 1
        moments = (token.issued - now, token.renew_from - now, token.unusable_from - now)
        try:
            await held.write(SharedToken(token.value, token.refresh, token.generation, *moments))
        except TokenStoreError as error:
            self._go_apart(error)
        else:
            self._apart = False

    def _go_apart(self, error: TokenStoreError) -> None:
        if not self._apart:
            self._apart = True
            _log.warning("this session has a token of its own, since the shared one cannot be reached: %s", error)

    async def _ask_vendor(self, old: Token | None) -> Token:
        if old is not None and old.refresh and self._loop.time() < old.unusable_from:
            try:
                grant = await self._exchange(endpoints.refresh_token(old.value, old.refresh))
                return self._issued(grant, most=_REFRESHED_LIFE)
            except EkbError:
                pass  # The refresh token may have ended; the keys decide.
        if self._keys is None:
            raise AuthError("a given token is not renewed", status=401, endpoint=endpoints.TOKEN.path)
        try:
            return self._issued(await self._exchange(endpoints.get_token(self._keys)))
        except AuthError as error:
            self._remember(error)
            raise

    def _issued(self, grant: TokenGrant, *, most: float = _DOCUMENTED_LIFE) -> Token:
        if not 0 < len(grant.access_token) <= _LONGEST_TOKEN:
            raise ResponseError("the answer holds no access token", endpoint=endpoints.TOKEN.path)
        now = self._loop.time()
        life = self._life(value_of(grant.expire_time), most)
        refresh = value_of(grant.refresh_token)
        early = min(life * _EARLY_SHARE, max(_EARLY_MOST, life * _EARLY_SHARE_OF_LONG))
        _log.info("a new access token was issued for %.0f s", life)
        return Token(
            value=grant.access_token,
            refresh=refresh if isinstance(refresh, str) and len(refresh) <= _LONGEST_TOKEN else "",
            issued=now,
            renew_from=now + life - early,
            unusable_from=now + life - min(life * _LATE_SHARE, _LATE_MOST),
        )

    def _life(self, end: object, most: float) -> float:
        """Return the seconds until an end in epoch milliseconds, or those documented for every token."""
        if isinstance(end, int | Decimal) and 0 < end < _FURTHEST_END:
            # A moment that has passed or is too far away says that the clocks disagree, not how long the token lives.
            until_end = float(end) / 1000 - self._clock.now()
            if 0 < until_end <= most:
                return until_end
        return _DOCUMENTED_LIFE

    def _remember(self, error: AuthError) -> None:
        self._refusal = error
        self._refusal_ends = self._loop.time() + _REFUSAL_REMEMBERED
