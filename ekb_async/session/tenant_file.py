"""The accounts of tenants in a file, TOML or JSON as its suffix says: a table per tenant.

    ["Acme Ltd"]
    app_key = "…"
    app_security = "…"
    base_url = "https://app.ekuaibao.com"
    verify_rate = 2.0

It holds secrets, so errors name the tenant and the field and never what stands there, and a file that others on the
machine can read is worth a warning.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import tomllib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Self

import msgspec

from ekb_async.client.transport import checked_base_url
from ekb_async.config import AppCredentials, Credentials, SessionConfig, StaticToken
from ekb_async.errors import ConfigError
from ekb_async.session.session import DEFAULT_BASE_URL, EkbSession
from ekb_async.validation import checked_number, checked_text

_log = logging.getLogger("ekb_async.tenants")

_KEYS = {"app_key", "app_security"}
_RATES = ("ocr_rate", "verify_rate")
_FIELDS = {*_KEYS, "access_token", "base_url", *_RATES}


class _Account(msgspec.Struct, frozen=True):
    """What the file says about one tenant."""

    credentials: Credentials
    base_url: str
    rates: dict[str, float]


class TenantCredentials:
    """The accounts of tenants, read from a file: `TenantSessions(TenantCredentials.read("tenants.toml"))`.

    Called with a tenant's name it makes its session. Its names are what `in`, `iter` and `len` are about.
    """

    def __init__(
        self, source: Path, accounts: dict[str, _Account], config: SessionConfig, *, allow_http: bool = False
    ) -> None:
        self._allow_http = allow_http
        self._source = source
        self._accounts = accounts
        self._config = config

    @classmethod
    def read(
        cls,
        path: str | PathLike[str],
        *,
        config: SessionConfig | None = None,
        base_url: str = DEFAULT_BASE_URL,
        allow_http: bool = False,
    ) -> Self:
        """Reads a file (.toml, .json) of tenants, at once: from a running loop, by `asyncio.to_thread`.

        Each has `app_key` and `app_security`, or `access_token`, and may have a `base_url` (otherwise the one given
        here), and an `ocr_rate` and a `verify_rate` that take the place of those of `config`, which holds for all.
        `allow_http` is as for `EkbSession`.
        Raises `ConfigError` naming file, tenant and field of what is wrong. Logs a warning if others can read the file.
        """
        source = Path(path)
        tables = _tables(source)
        checked_base_url(base_url, allow_http=allow_http)
        accounts = {}
        for tenant, table in tables.items():
            try:
                accounts[tenant] = _account(checked_text("its name", tenant), table, base_url, allow_http=allow_http)
            except ConfigError as error:
                raise ConfigError(f"{source}: tenant {tenant!r}: {error}") from None
        return cls(source, accounts, config or SessionConfig(), allow_http=allow_http)

    def __repr__(self) -> str:
        return f"<TenantCredentials of {len(self)} tenants in {str(self._source)!r}>"

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __contains__(self, tenant: object) -> bool:
        return tenant in self._accounts

    def __call__(self, tenant: str) -> EkbSession:
        """A new session of a tenant. Raises `ConfigError` if the file has no such tenant."""
        account = self._accounts.get(tenant)
        if account is None:
            raise ConfigError(f"{self._source}: there is no tenant {tenant!r}")
        config = msgspec.structs.replace(self._config, **account.rates)
        return EkbSession(account.credentials, base_url=account.base_url, config=config, allow_http=self._allow_http)


def _account(tenant: str, table: object, base_url: str, *, allow_http: bool) -> _Account:
    if not isinstance(table, dict):
        raise ConfigError("expected a table of fields")
    if unknown := sorted(table.keys() - _FIELDS):
        raise ConfigError(f"there is no field {unknown[0]!r}; the fields are {', '.join(sorted(_FIELDS))}")
    return _Account(
        _credentials(table),
        checked_base_url(table.get("base_url", base_url), allow_http=allow_http),
        {rate: _rate(rate, table[rate]) for rate in _RATES if rate in table},
    )


def _credentials(table: dict[str, Any]) -> Credentials:
    if "access_token" in table:
        if table.keys() & _KEYS:
            raise ConfigError("give either app_key and app_security, or access_token")
        return StaticToken(checked_text("access_token", table["access_token"]))
    if missing := sorted(_KEYS - table.keys()):
        raise ConfigError(f"{' and '.join(missing)} missing; give app_key and app_security, or access_token")
    return AppCredentials(app_key=table["app_key"], app_security=table["app_security"])


def _rate(field: str, value: object) -> float:
    try:
        return checked_number(field, value, above=0, most=1_000_000)
    except ConfigError:  # which shows the value
        raise ConfigError(f"{field} must be a number above 0 and at most 1,000,000") from None


def _tables(source: Path) -> dict[str, Any]:
    suffix = source.suffix.lower()
    if suffix not in {".toml", ".json"}:
        raise ConfigError(f"{source}: a file of tenants ends in .toml or .json")
    text = _text(source)
    try:
        tables = tomllib.loads(text) if suffix == ".toml" else json.loads(text, object_pairs_hook=_once_each)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except (ValueError, RecursionError) as error:  # whose texts tell of the place, not of what stands there
        raise ConfigError(f"{source}: this is no {suffix[1:].upper()}: {error}") from None
    if not isinstance(tables, dict):
        raise ConfigError(f"{source}: expected a table for each tenant")
    return tables


def _text(source: Path) -> str:
    try:
        with source.open("rb") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                _log.warning("%s holds secrets and others can read it: chmod 600 makes it private", source)
            return file.read().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source}: this is not UTF-8") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, in which a name that stands twice would hide an account."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigError(f"{name!r} stands there twice")
        found[name] = value
    return found
