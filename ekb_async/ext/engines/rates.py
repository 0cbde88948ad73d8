"""The rates at which wakeups become due: those of the tenants' own sessions.

A worker makes the tenants' sessions, so it has their settings. A program that only adds calls needs none.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable

from ekb_async.config import SessionConfig
from ekb_async.errors import ConfigError
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.session.tenant_file import TenantCredentials

_log = logging.getLogger("ekb_async.engines")

ConfigOf = Callable[[str], SessionConfig | Awaitable[SessionConfig]]
"""Gives the settings of a tenant's sessions; the rates and `rate_guard` are used here."""

Config = SessionConfig | TenantCredentials | Callable[[str], SessionConfig]
"""What users give: the settings of all tenants, their accounts, or a function of the tenant."""


def config_of(config: Config | None) -> ConfigOf | None:
    """Return a function that gives the settings of a tenant, None without any. Raises `ConfigError` for other types."""
    if config is None:
        return None
    if isinstance(config, SessionConfig):
        return lambda _: config
    if isinstance(config, TenantCredentials):
        return config.config
    if callable(config):
        return config
    raise ConfigError(f"config must be a SessionConfig or a function of the tenant, not {type(config).__name__}")


async def configs_of(tenants: Iterable[str], config_of: ConfigOf) -> dict[str, SessionConfig]:
    """Return the settings of each tenant; the defaults, with a warning, for one whose settings cannot be found."""
    wanted = list(dict.fromkeys(tenants))
    configs = await asyncio.gather(*(_config(tenant, config_of) for tenant in wanted))
    return dict(zip(wanted, configs, strict=True))


async def _config(tenant: str, config_of: ConfigOf) -> SessionConfig:
    try:
        found = config_of(tenant)
        # The calls of other tenants are planned together with those of this one.
        async with asyncio.timeout(LIMITS.settings_seconds):
            return await found if inspect.isawaitable(found) else found
    except Exception as error:  # noqa: BLE001 - no error of one tenant stops the others
        _log.warning("tenant %r is planned by the default rates: %s", tenant, type(error).__name__)
        return SessionConfig()
