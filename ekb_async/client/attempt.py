"""The attempts of a session's calls: with the token, over the transport, to the parsed reply.

`Api.send` makes one attempt. A call without a rate limit is repeated here (`Api.call`), a paced one by its queue; both
do what `protocol.retry.next_step` decides, which stands in `Attempt.step` when an attempt has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ekb_async.aio.tasks import TaskScope
from ekb_async.client.hooks import Attempt, HookList, Hooks, report
from ekb_async.config import AppCredentials, Credentials, SessionConfig
from ekb_async.errors import AuthError, EkbError, EkbTimeoutError
from ekb_async.models.wire.model import hide
from ekb_async.protocol.clock import VendorClock
from ekb_async.protocol.decoding import TokenGrant
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import read_reply
from ekb_async.protocol.retry import Again, Fail, History, Step, jittered, next_step
from ekb_async.redaction.masking import Secrets, without_frames
from ekb_async.tokens.life import Token, Tokens
from ekb_async.tokens.store import TokenStore

if TYPE_CHECKING:
    from ekb_async.client.transport import Transport

T = TypeVar("T")


class _RunningCall:
    """A call without a rate limit that has no result yet."""

    def __init__(self, path: str, began: float) -> None:
        self.path = path
        self.began = began
        self.error: EkbError | None = None
        """The error of the latest attempt; None while the first runs."""


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
        hooks: Iterable[Hooks] = (),
    ) -> None:
        self.hooks = HookList(hooks)
        self._transport = transport
        self._config = config
        self._clock = clock
        self._now = asyncio.get_running_loop().time
        secret = credentials.app_security if isinstance(credentials, AppCredentials) else credentials.token
        self._credential_secrets = self._latest_secrets = Secrets((secret,))
        self.tokens = Tokens(credentials, self._get_token, clock, scope, store, key, config.request_timeout)
        self._running: dict[_RunningCall, None] = {}

    async def call(self, request: Request[T]) -> T:
        """Make a call without a rate limit and return its result. Raises the errors of `ekb_async.errors`."""
        running = _RunningCall(request.endpoint.path, self._now())
        self._running[running] = None

        async def make(attempt: Attempt[T]) -> T:
            running.began = self._now()
            try:
                return await self.send(attempt, await self.token(request), self._config.request_timeout, _not_noted)
            except EkbError as error:
                running.error = error
                raise

        try:
            return await self.repeat(make, Attempt(request, History(billed=request.endpoint.billed)))
        finally:
            del self._running[running]

    async def repeat(self, make: Callable[[Attempt[T]], Awaitable[T]], attempt: Attempt[T]) -> T:
        """Make attempts with `make`, of which `attempt` is the first, until one succeeds or the call has failed."""
        while True:
            try:
                return await make(attempt)
            except EkbError as error:
                step = attempt.step or self.decide(attempt, error)
            if isinstance(step, Fail):
                raise step.error
            await asyncio.sleep(jittered(step.wait))
            attempt = Attempt(attempt.request, step.history, url=attempt.url)

    def wait_reason(self, *paths: str) -> EkbError | None:
        """Return why the oldest running call to one of these paths has no result yet; None without such a call.

        Only calls without a rate limit are considered.
        """
        call = next((call for call in self._running if call.path in paths), None)
        if call is None:
            return None
        if call.error is not None:
            return call.error
        return EkbTimeoutError(f"no answer from {call.path} for {self._now() - call.began:.1f} s", endpoint=call.path)

    @property
    def proxy(self) -> str:
        """The host and port of the proxy between this machine and the vendor; "" if the transport reports none."""
        return getattr(self._transport, "proxy", "")

    async def token(self, request: Request[Any]) -> Token | None:
        """Return the token that a call needs, None for one that needs none."""
        if not request.endpoint.needs_token:
            return None
        try:
            return await self.tokens.get()
        except EkbError as error:
            raise without_frames(error.met_before_sending()) from None

    def send(
        self, attempt: Attempt[T], token: Token | None, timeout: float, on_sent: Callable[[], None]
    ) -> Awaitable[T]:
        """Make one attempt on the network and return the result; `on_sent` as for a transport.

        Raises the errors of `ekb_async.errors`, with the next step in `attempt.step`.
        """
        return self.observed(attempt, self._exchange(attempt, token, timeout, on_sent), token)

    async def observed(self, attempt: Attempt[T], work: Awaitable[T], token: Token | None = None) -> T:
        """Return the result of an attempt's work, between the events of the attempt's start and end."""
        if self.hooks.attempt_started:
            report(self.hooks.attempt_started, attempt)
        try:
            return await work
        except EkbError as error:
            self.decide(attempt, error, token)
            raise
        except BaseException as error:
            attempt.error = without_frames(error)
            raise
        finally:
            report(self.hooks.attempt_ended, attempt)

    def decide(self, attempt: Attempt[Any], error: EkbError, token: Token | None = None) -> Step:
        """Note the error that an attempt ended with, and return what follows; a refused token is dropped."""
        history = attempt.history
        attempt.error = without_frames(error)
        error.attempts = history.tries
        if isinstance(error, AuthError):
            refused = None if token is None else self.tokens.refused_token(token, error)
            history = history.with_refusal(refused, keys_refused=self.tokens.refused)
        attempt.step = step = next_step(error, history, self._config)
        if isinstance(step, Again) and step.fresh_token and token is not None:
            self.tokens.discard(token)
        return step

    async def _get_token(self, request: Request[TokenGrant]) -> TokenGrant:
        return await self.call(request)

    async def _exchange(
        self, attempt: Attempt[T], token: Token | None, timeout: float, on_sent: Callable[[], None]
    ) -> T:
        request = attempt.request
        assert request is not None  # noqa: S101 - a file's download does not come here
        value = token.value if token is not None else None
        reply = await self._transport.send(request, token=value, timeout=timeout, on_sent=on_sent)
        attempt.status = reply.status
        self._clock.observe(reply.headers.get("Date", ""))
        now = self._clock.now()
        secrets = self._latest_secrets if value == self._latest_secrets.texts[-1] else self._secrets_of(request, value)
        result = read_reply(request, reply, *secrets.texts, now=now)
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


def _not_noted() -> None:
    """Note nothing: when the request of a call without a rate limit leaves is of no interest."""
