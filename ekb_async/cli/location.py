"""Where a backlog is: in a file, or in a PostgreSQL database given by a DSN.

A DSN may hold a password, and the output of a command may end up in a log. So a DSN is printed only if every part of it
is known (user, hosts, database, a few parameters), and without its password. A printed command works if the password is
in `PGPASSWORD` or `~/.pgpass`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ekb_async.errors import ConfigError

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/", re.IGNORECASE)  # a single letter is a Windows drive
_POSTGRES = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
_KNOWN_SHAPE = re.compile(
    r"postgres(?:ql)?://"
    r"(?:(?P<user>[\w.%~+-]*)(?::[^@/?#\s]*)?@)?"
    r"(?P<hosts>[\w.,:\[\]-]*)"
    r"(?P<database>/[\w.%~+-]*)?"
    r"(?:\?(?P<query>[^#\s]*))?"
)
_HOSTS = re.compile(r"(?:(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?(?:,|$))*")
_HARMLESS = {"host", "port", "user", "dbname", "sslmode", "target_session_attrs"}
_NEEDS_QUOTES = re.compile(r"""[\s'"$&;|<>()`*?!#]""")
_ANY_URL = re.compile(r"""\b[a-z][a-z0-9+.-]+:/[^\s'"]*""", re.IGNORECASE)


class Location:
    """A backlog as given on the command line; its text shows no password."""

    def __init__(self, text: str) -> None:
        self.dsn = "postgresql" + text[text.index(":") :] if _POSTGRES.match(text) else None
        self._text = text
        self._other_url = self.dsn is None and _URL.match(text) is not None
        label = "DB" if self._other_url else _argument(text)
        self._label = shlex.quote(_without_password(self.dsn)) if self.dsn is not None else label

    def __str__(self) -> str:
        return self._label

    def __repr__(self) -> str:
        return f"<Location {self._label}>"

    @property
    def where(self) -> Path | str:
        """The argument for `Backlog.open`. Raises `ConfigError` for any other URL."""
        if self._other_url:
            raise ConfigError("DB is a file, or a DSN that begins with postgresql://")
        return self.dsn or Path(self._text)


def _argument(text: str) -> str:
    """Return a path as it can be pasted into a shell; one without blanks and quotes is as it was given."""
    return shlex.quote(text) if _NEEDS_QUOTES.search(text) else text


def check_files(*paths: Path | None) -> None:
    """Raise `ConfigError`, without quoting it, for a URL in place of a file."""
    if any(path is not None and _URL.match(str(path)) for path in paths):
        raise ConfigError("expected a file, not a URL; a DSN can only stand for DB")


def without_urls(text: str) -> str:
    """Return a text, which may quote the command line, with its URLs masked."""
    return _ANY_URL.sub("***", text)


def _without_password(dsn: str) -> str:
    found = _KNOWN_SHAPE.fullmatch(dsn)
    if found is None or _HOSTS.fullmatch(found["hosts"]) is None:
        return "DSN"
    parameters = [each.partition("=")[::2] for each in (found["query"] or "").split("&") if each]
    if any(name not in _HARMLESS | {"password"} for name, _ in parameters):
        return "DSN"
    query = "&".join(f"{name}={value}" for name, value in parameters if name != "password")
    user = f"{found['user']}@" if found["user"] else ""
    return f"postgresql://{user}{found['hosts']}{found['database'] or ''}" + (f"?{query}" if query else "")
