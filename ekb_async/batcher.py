"""Fan-in: many callers that each want one key share requests that carry many.

There is no timer. What is asked for in one turn of the event loop goes out together at once, as long as fewer than
`in_flight` requests are out; while they are, further keys collect and leave as requests come back. A key asked for
while it waits or is on its way is not sent again, and every caller has a future of its own, so that cancelling one
disturbs no other.

A batch the vendor refuses may be one key's fault. It is split until the culprit stands alone, and only who asked for
that one hears of it. Transient failures never get here: they are retried whole by the API call.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from operator import methodcaller
from typing import Any, Generic, TypeVar

from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbError,
    PermissionDeniedError,
    ResponseError,
    ServerError,
    SessionClosedError,
    ThrottledError,
)
from ekb_async.stats import BatchStats
from ekb_async.task_scope import TaskScope

_is_cancelled = methodcaller("cancelled")

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Batcher(Generic[K, V]):
    """Turns `load(key)` of many callers into few `fetch(keys)`, of at most `size` keys each."""

    def __init__(
        self, name: str, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]], *, size: int, in_flight: int
    ) -> None:
        self.size = size
        self._name = name
        self._fetch = fetch
        self._in_flight = in_flight
        self._loop = asyncio.get_running_loop()
        self._collecting: dict[K, None] = {}
        self._parts: deque[list[K]] = deque()
        self._callers: dict[K, list[asyncio.Future[V | None]]] = {}
        self._out = 0
        self._scheduled = False
        self._closed = False
        self._scope = TaskScope()
        self._keys_sent = 0
        self._requests = 0

    def __repr__(self) -> str:
        return f"<Batcher {self._name}: {len(self._callers)} keys wanted, {self._out} requests out>"

    def load(self, key: K) -> asyncio.Future[V | None]:
        """The key's value, None if the vendor has none; or what the request raised.

        To be awaited. A key is not sent any more once all who asked for it were cancelled.
        """
        if self._closed:
            raise _closed_error()
        caller: asyncio.Future[V | None] = self._loop.create_future()
        if key in self._callers:
            self._callers[key].append(caller)
            return caller
        self._callers[key] = [caller]
        self._collecting[key] = None
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        return caller

    async def load_each(self, keys: Iterable[K]) -> dict[K, V | EkbError | None]:
        """The value or the error of every key, in the order given, duplicates dropped."""
        callers = {key: self.load(key) for key in dict.fromkeys(keys)}
        try:
            if callers:
                await asyncio.wait(callers.values())
            return {key: _settled(caller) for key, caller in callers.items()}
        finally:
            for caller in callers.values():
                # Asking for an error that nobody waits for any more marks it as seen.
                if not caller.cancel() and not caller.cancelled():
                    caller.exception()

    def stats(self) -> BatchStats:
        mean = self._keys_sent / self._requests if self._requests else 0.0
        return BatchStats(keys=self._keys_sent, requests=self._requests, mean_batch=mean)

    async def close(self, timeout: float) -> None:
        """Keys not sent yet fail with `SessionClosedError`; requests under way have `timeout` seconds."""
        self._closed = True
        waiting = [*self._collecting, *(key for part in self._parts for key in part)]
        self._collecting.clear()
        self._parts.clear()
        self._settle_all(waiting, _closed_error())
        # A request that everybody who asked for it has left need not come back.
        await self._scope.finish(timeout if any(map(self._wanted, list(self._callers))) else 0.0)
        self._settle_all(list(self._callers), _closed_error())

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._out < self._in_flight and not self._closed:
            batch = self._next_batch()
            if not batch:
                return
            self._out += 1
            self._scope.start(self._send(batch), name=f"ekb {self._name} batch")

    def _next_batch(self) -> list[K]:
        batch: list[K] = []
        while (self._parts or self._collecting) and not batch:
            if self._parts:
                taken = self._parts.popleft()
            else:
                taken = list(itertools.islice(self._collecting, self.size))
                for key in taken:
                    del self._collecting[key]
            batch = [key for key in taken if self._wanted(key)]
        return batch

    def _wanted(self, key: K) -> bool:
        """Whether anybody still waits for a key; otherwise it is forgotten."""
        if not all(map(_is_cancelled, self._callers[key])):
            return True
        del self._callers[key]
        return False

    async def _send(self, batch: list[K]) -> None:
        self._requests += 1
        self._keys_sent += len(batch)
        try:
            found = await self._fetch(batch)
        except EkbError as error:
            if len(batch) > 1 and may_be_one_keys_fault(error):
                self._keys_sent -= len(batch)
                self._split(batch)
            else:
                self._settle_all(batch, error)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._settle_all(batch, error)
        else:
            for key in batch:
                self._settle(key, found.get(key))
        finally:
            self._out -= 1
            self._dispatch()

    def _split(self, batch: list[K]) -> None:
        step = min(self.size, (len(batch) + 1) // 2)
        self._parts.extendleft(batch[i : i + step] for i in reversed(range(0, len(batch), step)))

    def _settle(self, key: K, value: V | None) -> None:
        for caller in self._callers.pop(key, ()):
            if not caller.done():
                caller.set_result(value)

    def _settle_all(self, keys: Iterable[K], error: Exception) -> None:
        for key in keys:
            for caller in self._callers.pop(key, ()):
                if not caller.done():
                    caller.set_exception(error.again() if isinstance(error, EkbError) else error)


def may_be_one_keys_fault(error: EkbError) -> bool:
    """Whether the vendor may have refused a whole request because of one of its keys."""
    if isinstance(error, ApiError):
        return not isinstance(error, AuthError | PermissionDeniedError | ThrottledError | ServerError)
    return isinstance(error, ResponseError) and not error.lost


def _settled(caller: asyncio.Future[Any]) -> Any:
    error = caller.exception()
    if error is None:
        return caller.result()
    if isinstance(error, EkbError):
        return error
    raise error


def _closed_error() -> SessionClosedError:
    return SessionClosedError("the session is closed")
