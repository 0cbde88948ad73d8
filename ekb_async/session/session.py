"""`EkbSession`: every invoice interface of the vendor as an awaitable call."""

from __future__ import annotations

from ekb_async.session.any_call import AnyCall
from ekb_async.session.free_calls import FreeCalls
from ekb_async.session.paid_calls import PaidCalls
from ekb_async.session.record_calls import RecordCalls


class EkbSession(PaidCalls, FreeCalls, RecordCalls, AnyCall):
    """A connection to one enterprise at Ekuaibao / Hesi; an async context manager.

    `credentials` is `AppCredentials` or `StaticToken`, `base_url` the address of the enterprise's platform. http:// to
    any host but this machine needs `allow_http`. Proxies and certificate authorities are taken from the environment
    unless `trust_env` is False. An injected `client_session` (for tracing, or another kind of proxy) is used as it is
    and not closed. A `transport` replaces the network (see `ekb_async.simulation`).

    Pace and access token belong to the session by default. `pacer=MachinePace()` and `token_store=MachineTokens()`
    share them among all processes on this machine, those of `ekb_async.postgres` among all hosts on a database.
    Raises `ConfigError` for wrong arguments.

    Errors common to all calls are `AuthError`, `PermissionDeniedError`, `InvalidRequestError`, `ThrottledError`,
    `ServerError`, `EkbConnectionError`, `EkbTimeoutError`, `ResponseError` and `SessionClosedError`; a billed call also
    raises `OutcomeUnknownError` with `repeat_unknown=False`.
    """
