"""The session of `ekb doctor`, which makes each call once and notes the corporation that a token belongs to."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Self

from ekb_async import EkbSession, MachinePace, SessionConfig
from ekb_async.client.addresses import checked_base_url
from ekb_async.client.environment import Environment
from ekb_async.client.transport import AiohttpTransport, Transport
from ekb_async.config import AppCredentials, Credentials
from ekb_async.errors import ConfigError, ResponseError
from ekb_async.models.wire.envelope import value_of
from ekb_async.pacing.rule import Pacer
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply


class DoctorSession(EkbSession):
    """A session with the settings of the environment and a watched transport."""

    def __init__(self, credentials: Credentials, *, base_url: str, config: SessionConfig, **shared: Any) -> None:
        self.environment = Environment()
        network = AiohttpTransport(checked_base_url(base_url), config, None, self.environment)
        self.token_watch = TokenWatch(network)
        self.has_keys = isinstance(credentials, AppCredentials)
        super().__init__(credentials, base_url=base_url, config=config, transport=self.token_watch, **shared)

    async def platform_of(self, corporation: str) -> str:
        """Return the address of a corporation's platform as `locate` does, over this session's transport."""
        return await self._platform_of(corporation)

    @classmethod
    def with_timeout(cls, seconds: float) -> Self:
        """Return a session whose attempts take `seconds` at most. Raises `ConfigError` as `from_env` does."""
        config = SessionConfig(
            max_tries=1, request_timeout=seconds, connect_timeout=seconds, read_timeout=seconds, close_timeout=0
        )
        return cls.from_env(config=config, pacer=_pacer())


class TokenWatch:
    """A transport that passes everything on and notes what the reply to the token call says."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.is_issued = False
        """Whether the vendor has issued a token."""
        self.corporation = ""
        """The corporation that the token belongs to; "" if the reply does not name it."""

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        reply = await self._transport.send(request, token=token, timeout=timeout, on_sent=on_sent)
        if request.endpoint is endpoints.TOKEN:
            self._note(reply.body)
        return reply

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        return await self._transport.download(url, timeout=timeout, write=write)

    async def close(self) -> None:
        await self._transport.close()

    def _note(self, body: bytes) -> None:
        # The session itself reports a reply that holds no token.
        with contextlib.suppress(ResponseError):
            corporation = value_of(endpoints.TOKEN.read(body).corporation_id)
            self.is_issued = True
            self.corporation = corporation if isinstance(corporation, str) else ""


def _pacer() -> Pacer | None:
    try:
        return MachinePace()
    except ConfigError:
        # The check of the state directory reports it.
        return None
