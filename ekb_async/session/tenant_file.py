"""Reading the accounts of tenants from a file, TOML or JSON by its suffix, with one table per tenant:

    ["Acme Ltd"]
    app_key = "…"
    app_security = "…"
    base_url = "https://app.ekuaibao.com"
    verify_rate = 2.0

The file may be changed while it is in use: `TenantSessions` and everything built on it uses the new accounts within
seconds. A file that cannot be read then, or has an error, leaves the accounts as they are and causes a warning.

The file holds secrets. Errors therefore name the tenant and the field but never the value, and a file that other users
of the machine can read causes a warning.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import stat
import threading
import tomllib
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from ekb_async.aio.tasks import in_thread
from ekb_async.client.addresses import checked_base_url
from ekb_async.config import AppCredentials, Credentials, SessionConfig, StaticToken
from ekb_async.errors import ConfigError
from ekb_async.session.opening import DEFAULT_BASE_URL
from ekb_async.session.session import EkbSession
from ekb_async.validation import checked_number, checked_place, checked_text

_log = logging.getLogger("ekb_async.tenants")

_KEY_FIELDS = {"app_key", "app_security"}
_RATE_FIELDS = ("ocr_rate", "verify_rate")
_FIELDS = {*_KEY_FIELDS, "access_token", "base_url", *_RATE_FIELDS}


Prepare = Callable[[EkbSession, str], EkbSession]
"""Returns the session that it is given, with the name of its tenant."""


class _Account(NamedTuple):
    """What the file says of a tenant, and the settings of all."""

    credentials: Credentials
    base_url: str
    config: SessionConfig
    allow_http: bool

    @property
    def identity(self) -> object:
        """What equals `EkbSession.identity` of the sessions made with it."""
        return self.credentials, self.base_url, self.config

    def session(self) -> EkbSession:
        return EkbSession(self.credentials, base_url=self.base_url, config=self.config, allow_http=self.allow_http)


class TenantCredentials:
    """The accounts of tenants, read from a file: `TenantSessions(TenantCredentials.read("tenants.toml"))`.

    Called with a tenant's name, it makes a session of that tenant. `in`, `iter` and `len` work on the names. Pass it
    as it is: a function around it hides from `TenantSessions` that accounts have changed.
    """

    def __init__(
        self,
        source: Path,
        reader: Callable[[], dict[str, _Account]],
        prepare: Prepare | None,
        without_tenant: Callable[[], EkbSession] | None,
    ) -> None:
        self._source = source
        self._reader = reader
        self._prepare = prepare
        self._without_tenant = without_tenant
        # A slow read in one thread must not replace what another has read since.
        self._reading = threading.Lock()
        # Taken before the file is read, so that a change meanwhile is noticed.
        self._version = _version(source)
        self._accounts = reader()
        self.revision = 1
        """How often the file was read, its first time included."""

    @classmethod
    def read(
        cls,
        path: str | PathLike[str],
        *,
        config: SessionConfig | None = None,
        base_url: str = DEFAULT_BASE_URL,
        allow_http: bool = False,
        prepare: Prepare | None = None,
        without_tenant: Callable[[], EkbSession] | None = None,
    ) -> Self:
        """Read a file (.toml, .json) of tenants. Blocks; use `asyncio.to_thread` from a running loop.

        Each tenant has `app_key` and `app_security`, or `access_token`. It may have a `base_url`, by default the
        argument, and an `ocr_rate` and a `verify_rate` (starts per second) that override those of `config`, which
        applies to all tenants. `allow_http` is as for `EkbSession`. `prepare` gets each new session and the name of its
        tenant, and returns the session, for `Telemetry.instrument` and the like. `without_tenant` makes the session for
        the tenant "".

        Raises `ConfigError` naming the file, and the tenant and field that are wrong. Logs a warning if other users can
        read the file.
        """
        source = checked_place("path", path)
        checked_base_url(base_url, allow_http=allow_http)
        reader = functools.partial(
            _accounts, source, config=config or SessionConfig(), base_url=base_url, allow_http=allow_http
        )
        return cls(source, reader, prepare, without_tenant)

    def __repr__(self) -> str:
        return f"<TenantCredentials of {len(self)} tenants in {str(self._source)!r}>"

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __contains__(self, tenant: object) -> bool:
        return tenant in self._accounts

    def __call__(self, tenant: str) -> EkbSession:
        """Make a session of a tenant; first read the file again if it has changed, which blocks for that moment.

        Raises `ConfigError` if the file has no such tenant.
        """
        self._refresh()
        if not tenant and self._without_tenant is not None:
            session = self._without_tenant()
        else:
            session = self._account(tenant).session()
        return session if self._prepare is None else self._prepare(session, tenant)

    def identity(self, tenant: str) -> object:
        """Return what equals `EkbSession.identity` of a tenant's sessions; None if the file has no such tenant."""
        account = self._accounts.get(tenant)
        return None if account is None else account.identity

    def config(self, tenant: str) -> SessionConfig:
        """Return the settings of a tenant's sessions. Raises `ConfigError` if the file has no such tenant."""
        return self._account(tenant).config

    async def refresh(self) -> None:
        """Read the file again if it has changed. An error is logged, and the accounts stay as they are."""
        await in_thread(self._refresh)

    def _refresh(self) -> None:
        with self._reading:
            version = _version(self._source)
            if version == self._version:
                return
            self._version = version
            try:
                self._accounts = self._reader()
                self.revision += 1
            except ConfigError as error:
                _log.warning("the accounts of tenants stay as they are: %s", error)
            else:
                _log.info("%s has changed; it has %d tenants now", self._source, len(self))

    def _account(self, tenant: str) -> _Account:
        account = self._accounts.get(tenant)
        if account is None:
            raise ConfigError(f"{self._source}: there is no tenant {tenant!r}")
        return account


def _version(source: Path) -> tuple[int, ...]:
    """Return what changes whenever a file is changed or replaced; nothing if it cannot be found."""
    try:
        status = source.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


def _accounts(source: Path, *, config: SessionConfig, base_url: str, allow_http: bool) -> dict[str, _Account]:
    accounts = {}
    for tenant, table in _tables(source).items():
        try:
            checked_text("its name", tenant)
            accounts[tenant] = _account(table, config, base_url, allow_http=allow_http)
        except ConfigError as error:
            raise ConfigError(f"{source}: tenant {tenant!r}: {error}") from None
    return accounts


def _account(table: object, config: SessionConfig, base_url: str, *, allow_http: bool) -> _Account:
    """Return the account of a tenant with these fields."""
    if not isinstance(table, dict):
        raise ConfigError("expected a table of fields")
    if unknown := sorted(table.keys() - _FIELDS):
        raise ConfigError(f"there is no field {unknown[0]!r}; the fields are {', '.join(sorted(_FIELDS))}")
    rates = {rate: _rate(rate, table[rate]) for rate in _RATE_FIELDS if rate in table}
    return _Account(
        _credentials(table),
        checked_base_url(table.get("base_url", base_url), allow_http=allow_http),
        msgspec.structs.replace(config, **rates),
        allow_http,
    )


def _credentials(table: dict[str, Any]) -> Credentials:
    if "access_token" in table:
        if table.keys() & _KEY_FIELDS:
            raise ConfigError("give either app_key and app_security, or access_token")
        return StaticToken(checked_text("access_token", table["access_token"]))
    if missing := sorted(_KEY_FIELDS - table.keys()):
        raise ConfigError(f"{', '.join(missing)} missing; give app_key and app_security, or access_token")
    return AppCredentials(app_key=table["app_key"], app_security=table["app_security"])


def _rate(field: str, value: object) -> float:
    try:
        return checked_number(field, value, above=0, most=1_000_000)
    except ConfigError:  # its text quotes the value
        raise ConfigError(f"{field} must be a number above 0 and at most 1,000,000") from None


def _tables(source: Path) -> dict[str, Any]:
    suffix = source.suffix.lower()
    if suffix not in {".toml", ".json"}:
        raise ConfigError(f"{source}: a file of tenants ends in .toml or .json")
    text = _text(source)
    try:
        tables = tomllib.loads(text) if suffix == ".toml" else json.loads(text, object_pairs_hook=_unique_names)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except (ValueError, RecursionError) as error:  # their texts give the position, not the value
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


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raise `ConfigError` for a repeated name, which would hide an account."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigError(f"{name!r} appears twice")
        found[name] = value
    return found
