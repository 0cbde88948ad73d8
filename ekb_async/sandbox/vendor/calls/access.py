"""The calls that issue access tokens."""

from __future__ import annotations

from typing import Any

from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.books.tokens import TokenPair
from ekb_async.sandbox.vendor.calls.handler import Handlers
from ekb_async.sandbox.vendor.exchange import VendorRequest, json_object, text_field


class AccessCalls:
    """Access token and refresh."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.handlers: Handlers = {"token": self._token, "refresh": self._refresh}

    def _token(self, request: VendorRequest, at: float) -> Any:
        body = json_object(request)
        keys = text_field(body, "appKey"), text_field(body, "appSecurity")
        return self._issued(self._books.tokens.log_in(*keys, at))

    def _refresh(self, request: VendorRequest, at: float) -> Any:
        query = request.query
        access, refresh = query.get("accessToken", ""), query.get("refreshToken", "")
        return self._issued(self._books.tokens.refresh(access, refresh, query.get("powerCode", ""), at))

    def _issued(self, pair: TokenPair) -> Any:
        return {
            "value": {
                "accessToken": pair.access,
                "refreshToken": pair.refresh,
                "expireTime": int(pair.expires_at * 1000),
                "corporationId": self._books.rules.corporation,
            }
        }
