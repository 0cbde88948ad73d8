"""Fan-in: many callers that each want one key share requests that carry many.

There is no timer. What is asked for in one turn of the event loop goes out together at once, as long as fewer than
`in_flight` requests are out; while they are, further keys collect and leave as requests come back. A key asked for
while it waits or is on its way is not sent again, and every caller has a future of its own, so that cancelling one
disturbs no other.

A batch the vendor refuses may be one key's fault. It is split until the culprit stands alone, and only callers of that
one get the error. Transient failures never get here: they are retried whole by the API call.

A refusal may also be meant for the call and not for any key, and then no key helps. While the first refused batch is
searched and nothing has been answered, further batches that are refused alike wait. Once enough keys have been refused
alone, all alike, only a few keys of each other batch are asked for alone; if they are refused too, so is the batch,
with an error that says that the request met it. Anything that is answered shows that the call works, and what waits is
split as usual.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import Any, Generic, TypeVar

from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbError,
    InvoiceNotFoundError,
    PermissionDeniedError,
    ServerError,
    SessionClosedError,
    ThrottledError,
)
from ekb_async.refusals import names_what_was_sent
from ekb_async.stats import BatchStats
from ekb_async.task_scope import TaskScope

_is_cancelled = methodcaller("cancelled")

_HALVED = 7
"""Refused parts of a search after which it goes on with single keys, if nothing has been answered."""
_ENOUGH = 64
"""Keys refused alone, one after another, that show that the call does not work."""
_SAMPLES = 5
"""Keys of a further batch that are asked for alone then."""
_VARYING = re.compile(r"[\w:.-]*\d[\w:.-]*", re.ASCII)
"""What differs between two texts of one meaning: numbers, moments, names of requests."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class FewerKeysError(EkbError):
    """A request cannot take as many keys as it was given, and `size` has been lowered. No caller gets this.

    `found` has the answers that are known already.
    """

    def __init__(self, found: Mapping[Any, Any]) -> None:
        super().__init__("fewer keys at a time")
        self.found = found


class _Search(Generic[K]):
    """The search for the culprits among the keys of a refused request."""

    __slots__ = ("error", "is_alike", "is_answered", "parts", "refusals", "refused_keys", "rest")

    def __init__(self, error: EkbError, rest: Sequence[K] = ()) -> None:
        self.error = error
        self.rest = list(rest)
        """Keys that are not searched if all others are refused."""
        self.parts = 0
        """Parts under way and to come."""
        self.refusals = 0
        self.refused_keys = 0
        self.is_answered = False
        self.is_alike = True


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
        self._parts: deque[tuple[list[K], _Search[K] | None]] = deque()
        self._first_search: _Search[K] | None = None
        self._waiting: list[list[K]] = []
        self._hopeless: EkbError | None = None
        self._refused_alone = 0
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
        waiting = [*self._collecting, *(key for part, _ in self._parts for key in part)]
        waiting += (key for batch in self._waiting for key in batch)
        self._collecting.clear()
        self._parts.clear()
        self._waiting.clear()
        self._settle_all(waiting, _closed_error())
        # A request that everybody who asked for it has left need not come back.
        await self._scope.finish(timeout if any(map(self._wanted, list(self._callers))) else 0.0)
        self._settle_all(list(self._callers), _closed_error())

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._out < self._in_flight and not self._closed:
            batch, search = self._next_batch()
            if not batch:
                if not self._callers:
                    # What was refused is of no concern for those who come later.
                    self._forget_refusals()
                return
            self._out += 1
            self._scope.start(self._send(batch, search), name=f"ekb {self._name} batch")

    def _next_batch(self) -> tuple[list[K], _Search[K] | None]:
        while self._parts or self._collecting:
            search = None
            if self._parts:
                taken, search = self._parts.popleft()
            else:
                taken = list(itertools.islice(self._collecting, self.size))
                for key in taken:
                    del self._collecting[key]
            if batch := [key for key in taken if self._wanted(key)]:
                return batch, search
            self._part_over(search)
        return [], None

    def _wanted(self, key: K) -> bool:
        """Whether anybody still waits for a key; otherwise it is forgotten."""
        if not all(map(_is_cancelled, self._callers[key])):
            return True
        del self._callers[key]
        return False

    async def _send(self, batch: list[K], search: _Search[K] | None) -> None:
        self._requests += 1
        self._keys_sent += len(batch)
        try:
            found = await self._fetch(batch)
        except FewerKeysError as error:
            self._keys_sent -= len(batch) - len(error.found)
            self._settle_found(error.found)
            self._put_first([key for key in batch if key not in error.found], self.size, search)
        except EkbError as error:
            self._refused(batch, error, search)
        except Exception as error:  # noqa: BLE001 - the callers must get it, whatever it is
            self._settle_all(batch, error)
        else:
            self._answered(search)
            self._settle_found({key: found.get(key) for key in batch})
        finally:
            self._out -= 1
            if not self._closed:
                self._part_over(search)
            self._dispatch()

    # What is refused

    def _refused(self, batch: list[K], error: EkbError, search: _Search[K] | None) -> None:
        if not may_be_one_keys_fault(error):
            if search is not None:
                search.is_alike = False
            self._settle_all(batch, error)
        elif len(batch) == 1:
            if search is not None:
                search.refused_keys += 1
                search.is_alike &= refused_alike({batch[0]: error}, search.error)
            self._settle_all(batch, error)
        else:
            self._keys_sent -= len(batch)
            self._look_for_culprits(batch, error, search)

    def _look_for_culprits(self, batch: list[K], error: EkbError, search: _Search[K] | None) -> None:
        if search is not None:
            self._split(batch, search)
        elif self._hopeless is not None and _alike(error, self._hopeless):
            self._ask_some(batch, self._hopeless)
        elif self._first_search is None:
            self._first_search = _Search(error)
            self._split(batch, self._first_search)
        elif _alike(error, self._first_search.error):
            self._waiting.append(batch)
        else:
            self._split(batch, _Search(error))

    def _split(self, batch: list[K], search: _Search[K]) -> None:
        search.refusals += 1
        # Where everything is refused, halves find nothing.
        count = 2 if search.is_answered or search.refusals <= _HALVED else len(batch)
        self._put_first(batch, min(self.size, -(-len(batch) // count)), search)

    def _put_first(self, keys: list[K], step: int, search: _Search[K] | None) -> None:
        parts = [keys[i : i + step] for i in range(0, len(keys), step)]
        self._parts.extendleft((part, search) for part in reversed(parts))
        if search is not None:
            search.parts += len(parts)

    def _answered(self, search: _Search[K] | None) -> None:
        if search is not None:
            search.is_answered = True
        self._forget_refusals()
        if self._first_search is not None:
            self._first_search = None
            self._resume_waiting()

    def _forget_refusals(self) -> None:
        self._hopeless = None
        self._refused_alone = 0

    def _part_over(self, search: _Search[K] | None) -> None:
        """One part of a search has ended, and with the last one the search."""
        if search is None:
            return
        search.parts -= 1
        if search.parts:
            return
        is_hopeless = search.is_alike and search.refused_keys > 0 and not search.is_answered
        self._refused_alone = self._refused_alone + search.refused_keys if is_hopeless else 0
        if self._refused_alone >= _ENOUGH:
            self._hopeless = search.error
        if is_hopeless and self._hopeless is not None:
            error = search.error.again()
            error.of_request = True
            self._settle_all(search.rest, error)
        elif search.rest:
            self._put_first(search.rest, self.size, None)
        if search is self._first_search:
            self._first_search = None
            self._resume_waiting()

    def _resume_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for batch in waiting:
            if self._hopeless is not None:
                self._ask_some(batch, self._hopeless)
            else:
                self._put_first(batch, self.size, None)

    def _ask_some(self, batch: list[K], error: EkbError) -> None:
        """Ask for a few keys alone, from the first to the last; what comes of them goes for the others."""
        samples = {batch[(len(batch) - 1) * n // (_SAMPLES - 1)]: None for n in range(_SAMPLES)}
        self._put_first(list(samples), 1, _Search(error, [key for key in batch if key not in samples]))

    # Callers

    def _settle_found(self, found: Mapping[K, V | None]) -> None:
        for key, value in found.items():
            self._settle(key, value)

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
    if isinstance(error, InvoiceNotFoundError):
        return True
    if not isinstance(error, ApiError) or 300 <= error.status < 400 or error.is_absent:
        return False
    return not isinstance(error, AuthError | PermissionDeniedError | ThrottledError | ServerError)


def refused_alike(errors: Mapping[Any, EkbError], pattern: EkbError | None = None) -> bool:
    """Whether one reason stands behind the errors of several keys, so that it is none of theirs.

    The reason is that of `pattern`, or of the first of them. A text that names its key is about the key, and so is one
    that the tax authority or the ledger does not know the invoice.
    """
    pattern = pattern or next(iter(errors.values()), None)
    return pattern is not None and all(
        _alike(error, pattern) and not names_what_was_sent(getattr(error, "message", ""), str(key))
        for key, error in errors.items()
    )


def _alike(error: EkbError, pattern: EkbError) -> bool:
    if isinstance(error, InvoiceNotFoundError) or not (isinstance(error, ApiError) and isinstance(pattern, ApiError)):
        return False
    facts = [(type(each), each.status, each.code, _VARYING.sub("", each.message)) for each in (error, pattern)]
    return facts[0] == facts[1]


def _settled(caller: asyncio.Future[Any]) -> Any:
    error = caller.exception()
    if error is None:
        return caller.result()
    if isinstance(error, EkbError):
        return error
    raise error


def _closed_error() -> SessionClosedError:
    return SessionClosedError("the session is closed")
