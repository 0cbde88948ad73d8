"""A vendor that accepts a tenant's request at an interface only one interval after the last accepted one.

A tenant's access token is its name, and so is its app key. Requests for tokens take as long as calls and have no rate.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVarTuple, Unpack

from benchmarks.bodies import body
from benchmarks.canned_vendor import TOKEN_PATH, VERIFY_PATH
from benchmarks.connection import Connection, listening
from benchmarks.contest import Figures, Served
from benchmarks.hosts.load import Load, size_of

Ts = TypeVarTuple("Ts")

BEGIN_PATH = "/begin"
"""A request here starts the clock."""

_NOTHING = b'{"items": []}'
_REFUSAL = json.dumps({"errorCode": 429, "errorMessage": "请求过于频繁"}).encode()


@asynccontextmanager
async def strict_vendor(load: Load) -> AsyncIterator[Served]:
    """Serve on loopback; the figures are the times of the last answer to tenants of each size."""
    seen = _Seen(load)
    async with listening(lambda: _Connection(load, seen)) as base_url:
        yield Served(base_url, seen.report)


class _Seen:
    """The requests received so far."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._now = asyncio.get_running_loop().time
        self._began = 0.0
        self._taken_at: dict[str, float] = {}
        self._times_made: Counter[tuple[str, bytes]] = Counter()
        self._last_answer: dict[str, float] = {}
        self._refused = 0
        self.tokens: Counter[str] = Counter()

    def begin(self) -> None:
        self._began = self._now()

    def is_taken(self, target: str) -> bool:
        """Return whether a request comes late enough after the last accepted one with the same token and path."""
        now = self._now()
        if now - self._taken_at.get(target, float("-inf")) < 1 / self._load.rate:
            self._refused += 1
            return False
        self._taken_at[target] = now
        return True

    def answered(self, tenant: str, content: bytes) -> None:
        self._times_made[tenant, content] += 1
        self._last_answer[size_of(tenant)] = self._now()

    def report(self) -> Figures:
        """Return the figures; sizes with unfinished calls are reported as done at the limit."""
        wanted = {size: number * calls for size, number, calls in self._load.tenants}
        made = Counter(size_of(tenant) for tenant, _ in self._times_made)
        last = {
            size: self._last_answer[size] - self._began if made[size] == wanted[size] else self._load.limit
            for size in wanted
        }
        answers = self._times_made.total()
        return last | {
            "made": 100 * made.total() / sum(wanted.values()),
            "refused": 100 * self._refused / max(1, self._refused + answers),
            "twice": sum(times > 1 for times in self._times_made.values()),
            "tokens": max(self.tokens.values(), default=0),
        }


class _Connection(Connection):
    _verified = body("verify")

    def __init__(self, load: Load, seen: _Seen) -> None:
        super().__init__()
        self._latency = load.latency
        self._seen = seen

    def answer(self, target: str, content: bytes) -> None:
        if target == BEGIN_PATH:
            self._seen.begin()
            self.send(b"{}")
        elif target == TOKEN_PATH:
            tenant = json.loads(content)["appKey"]
            self._seen.tokens[tenant] += 1
            self._later(self.send, _grant(tenant))
        elif not target.startswith(VERIFY_PATH):
            self.send(_NOTHING)
        elif self._seen.is_taken(target):
            self._later(self._send_answer, target.rpartition("accessToken=")[2], content)
        else:
            self.send(_REFUSAL, "429 Too Many Requests")

    def _later(self, send: Callable[[Unpack[Ts]], None], *content: *Ts) -> None:
        asyncio.get_running_loop().call_later(self._latency, send, *content)

    def _send_answer(self, tenant: str, content: bytes) -> None:
        self._seen.answered(tenant, content)
        self.send(self._verified)


def _grant(tenant: str) -> bytes:
    expiry = int(time.time() + 7200) * 1000
    return json.dumps({"value": {"accessToken": tenant, "refreshToken": "refresh", "expireTime": expiry}}).encode()
