"""Who is calling: an enterprise's app key and secret, or a ready access token."""

from __future__ import annotations

from typing import Any

import msgspec

from ekb_async.arguments import checked_text


class AppCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """App key and secret of an enterprise, exchanged for access tokens at `/api/openapi/v1/auth/getAccessToken`.

    Raises `ConfigError` if one of them is empty.
    """

    app_key: str
    app_security: str

    def __post_init__(self) -> None:
        checked_text("app_key", self.app_key)
        checked_text("app_security", self.app_security)

    def __repr__(self) -> str:
        return f"AppCredentials(app_key={self.app_key!r}, app_security='***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("app_key", self.app_key), ("app_security", "***")]


class StaticToken(msgspec.Struct, frozen=True):
    """An access token obtained elsewhere; it is used as it is and never renewed.

    Raises `ConfigError` if it is empty.
    """

    token: str

    def __post_init__(self) -> None:
        checked_text("token", self.token)

    def __repr__(self) -> str:
        return "StaticToken('***')"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("token", "***")]


Credentials = AppCredentials | StaticToken
