"""Calls of interfaces that the package does not declare, and the one call that needs no keys."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from ekb_async.client.addresses import checked_base_url
from ekb_async.config import Priority, SessionConfig, StaticToken
from ekb_async.errors import ConfigError, ResponseError
from ekb_async.protocol import endpoints
from ekb_async.queue.jobs import Order, result_of
from ekb_async.session.limits import LIMITS
from ekb_async.session.opening import DEFAULT_BASE_URL, SessionBase
from ekb_async.validation import checked_flag, checked_number, checked_text

if TYPE_CHECKING:
    import aiohttp

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PATH = re.compile(r"/(?!/)[^\s?#\\\x00-\x1f]{0,2000}")
_DOTS = re.compile(r"(?:^|/|%2f)(?:\.|%2e){1,2}(?:/|%2f|;|%3b|$)", re.IGNORECASE)
_NO_ESCAPE = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)


class AnyCall(SessionBase):
    """`request` and `locate`."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str | float] | None = None,
        rate: float | None = None,
        billed: bool = False,
        interface: str | None = None,
    ) -> Any:
        """Make any call of the vendor, and return the JSON of its reply, with fractions as Decimal.

        It is made as the declared ones are: with this session's token, retries, errors and hooks. `path` begins with a
        slash and has no query; `json` is the body. With `rate`, starts a second, calls wait in a queue of their own,
        one for each `interface` (the method and path by default; name one if the path has an ID in it). A lost answer
        of a `billed` call counts as `maybe_billed`, and `repeat_unknown` decides whether it is made again; any other
        call is, so mark one as billed if doing it twice does harm. (One without `json` counts as sent when it begins to
        connect.) Such calls have counts in `stats().requests`.

        Returns None if the vendor has nothing to say (status 204). Raises `ConfigError` for wrong arguments,
        `QueueFullError` with a rate, and the errors common to all calls. Vendor path: `path`
        """
        body = None if json is None else _encoded(json)
        sent = (_checked_method(method), _checked_path(path), _checked_query(query or {}), body)
        request = endpoints.any_request(*sent, paced=rate is not None, billed=checked_flag("billed", billed))
        if rate is not None:
            checked_number("rate", rate, above=0, most=LIMITS.most_rate)
        name = f"{method} {request.path}" if interface is None else checked_text("interface", interface)
        if rate is None and not billed:
            return await self._call(request)
        queue = self._open().queue_of(name, request.endpoint, rate or LIMITS.default_rate)
        order: Order[object] = Order(None, lambda _: request, self._config.request_timeout, billed=billed)
        return await result_of(queue.submit(order, Priority.NORMAL))

    @classmethod
    async def locate(
        cls,
        corporation_id: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        config: SessionConfig | None = None,
        client_session: aiohttp.ClientSession | None = None,
        trust_env: bool = True,
        allow_http: bool = False,
    ) -> str:
        """Return the address of an enterprise's platform, to be used as `base_url`. Needs no keys.

        `base_url` is the platform to be asked. Other arguments as for `EkbSession`. Raises `ConfigError` for wrong
        arguments, `ResponseError` for an address that cannot be used, and the errors common to all calls.
        Vendor path: `/api/openapi/v2/location`
        """
        # The call sends no token, but a session needs one.
        session = cls(
            StaticToken(secrets.token_hex()),
            base_url=base_url,
            config=config,
            client_session=client_session,
            trust_env=trust_env,
            allow_http=allow_http,
        )
        async with session:
            return await session._platform_of(corporation_id, allow_http=allow_http)

    async def _platform_of(self, corporation_id: str, *, allow_http: bool = False) -> str:
        """Return the address of an enterprise's platform; sends neither keys nor token."""
        request = endpoints.location(checked_text("corporation_id", corporation_id))
        address = await self._call(request)
        try:
            return checked_base_url(address, allow_http=allow_http)
        except ConfigError as error:
            problem = f"the vendor gave an address that cannot be used: {error}"
        raise ResponseError(problem, endpoint=request.path)


def _checked_method(method: object) -> str:
    if method not in _METHODS:
        raise ConfigError(f"method must be one of {', '.join(_METHODS)}")
    return str(method)


def _checked_path(path: object) -> str:
    """Return a path percent-encoded where it has to be. It leads to the vendor's host and is what it seems."""
    # A server may decode a path twice.
    if not isinstance(path, str) or not _PATH.fullmatch(path) or _DOTS.search(path.replace("%25", "%")):
        raise ConfigError(
            "path must be a path of the vendor that begins with one slash, without query and dot segments"
        )
    checked_text("path", path)
    return quote(_NO_ESCAPE.sub("%25", path), safe="/%:@!$&'()*+,;=-._~")


def _checked_query(query: object) -> list[tuple[str, str]]:
    if not isinstance(query, Mapping):
        raise ConfigError("query must be a mapping of names to values")
    return [(checked_text("query", name), _query_value(name, value)) for name, value in query.items()]


def _query_value(name: str, value: object) -> str:
    if name.lower() == "accesstoken":
        raise ConfigError("query must not contain the access token, which is added to each call")
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"query {name[:80]!r} must be a text or a finite number, not a {type(value).__name__}")
    return checked_text("query", str(value), blank=True)


def _encoded(json: object) -> bytes:
    try:
        return msgspec.json.encode(json)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"json cannot be encoded as JSON: {type(error).__name__}") from None
