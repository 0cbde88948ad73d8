"""One call to the vendor, from its token through its attempts to its parsed reply.

Each attempt gets its request from an `Attempts` object: there a paced call waits for its slot and gets a fresh file
URL. Some failures are repeated without counting as a try (a rejected token, a refusal for the rate, an expired file
URL); `Api` and `Attempts.recover` decide about them. Everything else is up to `protocol.retry`.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Container
from typing import Any, Generic, TypeVar

from ekb_async.aio.tasks import TaskScope
from ekb_async.client.limits import LIMITS
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


class GrantExpired(Exception):  # noqa: N818 - not an error: the call goes on
    """Raised when a request has not been sent within its slot; it costs nothing, and the call takes another slot."""


class Attempts(abc.ABC, Generic[T]):
    """The attempts of one call: when each may start, with which request, and what happens between them."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.tries = 0
        self.tokens_rejected = 0
        self.first_error: EkbError | None = None
        """The error of the first attempt, kept so that the retry loop counts that attempt too."""

    @abc.abstractmethod
    async def acquire(self) -> Request[T]:
        """Return the request as soon as it may be sent."""

    async def before_sending(self) -> None:
        """Wait for what must happen before the request is sent. Raises `GrantExpired` if that took too long."""
        return

    @abc.abstractmethod
    def on_sent(self) -> None:
        """Record that the request is being sent now. Raises `GrantExpired` if its slot no longer allows that."""

    @abc.abstractmethod
    def on_ended(self, error: BaseException | None) -> None:
        """Record that the attempt has ended, with `error` or, if it is None, with a result."""

    @abc.abstractmethod
    def recover(self, error: EkbError) -> bool:
        """Return whether to repeat the call without counting the failed attempt as a try."""

    @abc.abstractmethod
    async def before_same_token(self) -> None:
        """Wait before repeating the call with a token issued a moment ago, which the vendor may not accept yet."""


class UnpacedAttempts(Attempts[T]):
    """The attempts of a call without a rate limit: each starts at once."""

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

    def on_ended(self, error: BaseException | None) -> None:
        self._error = error if isinstance(error, EkbError) else None

    def recover(self, error: EkbError) -> bool:
        return False

    def is_to(self, endpoints: Container[str]) -> bool:
        """Return whether the call goes to one of these endpoint paths."""
        return self._request.endpoint.path in endpoints

    def wait_reason(self) -> EkbError:
        """Return why the call has no result yet: the error of its last attempt, or a timeout error without one."""
        if self._error is not None:
            return self._error
        waited = asyncio.get_running_loop().time() - self._began
        path = self._request.endpoint.path
        return EkbTimeoutError(f"no answer from {path} for {waited:.1f} s", endpoint=path)

    async def before_same_token(self) -> None:
        await asyncio.sleep(LIMITS.new_token_wait_seconds)


class Api:
    """The calls of one session: makes them through a transport, with the token stored under `key`."""

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
        self._credential_secrets = self._latest_secrets = Secrets((secret,))
        self.tokens = Tokens(credentials, self._get_token, clock, scope, store, key, config.request_timeout)
        self._unpaced: dict[UnpacedAttempts[Any], None] = {}
        self._retry = retrying(config)(self._next_attempt)

    async def call(self, request: Request[T]) -> T:
        """Make a call without a rate limit and return its result. Raises the errors of `ekb_async.errors`."""
        attempts = UnpacedAttempts(request, self._config.request_timeout)
        self._unpaced[attempts] = None
        try:
            return await self.run(attempts)
        finally:
            del self._unpaced[attempts]

    def wait_reason(self, *endpoints: str) -> EkbError | None:
        """Return why the oldest running call to one of these endpoints has no result yet; None without such a call.

        Only calls without a rate limit are considered.
        """
        return next((attempts.wait_reason() for attempts in self._unpaced if attempts.is_to(endpoints)), None)

    @property
    def proxy(self) -> str:
        """The host and port of the proxy between this machine and the vendor; "" if the transport reports none."""
        return getattr(self._transport, "proxy", "")

    async def run(self, attempts: Attempts[T]) -> T:
        """Make a call whose waiting and recovering is up to `attempts`. Raises the errors of `ekb_async.errors`."""
        # Entering the retry loop costs as much as the rest of a call, and most calls need only one attempt.
        try:
            return await self._attempt(attempts)
        except EkbError as error:
            attempts.first_error = error
        return await self._retry(attempts)

    async def _get_token(self, request: Request[TokenGrant]) -> TokenGrant:
        return await self.call(request)

    async def _next_attempt(self, attempts: Attempts[T]) -> T:
        """Raise the error of the attempt made before the retry loop if there is one; otherwise make an attempt."""
        if (error := attempts.first_error) is not None:
            attempts.first_error = None
            raise error
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
            except GrantExpired as expired:
                attempts.on_ended(expired)
                continue
            except EkbError as caught:
                error = without_frames(caught)
                attempts.on_ended(error)
            except BaseException as caught:
                attempts.on_ended(without_frames(caught))
                raise
            else:
                attempts.on_ended(None)
                return result
            error.attempts = attempts.tries
            if isinstance(error, AuthError) and await self._recover_token(attempts, token, error):
                _log_repeat(request, error, "its token was refused")
                continue
            if attempts.recover(error):
                _log_repeat(request, error, "refused for its rate" if isinstance(error, ThrottledError) else "failed")
                continue
            if request.endpoint.billed and not self._config.repeat_unknown and answer_lost(error):
                raise self._outcome_unknown(request, error) from None
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
        secrets = self._latest_secrets if value == self._latest_secrets.texts[-1] else self._secrets_of(request, value)
        result = read_reply(
            request, reply.status, reply.headers, reply.body, *secrets.texts, now=now, problem=reply.problem
        )
        if token is not None:
            token.accepted = True
        hide(result, secrets)
        return result

    def _secrets_of(self, request: Request[object], token: str | None) -> Secrets:
        if token is None:
            # A call that needs no token may still have one in its query: the token refresh does.
            return Secrets((*self._credential_secrets.texts, *(text for _, text in request.query)))
        self._latest_secrets = Secrets((*self._credential_secrets.texts, token))
        return self._latest_secrets

    async def _recover_token(self, attempts: Attempts[T], token: Token | None, error: AuthError) -> bool:
        """Return whether to repeat a call whose token was rejected.

        A token that was just issued is tried again; any other is discarded, and the call repeated once with a new one.
        """
        if token is None or error.preliminary:
            return False
        if error.status == 403 and self.tokens.settling(token):
            await attempts.before_same_token()
            return True
        # A token that another process fetched may have been revoked together with the first: allow one more.
        if attempts.tokens_rejected >= (2 if token.from_store else 1):
            return False
        attempts.tokens_rejected += 1
        self.tokens.reject(token, error)
        return not self.tokens.refused

    def _outcome_unknown(self, request: Request[object], error: EkbError) -> OutcomeUnknownError:
        message = f"the call was sent and its answer was lost ({error}); it may have been billed"
        unknown = OutcomeUnknownError(message, endpoint=request.endpoint.path)
        unknown.attempts = error.attempts
        return unknown


def _log_repeat(request: Request[object], error: EkbError, reason: str) -> None:
    log_lines.calls.info("%s: %s, call repeated: %s", request.endpoint.path, reason, OneLine(error))
