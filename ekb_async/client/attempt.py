"""One call to the vendor, seen through to its result: token, attempts, reading the reply.

Each attempt asks its `Attempts` for the request, which is where a paced call waits for its slot and gets a fresh file
URL. What an attempt may do about a failure without it counting as a try (one new token, being refused for the rate,
one fresh URL) is settled here and in `Attempts.recover`; everything else is up to `retries`.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Container
from typing import Any, Generic, TypeVar

from ekb_async.aio.tasks import TaskScope
from ekb_async.client.transport import Transport
from ekb_async.config import AppCredentials, Credentials, SessionConfig
from ekb_async.errors import AuthError, EkbError, EkbTimeoutError, OutcomeUnknownError, ThrottledError
from ekb_async.models.wire.model import hide
from ekb_async.protocol.clock import VendorClock
from ekb_async.protocol.endpoints import Request, TokenGrant
from ekb_async.protocol.replies import read_reply
from ekb_async.protocol.retry import answer_lost, retrying
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine
from ekb_async.redaction.masking import Secrets, without_frames
from ekb_async.tokens.life import Token, Tokens
from ekb_async.tokens.store import TokenStore

T = TypeVar("T")

_PATIENCE = 0.3


class GrantExpired(Exception):  # noqa: N818 - no error of a call, which goes on
    """The request had not left when its turn was over; it costs nothing, and another turn is taken."""


class Attempts(abc.ABC, Generic[T]):
    """The attempts of one call: when each may be made, with which request, and what happens in between."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.tries = 0
        self.tokens_rejected = 0
        self.failed: EkbError | None = None
        """How the first attempt ended; it is raised again where attempts are counted."""

    @abc.abstractmethod
    async def acquire(self) -> Request[T]:
        """The request, as soon as it may be sent."""

    async def before_sending(self) -> None:
        """Wait for what must be settled before the request may leave. Raises `GrantExpired` if that took too long."""
        return

    @abc.abstractmethod
    def on_sent(self) -> None:
        """The request leaves this machine now. Raises `GrantExpired` if it must not any more."""

    @abc.abstractmethod
    def over(self, error: BaseException | None) -> None:
        """The attempt has ended, with a result or with this error."""

    @abc.abstractmethod
    def recover(self, error: EkbError) -> bool:
        """Whether the call is to be made again without that counting as a try."""

    @abc.abstractmethod
    async def before_same_token(self) -> None:
        """Waits until a token issued a moment ago may have settled."""


class FreeAttempts(Attempts[T]):
    """The attempts of a call that is not limited in its rate: each goes out at once."""

    def __init__(self, request: Request[T], timeout: float) -> None:
        super().__init__(timeout)
        self._request = request
        self._began = 0.0
        self._error: EkbError | None = None

    async def acquire(self) -> Request[T]:
        self._began = asyncio.get_running_loop().time()
        return self._request

    def on_sent(self) -> None:
        pass

    def over(self, error: BaseException | None) -> None:
        self._error = error if isinstance(error, EkbError) else None

    def recover(self, error: EkbError) -> bool:
        return False

    def is_to(self, endpoints: Container[str]) -> bool:
        """Return whether the call goes to one of these endpoints."""
        return self._request.endpoint.path in endpoints

    def delay(self) -> EkbError:
        """Return why the call has no result yet: the error of its last attempt, or that there is no answer."""
        if self._error is not None:
            return self._error
        passed = asyncio.get_running_loop().time() - self._began
        path = self._request.endpoint.path
        return EkbTimeoutError(f"no answer from {path} for {passed:.1f} s", endpoint=path)

    async def before_same_token(self) -> None:
        await asyncio.sleep(_PATIENCE)


class Api:
    """Makes calls through a transport with the session's token, which is under `key` in the store."""

    def __init__(
        self,
        credentials: Credentials,
        transport: Transport,
        config: SessionConfig,
        clock: VendorClock,
        scope: TaskScope,
        store: TokenStore,
        key: str,
    ) -> None:
        self._transport = transport
        self._config = config
        self._clock = clock
        secret = credentials.app_security if isinstance(credentials, AppCredentials) else credentials.token
        self._keys = self._with_token = Secrets((secret,))
        self.tokens = Tokens(credentials, self._get_token, clock, scope, store, key, config.request_timeout)
        self._free: dict[FreeAttempts[Any], None] = {}
        self._repeated = retrying(config)(self._next_attempt)

    async def call(self, request: Request[T]) -> T:
        """Makes a call that needs no turn. Raises the errors of `ekb_async.errors`."""
        attempts = FreeAttempts(request, self._config.request_timeout)
        self._free[attempts] = None
        try:
            return await self.run(attempts)
        finally:
            del self._free[attempts]

    def delay(self, *endpoints: str) -> EkbError | None:
        """Return why the oldest call under way to one of these endpoints has no result yet; None without such a call.

        Only calls that need no turn count.
        """
        return next((attempts.delay() for attempts in self._free if attempts.is_to(endpoints)), None)

    @property
    def proxy(self) -> str:
        """The proxy on the way to the vendor, "" for none or with a transport that knows of none."""
        return getattr(self._transport, "proxy", "")

    async def run(self, attempts: Attempts[T]) -> T:
        """Makes a call with its own way of waiting and recovering. Raises the errors of `ekb_async.errors`."""
        # Most calls need no second attempt, and arranging for it costs as much as all else that is done for a call.
        try:
            return await self._attempt(attempts)
        except EkbError as error:
            attempts.failed = error
        return await self._repeated(attempts)

    async def _get_token(self, request: Request[TokenGrant]) -> TokenGrant:
        return await self.call(request)

    async def _next_attempt(self, attempts: Attempts[T]) -> T:
        """The attempt that was made already, then further ones."""
        if (failed := attempts.failed) is not None:
            attempts.failed = None
            raise failed
        return await self._attempt(attempts)

    async def _attempt(self, attempts: Attempts[T]) -> T:
        attempts.tries += 1
        while True:
            request = await attempts.acquire()
            token: Token | None = None
            try:
                token = await self._token(request)
                await attempts.before_sending()
                result = await self._exchange(request, token, attempts)
            except GrantExpired as passed:
                attempts.over(passed)
                continue
            except EkbError as caught:
                error = without_frames(caught)
                attempts.over(error)
            except BaseException as caught:
                attempts.over(without_frames(caught))
                raise
            else:
                attempts.over(None)
                return result
            error.attempts = attempts.tries
            if isinstance(error, AuthError) and await self._renews(attempts, token, error):
                _log_again(request, error, "its token was refused")
                continue
            if attempts.recover(error):
                _log_again(request, error, "refused for its rate" if isinstance(error, ThrottledError) else "failed")
                continue
            if request.endpoint.billed and not self._config.repeat_unknown and answer_lost(error):
                raise self._unknown(request, error) from None
            raise error

    async def _token(self, request: Request[object]) -> Token | None:
        if not request.endpoint.needs_token:
            return None
        try:
            return await self.tokens.get()
        except EkbError as error:
            raise error.met_before_sending() from None

    async def _exchange(self, request: Request[T], token: Token | None, attempts: Attempts[T]) -> T:
        value = token.value if token is not None else None
        reply = await self._transport.send(request, token=value, timeout=attempts.timeout, on_sent=attempts.on_sent)
        self._clock.observe(reply.headers.get("Date", ""))
        now = self._clock.now()
        secrets = self._with_token if value == self._with_token.texts[-1] else self._secrets_of(request, value)
        result = read_reply(
            request, reply.status, reply.headers, reply.body, *secrets.texts, now=now, problem=reply.problem
        )
        if token is not None:
            token.accepted = True
        hide(result, secrets)
        return result

    def _secrets_of(self, request: Request[object], token: str | None) -> Secrets:
        if token is None:
            # A call without a token may have one in its query, as the one that renews it has.
            return Secrets((*self._keys.texts, *(text for _, text in request.query)))
        self._with_token = Secrets((*self._keys.texts, token))
        return self._with_token

    async def _renews(self, attempts: Attempts[T], token: Token | None, error: AuthError) -> bool:
        """Whether a rejected token is worth a repeat: with itself if just issued, else once with a new one."""
        if token is None or error.preliminary:
            return False
        if error.status == 403 and self.tokens.settling(token):
            await attempts.before_same_token()
            return True
        # A token that another process fetched may have been rejected together with the first.
        if attempts.tokens_rejected >= (2 if token.taken else 1):
            return False
        attempts.tokens_rejected += 1
        self.tokens.reject(token, error)
        return not self.tokens.refused

    def _unknown(self, request: Request[object], error: EkbError) -> OutcomeUnknownError:
        message = f"the call was sent and its answer was lost ({error}); it may have been billed"
        unknown = OutcomeUnknownError(message, endpoint=request.endpoint.path)
        unknown.attempts = error.attempts
        return unknown


def _log_again(request: Request[object], error: EkbError, why: str) -> None:
    log_lines.calls.info("%s: %s, and made again: %s", request.endpoint.path, why, OneLine(error))
