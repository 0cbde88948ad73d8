"""The life of a session: its settings, its opening with the first call, its numbers, and its close."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.client.addresses import checked_base_url
from ekb_async.client.call_log import CallLog
from ekb_async.client.environment import Environment
from ekb_async.client.hooks import Hooks
from ekb_async.config import AppCredentials, Credentials, SessionConfig, StaticToken
from ekb_async.errors import ConfigError, SessionClosedError
from ekb_async.pacing.process import ProcessPacer
from ekb_async.pacing.rule import Pacer
from ekb_async.protocol.endpoints import Request
from ekb_async.queue.stats import SessionStats
from ekb_async.session.engine import Engine
from ekb_async.session.metrics import flat_metrics
from ekb_async.tokens.store import ProcessTokens, TokenStore
from ekb_async.validation import checked_flag

if TYPE_CHECKING:
    import aiohttp

    from ekb_async.client.capture.transport import CapturingTransport
    from ekb_async.client.transport import Transport

T = TypeVar("T")

DEFAULT_BASE_URL = "https://app.ekuaibao.com"


class SessionBase:
    """A session without calls; `EkbSession` has the calls."""

    _engine: Engine | None = None
    _closed = False

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str = DEFAULT_BASE_URL,
        config: SessionConfig | None = None,
        client_session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        pacer: Pacer | None = None,
        token_store: TokenStore | None = None,
        trust_env: bool = True,
        allow_http: bool = False,
    ) -> None:
        if not isinstance(credentials, AppCredentials | StaticToken):
            raise ConfigError(f"credentials must be AppCredentials or StaticToken, not {type(credentials).__name__}")
        if config is not None and not isinstance(config, SessionConfig):
            raise ConfigError(f"config must be a SessionConfig, not {type(config).__name__}")
        _check_client_session(client_session)
        check_pacer_and_store(pacer, token_store)
        self._credentials = credentials
        self._base_url = checked_base_url(base_url, allow_http=checked_flag("allow_http", allow_http))
        self._config = config or SessionConfig()
        self._has_default_transport = transport is None and client_session is None
        trusts_environment = checked_flag("trust_env", trust_env) and self._has_default_transport
        self._environment = Environment() if trusts_environment else None
        self._transport = transport or self._network(client_session)
        self._pacer = pacer
        self._token_store = token_store
        self._hooks: list[Hooks] = [CallLog()]
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    def from_env(
        cls,
        *,
        config: SessionConfig | None = None,
        client_session: aiohttp.ClientSession | None = None,
        pacer: Pacer | None = None,
        token_store: TokenStore | None = None,
        trust_env: bool = True,
        allow_http: bool = False,
    ) -> Self:
        """Make a session from `EKB_BASE_URL` and `EKB_APP_KEY` with `EKB_APP_SECURITY`, or `EKB_ACCESS_TOKEN`.

        If both keys and token are set, the keys are used, since they can renew a token. `EKB_ALLOW_HTTP=1` allows
        http:// to other hosts, as `allow_http` does. Raises `ConfigError` naming the variables that are missing.
        """
        key, security = os.environ.get("EKB_APP_KEY", ""), os.environ.get("EKB_APP_SECURITY", "")
        token = os.environ.get("EKB_ACCESS_TOKEN", "")
        credentials: Credentials
        if key and security:
            credentials = AppCredentials(app_key=key, app_security=security)
        elif token:
            credentials = StaticToken(token)
        else:
            raise ConfigError("set EKB_APP_KEY and EKB_APP_SECURITY, or EKB_ACCESS_TOKEN, in the environment")
        base_url = os.environ.get("EKB_BASE_URL") or DEFAULT_BASE_URL
        return cls(
            credentials,
            base_url=base_url,
            config=config,
            client_session=client_session,
            pacer=pacer,
            token_store=token_store,
            trust_env=trust_env,
            allow_http=allow_http,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._engine is not None else "new"
        queues = "".join(f" {queue!r}" for queue in self._engine.used_queues) if self._engine is not None else ""
        return f"<EkbSession {self._base_url} {state}{queues}>"

    @property
    def base_url(self) -> str:
        """The address of the enterprise's platform."""
        return self._base_url

    @property
    def config(self) -> SessionConfig:
        """The settings of the session."""
        return self._config

    @property
    def used(self) -> bool:
        """Whether the session has been opened by a first call, so that there are numbers in `metrics`."""
        return self._engine is not None

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    @property
    def identity(self) -> object:
        """Credentials, address and settings, as one value to compare with that of another. Its text is secret."""
        return self._credentials, self._base_url, self._config

    @property
    def refused(self) -> bool:
        """Whether the vendor refused the keys, or the given token, in the last half minute."""
        return self._engine is not None and self._engine.api.tokens.refused

    def share(self, *, client_session: aiohttp.ClientSession, pacer: Pacer, token_store: TokenStore) -> None:
        """Use these shared resources in place of those that were not passed to the constructor.

        For a pool of sessions. The session does not close `client_session`.
        Raises `ConfigError` if the session has been used or closed.
        """
        if self._engine is not None or self._closed:
            raise ConfigError("a session that has been used already cannot take shared resources")
        if self._has_default_transport:
            self._transport = self._network(client_session)
            self._has_default_transport = False
        self._pacer = self._pacer or pacer
        self._token_store = self._token_store or token_store

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session: wait up to `close_timeout` seconds for running calls, then cancel them.

        Queued jobs fail with `SessionClosedError`. May be called repeatedly and concurrently; each call, even a
        cancelled one, returns only after everything has ended.
        """
        self._closed = True
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name="ekb session close")
        await await_uncancelled(self._closing)

    # The session itself

    def stats(self) -> SessionStats:
        """Return a snapshot of the session's counters. Raises `SessionClosedError` if it was closed unused."""
        return (self._engine or self._open()).stats()

    def metrics(self) -> dict[str, int | float]:
        """Return the counters of `stats` and the current state of the pace as one flat dict: `{"ocr.queued": 3, …}`.

        `….interval_seconds` is the time between two starts, `….wait_seconds` the time until the next slot,
        `….duration_seconds` the duration of recent calls. `….margin_seconds` is what is added between two starts
        against jitter, `….refused_margin_seconds` what it was when a call was last refused (0: none was), and
        `….answer_deviation_seconds` how much successive answers differ in time. Once the session is open, any thread
        may call this.

        Raises as `stats` does.
        """
        return flat_metrics(self._engine or self._open())

    def observe(self, hooks: Hooks) -> None:
        """Call `hooks` for each event of the session's calls, after those of earlier calls of this method.

        Raises `ConfigError` for a class, or if the session has been used or closed.
        """
        if isinstance(hooks, type):
            raise ConfigError(f"hooks must be an object, not the class {hooks.__name__}")
        if self._engine is not None or self._closed:
            raise ConfigError("a session that has been used already cannot be observed from its beginning")
        self._hooks.append(hooks)

    def capture(self, directory: Path | str) -> CapturingTransport:
        """Write what goes over the wire, without secrets and personal data, as a bundle for a bug report.

        The directory is created; the bundle is complete when the session has been closed. `ekb_async.sandbox.Replay`
        answers as a bundle records. Raises `ConfigError` if the directory has something in it, or if the session has
        been used or closed.
        """
        # Most programs never need it, and its words and patterns take 20 ms to load.
        from ekb_async.client.capture.transport import CapturingTransport

        if self._engine is not None or self._closed:
            raise ConfigError("a session that has been used already cannot be captured from its beginning")
        self._transport = captured = CapturingTransport(self._transport, directory, base_url=self._base_url)
        self._has_default_transport = False
        return captured

    def _open(self) -> Engine:
        if self._closed:
            raise SessionClosedError("the session is closed")
        if self._engine is not None and self._engine.loop is not asyncio.get_running_loop():
            raise ConfigError("a session belongs to the event loop it was first used in")
        if self._engine is None:
            self._engine = Engine(
                self._credentials,
                self._base_url,
                self._transport,
                self._pacer or ProcessPacer(),
                self._token_store or ProcessTokens(),
                self._config,
                self._hooks,
            )
        return self._engine

    async def _call(self, request: Request[T]) -> T:
        """Make a call that goes through neither queue nor batcher."""
        engine = self._open()
        return await engine.direct(engine.api.call(request))

    def _network(self, client_session: aiohttp.ClientSession | None) -> Transport:
        # A process that makes no session, or has another transport, does not wait for the HTTP client to load.
        from ekb_async.client.transport import AiohttpTransport

        return AiohttpTransport(self._base_url, self._config, client_session, self._environment)

    async def _close(self) -> None:
        try:
            if self._engine is not None:
                await self._engine.close()
        finally:
            await self._transport.close()


def _check_client_session(client_session: object) -> None:
    if client_session is None:
        return
    import aiohttp

    if not isinstance(client_session, aiohttp.ClientSession):
        raise ConfigError(f"client_session must be an aiohttp.ClientSession, not {type(client_session).__name__}")


def check_pacer_and_store(pacer: Pacer | None, token_store: TokenStore | None) -> None:
    """Raise `ConfigError` for an object that is no `Pacer`, or no `TokenStore`."""
    if pacer is not None and not isinstance(pacer, Pacer):
        raise ConfigError(f"pacer must be a MachinePace or the like, not {type(pacer).__name__}")
    if token_store is not None and not isinstance(token_store, TokenStore):
        raise ConfigError(f"token_store must be MachineTokens or the like, not {type(token_store).__name__}")
