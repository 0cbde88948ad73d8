"""Batching: callers that each want one key share requests of many keys.

There is no timer. Keys requested in one iteration of the event loop are sent together at once, as long as fewer than
`in_flight` requests are in flight; otherwise they collect and are sent as requests end. A key that is already waiting
or in flight is not sent again. Every caller has a future of its own, so cancelling one caller does not affect others.

One key may cause the vendor to refuse a batch, or none: `ekb_async.aio.batch_search` decides what is sent next.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from ekb_async.aio.batch_search import Part, Refusals, may_be_one_keys_fault, slices
from ekb_async.aio.tasks import TaskScope
from ekb_async.errors import EkbError, SessionClosedError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FewerKeysError(EkbError):
    """Raised by `fetch` if a request cannot take that many keys and `size` has been lowered; no caller gets it.

    `found` holds the values fetched so far.
    """

    def __init__(self, found: Mapping[Any, Any]) -> None:
        super().__init__("fewer keys at a time")
        self.found = found


class BatchStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one batched call since the session was opened."""

    keys: int
    """IDs sent; an ID requested by several callers at once counts once."""
    requests: int
    mean_batch: float
    """IDs per request."""


class Batcher(Generic[K, V]):
    """Combines `load(key)` of many callers into few calls of `fetch(keys)`, with at most `size` keys each."""

    def __init__(
        self, name: str, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]], *, size: int, in_flight: int
    ) -> None:
        self.size = size
        self._name = name
        self._fetch = fetch
        self._max_in_flight = in_flight
        self._loop = asyncio.get_running_loop()
        self._collecting: dict[K, None] = {}
        self._parts: deque[Part[K]] = deque()
        self._refusals: Refusals[K] = Refusals()
        self._callers: dict[K, asyncio.Future[V | None]] = {}
        """The first caller of each key."""
        self._further_callers: dict[K, list[asyncio.Future[V | None]]] = {}
        self._in_flight = 0
        self._scheduled = False
        self._closed = False
        self._scope = TaskScope()
        self._keys_sent = 0
        self._requests = 0

    def __repr__(self) -> str:
        return f"<Batcher {self._name}: {len(self._callers)} keys wanted, {self._in_flight} requests in flight>"

    def load(self, key: K) -> asyncio.Future[V | None]:
        """Return a future for the value of a key, None if the vendor has none; it raises the error of the request.

        A key is not sent once all its callers have been cancelled. Raises `SessionClosedError` after `close`.
        """
        if self._closed:
            raise _closed_error()
        caller: asyncio.Future[V | None] = self._loop.create_future()
        if self._callers.setdefault(key, caller) is not caller:
            self._further_callers.setdefault(key, []).append(caller)
            return caller
        self._collecting[key] = None
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        return caller

    async def load_each(self, keys: Iterable[K]) -> dict[K, V | EkbError | None]:
        """Return the value or the error of every key, in the order given and without duplicates."""
        return await all_settled({key: self.load(key) for key in dict.fromkeys(keys)})

    def stats(self) -> BatchStats:
        mean = self._keys_sent / self._requests if self._requests else 0.0
        return BatchStats(keys=self._keys_sent, requests=self._requests, mean_batch=mean)

    async def close(self, timeout: float) -> None:
        """Fail keys not sent yet with `SessionClosedError`, and wait up to `timeout` seconds for requests in flight."""
        self._closed = True
        waiting = [
            *self._collecting,
            *(key for part in self._parts for key in part.keys),
            *self._refusals.deferred_keys,
        ]
        self._collecting.clear()
        self._parts.clear()
        self._refusals.reset()
        self._settle_all(waiting, _closed_error())
        # A request whose callers have all been cancelled is not waited for.
        await self._scope.finish(timeout if any(map(self._wanted, list(self._callers))) else 0.0)
        self._settle_all(list(self._callers), _closed_error())

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._in_flight < self._max_in_flight and not self._closed:
            part = self._next_part()
            if part is None:
                break
            self._in_flight += 1
            self._scope.start(self._send(part), name=f"ekb {self._name} batch")
        self._settle_given_up()
        if not self._callers:
            # Earlier refusals must not affect later callers.
            self._refusals.reset()

    def _next_part(self) -> Part[K] | None:
        while self._parts or self._collecting:
            if self._parts:
                part = self._parts.popleft()
            else:
                part = Part(list(itertools.islice(self._collecting, self.size)))
                for key in part.keys:
                    del self._collecting[key]
            if keys := [key for key in part.keys if self._wanted(key)]:
                return Part(keys, part.search)
            self._part_ended(part)
        return None

    def _wanted(self, key: K) -> bool:
        """Return whether a caller still waits for a key; drop the key if not."""
        if not self._callers[key].cancelled():
            return True
        if not all(caller.cancelled() for caller in self._further_callers.get(key, ())):
            return True
        del self._callers[key]
        self._further_callers.pop(key, None)
        return False

    async def _send(self, part: Part[K]) -> None:
        batch = part.keys
        self._requests += 1
        self._keys_sent += len(batch)
        try:
            found = await self._fetch(batch)
        except FewerKeysError as error:
            self._keys_sent -= len(batch) - len(error.found)
            for key, value in error.found.items():
                self._settle(key, value)
            if part.search is not None:
                part.search.pending_parts += 1
            self._send_next([Part([key for key in batch if key not in error.found], part.search)])
        except EkbError as error:
            self._refused(part, error)
        except Exception as error:  # noqa: BLE001 - its callers must get any error
            self._settle_all(batch, error)
        else:
            self._send_next(self._refusals.answered(part.search))
            for key in batch:
                self._settle(key, found.get(key))
        finally:
            self._in_flight -= 1
            if not self._closed:
                self._part_ended(part)
            self._dispatch()

    def _refused(self, part: Part[K], error: EkbError) -> None:
        if not may_be_one_keys_fault(error):
            if part.search is not None:
                part.search.is_alike = False
            self._settle_all(part.keys, error)
        elif len(part.keys) == 1:
            self._send_next(self._refusals.key_refused(part.keys[0], error, part.search))
            self._settle_all(part.keys, error)
        else:
            self._keys_sent -= len(part.keys)
            self._send_next(self._refusals.batch_refused(part.keys, error, part.search))

    def _send_next(self, parts: list[Part[K]]) -> None:
        """Queue these parts before all others, in requests of at most `size` keys."""
        for part in reversed(parts):
            pieces = [Part(keys, part.search) for keys in slices(part.keys, self.size)]
            self._parts.extendleft(reversed(pieces))
            if part.search is not None:
                part.search.pending_parts += len(pieces) - 1

    def _part_ended(self, part: Part[K]) -> None:
        if part.search is None:
            return
        given_up = self._refusals.given_up
        before = len(given_up)
        self._send_next(self._refusals.part_ended(part.search))
        for key in given_up[-1] if len(given_up) > before else ():
            # Move behind all keys requested so far, one of which may show that the endpoint works.
            self._callers[key] = self._callers.pop(key)

    def _settle_given_up(self) -> None:
        """Fail keys that were given up, as soon as all keys requested before are settled or given up too."""
        given_up = self._refusals.given_up
        while given_up and next(iter(self._callers), None) in given_up[0]:
            self._settle_all(given_up.popleft(), self._refusals.error())

    # Callers

    def _settle(self, key: K, value: V | None) -> None:
        first = self._callers.pop(key, None)
        if first is not None and not first.done():
            first.set_result(value)
        if self._further_callers:
            for caller in self._further_callers.pop(key, ()):
                if not caller.done():
                    caller.set_result(value)

    def _settle_all(self, keys: Iterable[K], error: Exception) -> None:
        for key in keys:
            first = self._callers.pop(key, None)
            for caller in (first, *self._further_callers.pop(key, ())):
                if caller is not None and not caller.done():
                    caller.set_exception(error.again() if isinstance(error, EkbError) else error)


class BatcherGroup(Generic[K, V]):
    """Batchers of one kind of look-up that sends keys to several places, made when a place gets its first key."""

    def __init__(self, make: Callable[[str], Batcher[K, V]]) -> None:
        self._make = make
        self._batchers: dict[str, Batcher[K, V]] = {}
        self._closed = False

    def to(self, place: str) -> Batcher[K, V]:
        """Return the batcher of a place. Raises `SessionClosedError` after `close`."""
        if self._closed:
            raise _closed_error()
        if place not in self._batchers:
            self._batchers[place] = self._make(place)
        return self._batchers[place]

    def stats(self) -> BatchStats:
        """Return the counts of all places together."""
        each = [batcher.stats() for batcher in self._batchers.values()]
        keys, requests = sum(one.keys for one in each), sum(one.requests for one in each)
        return BatchStats(keys=keys, requests=requests, mean_batch=keys / requests if requests else 0.0)

    async def close(self, timeout: float) -> None:
        """Close all batchers as `Batcher.close` does."""
        self._closed = True
        await asyncio.gather(*(batcher.close(timeout) for batcher in self._batchers.values()))


async def all_settled(callers: Mapping[K, asyncio.Future[V | None]]) -> dict[K, V | EkbError | None]:
    """Return the value or the error of every future of `Batcher.load`; they are cancelled if this is."""
    try:
        if callers:
            await asyncio.wait(callers.values())
        return {key: _settled(caller) for key, caller in callers.items()}
    finally:
        for caller in callers.values():
            # Retrieving the error keeps asyncio from logging it as never retrieved.
            if not caller.cancel() and not caller.cancelled():
                caller.exception()


def _settled(caller: asyncio.Future[Any]) -> Any:
    error = caller.exception()
    if error is None:
        return caller.result()
    if isinstance(error, EkbError):
        return error
    raise error


def _closed_error() -> SessionClosedError:
    return SessionClosedError("the session is closed")
