"""The search for the refused keys in batches that the vendor refuses as a whole.

One key may cause the vendor to refuse a batch. The batch is split until that key is alone, and only its callers get the
error. Transient failures are not handled here: the API call retries the whole batch.

A refusal may also concern the endpoint instead of any key, and then every key is refused. An endpoint is in one of
these states:

- `UNKNOWN`: the first refused batch is searched; further batches with the same refusal wait for the result.
- `FAILS`: enough keys were refused alone, all with the same refusal. Of each further batch a few samples are sent
  alone; if they are refused too, the other keys are given up, with an error marked as one of the request.
- `WORKS`: a request was answered, or keys were refused for different reasons. From now on refusals concern keys.
  Waiting batches are searched, and so are keys that were given up but whose callers have not got the error yet.

So a single good key, in any batch, leads to a search of all others requested at the time, and an endpoint that refuses
everything costs few requests. The state is reset when no caller waits for a key any more.

Nothing here awaits: each event returns the parts to send next.
"""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ekb_async.aio.limits import LIMITS
from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbError,
    InvoiceNotFoundError,
    PermissionDeniedError,
    ServerError,
    ThrottledError,
)
from ekb_async.redaction.quoting import quotes

_VARYING = re.compile(r"[\w:.-]*\d[\w:.-]*", re.ASCII)
"""Words that differ between texts of the same meaning: numbers, times, request IDs."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Search(Generic[K]):
    """The search for the refused keys of one batch."""

    __slots__ = ("error", "is_alike", "is_answered", "pending_parts", "refusals", "refused_keys", "rest")

    def __init__(self, error: EkbError, rest: Sequence[K] = ()) -> None:
        self.error = error
        self.rest = list(rest)
        """Keys that are given up if all samples are refused."""
        self.pending_parts = 0
        """Parts in flight or queued."""
        self.refusals = 0
        self.refused_keys = 0
        self.is_answered = False
        self.is_alike = True

    @property
    def shows_failure(self) -> bool:
        """Whether every key sent alone was refused with the same refusal, and nothing was answered."""
        return self.is_alike and self.refused_keys > 0 and not self.is_answered


class Part(msgspec.Struct, Generic[K], frozen=True):
    """Keys to send in one request, and the search they belong to."""

    keys: list[K]
    search: Search[K] | None = None


class CallState(enum.Enum):
    """Whether an endpoint works, as far as its refusals show; see the module."""

    UNKNOWN = enum.auto()
    FAILS = enum.auto()
    WORKS = enum.auto()


class Refusals(Generic[K]):
    """The refusals of one endpoint, and the keys that wait for the result of a search."""

    def __init__(self) -> None:
        self.given_up: deque[dict[K, None]] = deque()
        """Batches of keys that are sent after all if a request is answered before their callers get the error."""
        self.state = CallState.UNKNOWN
        self._pattern: EkbError | None = None
        self._refused_alone = 0
        self._first: Search[K] | None = None
        self._waiting: list[list[K]] = []

    @property
    def deferred_keys(self) -> list[K]:
        """All keys that are neither in flight nor queued."""
        return [key for batch in (*self._waiting, *self.given_up) for key in batch]

    def error(self) -> EkbError:
        """Return the error for keys that were given up."""
        assert self._pattern is not None  # noqa: S101 - nothing is given up without
        error = self._pattern.again()
        error.of_request = True
        return error

    def reset(self) -> None:
        """Discard the state, since no caller waits for a key."""
        self.state = CallState.UNKNOWN
        self._refused_alone = 0
        self._first = None
        self._waiting.clear()
        self.given_up.clear()

    def batch_refused(self, batch: list[K], error: EkbError, search: Search[K] | None) -> list[Part[K]]:
        """Record the refusal of a request with several keys, and return the parts to send next."""
        if search is not None:
            return _split(batch, search)
        if self.state is CallState.FAILS and self._pattern is not None and _alike(error, self._pattern):
            return _samples(batch, self._pattern)
        if self.state is CallState.UNKNOWN and self._first is not None and _alike(error, self._first.error):
            self._waiting.append(batch)
            return []
        search = Search(error)
        if self.state is CallState.UNKNOWN and self._first is None:
            self._first = search
        return _split(batch, search)

    def key_refused(self, key: K, error: EkbError, search: Search[K] | None) -> list[Part[K]]:
        """Record the refusal of a single key, and return the parts to send next."""
        if search is None:
            return []
        search.refused_keys += 1
        if refused_alike({key: error}, search.error):
            return []
        search.is_alike = False
        return self._works()

    def answered(self, search: Search[K] | None) -> list[Part[K]]:
        """Record that a request was answered, and return the parts to send next."""
        if search is not None:
            search.is_answered = True
        return self._works()

    def part_ended(self, search: Search[K]) -> list[Part[K]]:
        """Record the end of one part of a search, and return the parts to send next if it was the last part."""
        search.pending_parts -= 1
        if search.pending_parts:
            return []
        if self.state is not CallState.WORKS:
            self._refused_alone = self._refused_alone + search.refused_keys if search.shows_failure else 0
            if self._refused_alone >= LIMITS.refused_keys_before_failure:
                self.state, self._pattern = CallState.FAILS, search.error
        next_parts: list[Part[K]] = []
        if search.rest and search.shows_failure and self.state is CallState.FAILS:
            self.given_up.append(dict.fromkeys(search.rest))
        elif search.rest:
            next_parts.append(Part(search.rest))
        if search is self._first:
            self._first = None
            next_parts += self._resume()
        return next_parts

    def _works(self) -> list[Part[K]]:
        if self.state is CallState.WORKS:
            return []
        self.state, self._first = CallState.WORKS, None
        restored = [Part(list(batch)) for batch in self.given_up]
        self.given_up.clear()
        return [*self._resume(), *restored]

    def _resume(self) -> list[Part[K]]:
        waiting, self._waiting = self._waiting, []
        if self.state is CallState.FAILS and self._pattern is not None:
            return [part for batch in waiting for part in _samples(batch, self._pattern)]
        return [Part(batch) for batch in waiting]


def may_be_one_keys_fault(error: EkbError) -> bool:
    """Return whether the vendor may have refused a whole request because of one of its keys."""
    if isinstance(error, InvoiceNotFoundError):
        return True
    if not isinstance(error, ApiError) or 300 <= error.status < 400 or error.is_absent:
        return False
    return not isinstance(error, AuthError | PermissionDeniedError | ThrottledError | ServerError)


def refused_alike(errors: Mapping[Any, EkbError], pattern: EkbError | None = None) -> bool:
    """Return whether the errors of several keys have one common reason, which is therefore not in the keys.

    The reason is that of `pattern`, or of the first error. An error whose text names its key concerns that key, and so
    does one that reports that the invoice does not exist.
    """
    pattern = pattern or next(iter(errors.values()), None)
    return pattern is not None and all(
        _alike(error, pattern) and not quotes(getattr(error, "message", ""), str(key)) for key, error in errors.items()
    )


def _alike(error: EkbError, pattern: EkbError) -> bool:
    if isinstance(error, InvoiceNotFoundError) or not (isinstance(error, ApiError) and isinstance(pattern, ApiError)):
        return False
    facts = [(type(each), each.status, each.code, _VARYING.sub("", each.message)) for each in (error, pattern)]
    return facts[0] == facts[1]


def slices(items: list[T], size: int) -> list[list[T]]:
    """Return the items in lists of at most `size`."""
    return [items[first : first + size] for first in range(0, len(items), size)]


def _split(batch: list[K], search: Search[K]) -> list[Part[K]]:
    search.refusals += 1
    is_halved = search.is_answered or search.refusals <= LIMITS.refused_parts_before_single_keys
    count = 2 if is_halved else len(batch)
    step = -(-len(batch) // count)
    return _parts(batch, step, search)


def _samples(batch: list[K], error: EkbError) -> list[Part[K]]:
    """Return a few keys spread over a batch as single parts; their result decides about the others."""
    count = LIMITS.sampled_keys
    samples = {batch[(len(batch) - 1) * n // (count - 1)]: None for n in range(count)}
    return _parts(list(samples), 1, Search(error, [key for key in batch if key not in samples]))


def _parts(keys: list[K], step: int, search: Search[K]) -> list[Part[K]]:
    parts = [Part(each, search) for each in slices(keys, step)]
    search.pending_parts += len(parts)
    return parts
