"""The parameters of a DSN that libpq accepts and the driver does not.

The driver would send each parameter it does not have to the server, which refuses it as an unknown setting.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from ekb_async.errors import ConfigError

_WITHOUT_EFFECT = frozenset(
    {
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("client_encoding", "gssencmode", "load_balance_hosts", "sslcompression", "sslcertmode", "sslsni"),
        *("channel_binding", "min_protocol_version", "max_protocol_version"),
    }
)
"""Parameters without which a connection is as safe; vanished peers are detected in another way, see `pool`."""

_UNSUPPORTED = {
    "channel_binding": {"require"},
    "gssencmode": {"require"},
    "sslcertmode": {"require"},
}
"""Values of these without which a connection would be less safe than the user wants."""

_NEVER = frozenset({"hostaddr", "replication", "require_auth", "requirepeer", "sslcrldir"})
"""Parameters that demand what the driver cannot do, whatever their value."""

_SHORTEST_TIMEOUT = 2
"""libpq takes a timeout of one second for two."""


class ConnectionParameters(NamedTuple):
    """A DSN for the driver, and how many seconds opening a connection may take; None if the DSN does not say it."""

    dsn: str
    connect_timeout: float | None


def connection_parameters(dsn: str) -> ConnectionParameters:
    """Return the parameters of a connection to a database as libpq understands its DSN.

    Raises `ConfigError` naming a parameter that demands what the driver cannot do.
    """
    address, _, query = dsn.partition("?")
    timeout: float | None = None
    kept: list[tuple[str, str]] = []
    given = parse_qsl(query, keep_blank_values=True)
    for name, value in given:
        if name in _NEVER or value in _UNSUPPORTED.get(name, ()):
            raise ConfigError(f"the PostgreSQL DSN has {name}, which is not supported with this value")
        if name == "connect_timeout":
            timeout = _timeout(value)
        elif name == "fallback_application_name":
            if "application_name" not in dict(given):
                kept.append(("application_name", value))
        elif name not in _WITHOUT_EFFECT:
            kept.append((name, value))
    if kept == given:
        return ConnectionParameters(dsn, timeout)
    return ConnectionParameters(f"{address}?{urlencode(kept)}" if kept else address, timeout)


def _timeout(value: str) -> float | None:
    """Return a timeout in seconds, None if it says that there is none."""
    try:
        seconds = int(value)
    except ValueError:
        raise ConfigError("connect_timeout in the PostgreSQL DSN must be a whole number of seconds") from None
    return float(max(_SHORTEST_TIMEOUT, seconds)) if seconds > 0 else None
