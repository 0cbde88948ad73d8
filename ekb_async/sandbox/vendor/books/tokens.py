"""The vendor's access tokens.

A token is valid for two hours and may be refreshed before it expires, which gives a new pair. Whether the old pair is
revoked at once is not documented; here it stays valid until it expires, since calls under way still use it. A token
that is missing or was never issued answers 401; one that has expired, was revoked or is not yet valid answers 403.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from ekb_async.sandbox.vendor.exchange import RefusedError
from ekb_async.sandbox.vendor.rules import Rules

_POWER_CODE = "219904"


@dataclass
class TokenPair:
    """An access token with its refresh token; times are epoch seconds."""

    access: str
    refresh: str
    issued_at: float
    expires_at: float
    revoked: bool = False


class TokenBook:
    """All tokens issued so far."""

    def __init__(self, rules: Rules, secret: bytes) -> None:
        self._rules = rules
        self._secret = secret
        self._pairs: dict[str, TokenPair] = {}

    @property
    def issued(self) -> int:
        """The number of access tokens issued, refreshed ones included."""
        return len(self._pairs)

    @property
    def secrets(self) -> list[str]:
        """All access and refresh tokens issued, for tests that search for leaked ones."""
        return [token for pair in list(self._pairs.values()) for token in (pair.access, pair.refresh)]

    def log_in(self, app_key: str, app_security: str, at: float) -> TokenPair:
        """Issue a new pair. Raise 403 密钥无效 for wrong keys."""
        if app_key != self._rules.app_key or app_security != self._rules.app_security:
            raise RefusedError(403, "密钥无效")
        return self._issue(at, self._rules.token_lifetime)

    def refresh(self, access: str, refresh: str, power_code: str, at: float) -> TokenPair:
        """Issue a new pair for a valid one. Raise 403 未授权 for any other."""
        pair = self._pairs.get(access)
        if pair is None or pair.refresh != refresh or power_code != _POWER_CODE or _has_ended(pair, at):
            raise RefusedError(403, "未授权")
        lifetime = self._rules.refreshed_lifetime
        return self._issue(at, self._rules.token_lifetime if lifetime is None else lifetime)

    def check(self, access: str, at: float) -> None:
        """Raise 401 请先登录 for a token that is missing or unknown, 403 未授权 for one that is not valid."""
        pair = self._pairs.get(access)
        if pair is None:
            raise RefusedError(401, "请先登录")
        if _has_ended(pair, at) or at < pair.issued_at + self._rules.token_settle:
            raise RefusedError(403, "未授权")

    def revoke_all(self) -> None:
        """Revoke every token issued so far."""
        for pair in list(self._pairs.values()):  # a copy, since the sandbox may run in another thread
            pair.revoked = True

    def _issue(self, at: float, lifetime: float) -> TokenPair:
        number = len(self._pairs)
        pair = TokenPair(self._text("access", number), self._text("refresh", number), at, at + lifetime)
        self._pairs[pair.access] = pair
        return pair

    def _text(self, purpose: str, number: int) -> str:
        digest = hmac.new(self._secret, f"{purpose} {number}".encode(), hashlib.sha256).hexdigest()
        return f"ID01{digest[:24]}:{self._rules.corporation}"


def _has_ended(pair: TokenPair, at: float) -> bool:
    return pair.revoked or at >= pair.expires_at
