"""The vendor's access tokens.

A token lives two hours and may be refreshed before it ends, which gives a new pair. Whether the old pair dies at once
is not documented; here it lives on until its own end, as calls already on their way carry it. A token that is missing
or was never issued answers 401, one that has ended, was revoked or is not in force yet 403.
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
    """Every token issued so far."""

    def __init__(self, rules: Rules, secret: bytes) -> None:
        self._rules = rules
        self._secret = secret
        self._pairs: dict[str, TokenPair] = {}

    @property
    def issued(self) -> int:
        """How many access tokens were issued, refreshed ones included."""
        return len(self._pairs)

    @property
    def secrets(self) -> list[str]:
        """Every access and refresh token issued, for tests that look for one where it must not be."""
        return [token for pair in list(self._pairs.values()) for token in (pair.access, pair.refresh)]

    def log_in(self, app_key: str, app_security: str, at: float) -> TokenPair:
        """A new pair for the right keys; 403 密钥无效 for wrong ones."""
        if app_key != self._rules.app_key or app_security != self._rules.app_security:
            raise RefusedError(403, "密钥无效")
        return self._issue(at, self._rules.token_lifetime)

    def refresh(self, access: str, refresh: str, power_code: str, at: float) -> TokenPair:
        """A new pair for one that has not ended; 403 未授权 otherwise."""
        pair = self._pairs.get(access)
        if pair is None or pair.refresh != refresh or power_code != _POWER_CODE or _is_dead(pair, at):
            raise RefusedError(403, "未授权")
        lifetime = self._rules.refreshed_lifetime
        return self._issue(at, self._rules.token_lifetime if lifetime is None else lifetime)

    def check(self, access: str, at: float) -> None:
        """Raises 401 请先登录 for a token that is missing or unknown, 403 未授权 for one that is not in force."""
        pair = self._pairs.get(access)
        if pair is None:
            raise RefusedError(401, "请先登录")
        if _is_dead(pair, at) or at < pair.issued_at + self._rules.token_settle:
            raise RefusedError(403, "未授权")

    def revoke_all(self) -> None:
        """Puts every token issued so far out of force."""
        for pair in list(self._pairs.values()):  # the sandbox may run in another thread
            pair.revoked = True

    def _issue(self, at: float, lifetime: float) -> TokenPair:
        number = len(self._pairs)
        pair = TokenPair(self._text("access", number), self._text("refresh", number), at, at + lifetime)
        self._pairs[pair.access] = pair
        return pair

    def _text(self, purpose: str, number: int) -> str:
        digest = hmac.new(self._secret, f"{purpose} {number}".encode(), hashlib.sha256).hexdigest()
        return f"ID01{digest[:24]}:{self._rules.corporation}"


def _is_dead(pair: TokenPair, at: float) -> bool:
    return pair.revoked or at >= pair.expires_at
