"""The access token: fetched on first use, renewed ahead of its end, shared by all calls of a session.

The vendor's token lives two hours and comes with a refresh token that only works before that end. Two windows follow.
In the early one a single task renews while calls go on with the token they have; in the late one, when the token could
die on its way, every call waits for that same task. A refused refresh falls back to the keys.

A token that the vendor rejects is dropped only if it is still the one in use, so any number of callers that were
refused together cause one new token. Keys that the vendor rejects are remembered for a while, so that a hundred
callers do not try them again. Right after issue the vendor may answer 403 for a moment: a token that has never been
accepted is given that.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

from ekb_async import calls
from ekb_async.calls import Request, TokenGrant
from ekb_async.clock import VendorClock
from ekb_async.credentials import AppCredentials, Credentials, StaticToken
from ekb_async.errors import AuthError, EkbError, ResponseError, SessionClosedError
from ekb_async.task_scope import TaskScope

_DOCUMENTED_LIFE = 7200.0
_EARLY_SHARE, _EARLY_MOST = 0.25, 600.0
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
    accepted: bool = False
    rejected: bool = False


class Tokens:
    """The one token of a session; `exchange` sends a token call with retries and returns its grant."""

    def __init__(
        self,
        credentials: Credentials,
        exchange: Callable[[Request[TokenGrant]], Awaitable[TokenGrant]],
        clock: VendorClock,
        scope: TaskScope,
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
        if old is not None and old.refresh and self._loop.time() < old.unusable_from:
            try:
                return self._issued(await self._exchange(calls.refresh_token(old.value, old.refresh)))
            except EkbError:
                pass  # The refresh token may have ended; the keys decide.
        if self._keys is None:
            raise AuthError("a given token is not renewed", status=401, endpoint=calls.TOKEN.path)
        try:
            return self._issued(await self._exchange(calls.get_token(self._keys)))
        except AuthError as error:
            self._remember(error)
            raise

    def _issued(self, grant: TokenGrant) -> Token:
        if not grant.access_token:
            raise ResponseError("the answer holds no access token", endpoint=calls.TOKEN.path)
        now = self._loop.time()
        life = _DOCUMENTED_LIFE
        if isinstance(grant.expire_time, int | float):
            # A moment that has passed or is too far away says that the clocks disagree, not how long the token lives.
            until_end = grant.expire_time / 1000 - self._clock.now()
            life = until_end if 0 < until_end <= _DOCUMENTED_LIFE else life
        return Token(
            value=grant.access_token,
            refresh=grant.refresh_token if isinstance(grant.refresh_token, str) else "",
            issued=now,
            renew_from=now + life - min(life * _EARLY_SHARE, _EARLY_MOST),
            unusable_from=now + life - min(life * _LATE_SHARE, _LATE_MOST),
        )

    def _remember(self, error: AuthError) -> None:
        self._refusal = error
        self._refusal_ends = self._loop.time() + _REFUSAL_REMEMBERED
