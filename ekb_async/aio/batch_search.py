"""What a batcher does about requests that are refused as a whole.

A batch the vendor refuses may be one key's fault. It is split until the culprit stands alone, and only callers of that
one get the error. Transient failures never get here: they are retried whole by the API call.

A refusal may also be meant for the call and not for any key, and then no key helps. While nothing has been answered, a
call is in one of these states:

- `UNKNOWN`: the first refused batch is searched; further ones that are refused alike wait for what comes of it.
- `FAILS`: enough keys were refused alone, all alike. Of each further batch a few keys are asked for alone; if they are
  refused too, the others are given up, with an error that says that the request met it.
- `WORKS`: something was answered, or keys were refused for reasons of their own. Refusals are those of keys from now
  on. What waits is searched, and what was given up and has not got its error yet is taken back and searched as well.

So a single good key, wherever it is, brings out all others that were asked for with it, and a call that fails for
everything costs few requests. All of this is forgotten when nobody waits for a key any more.

Nothing here awaits: each event gives the parts that are to be asked for next.
"""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbError,
    InvoiceNotFoundError,
    PermissionDeniedError,
    ServerError,
    ThrottledError,
)
from ekb_async.redaction.quoting import names_what_was_sent

_HALVED = 7
"""Refused parts of a search after which it goes on with single keys, if nothing has been answered."""
_ENOUGH = 64
"""Keys refused alone, one after another, that show that the call does not work."""
_SAMPLES = 5
"""Keys of a further batch that are asked for alone then."""
_VARYING = re.compile(r"[\w:.-]*\d[\w:.-]*", re.ASCII)
"""What differs between two texts of one meaning: numbers, moments, names of requests."""

K = TypeVar("K", bound=Hashable)


class Search(Generic[K]):
    """The search for the culprits among the keys of a refused request."""

    __slots__ = ("error", "is_alike", "is_answered", "parts", "refusals", "refused_keys", "rest")

    def __init__(self, error: EkbError, rest: Sequence[K] = ()) -> None:
        self.error = error
        self.rest = list(rest)
        """Keys that are given up if all that are asked for are refused."""
        self.parts = 0
        """Parts under way and to come."""
        self.refusals = 0
        self.refused_keys = 0
        self.is_answered = False
        self.is_alike = True

    @property
    def shows_failure(self) -> bool:
        """Whether everything it asked for was refused alike."""
        return self.is_alike and self.refused_keys > 0 and not self.is_answered


class Part(msgspec.Struct, Generic[K], frozen=True):
    """Keys to be asked for in one request, and the search they belong to."""

    keys: list[K]
    search: Search[K] | None = None


class CallState(enum.Enum):
    """What is known of a call while callers wait for keys."""

    UNKNOWN = enum.auto()
    FAILS = enum.auto()
    WORKS = enum.auto()


class Refusals(Generic[K]):
    """The refusals of one call, and what waits for their outcome."""

    def __init__(self) -> None:
        self.given_up: deque[dict[K, None]] = deque()
        """Keys that are taken back if anything is answered before their callers get the error."""
        self.state = CallState.UNKNOWN
        self._pattern: EkbError | None = None
        self._refused_alone = 0
        self._first: Search[K] | None = None
        self._waiting: list[list[K]] = []

    @property
    def held(self) -> list[K]:
        """All keys that are neither asked for nor about to be."""
        return [key for batch in (*self._waiting, *self.given_up) for key in batch]

    def error(self) -> EkbError:
        """Return the error for keys that were given up."""
        assert self._pattern is not None  # noqa: S101 - nothing is given up without
        error = self._pattern.again()
        error.of_request = True
        return error

    def forget(self) -> None:
        """Begin anew, since nobody waits for a key."""
        self.state = CallState.UNKNOWN
        self._refused_alone = 0
        self._first = None
        self._waiting.clear()
        self.given_up.clear()

    def batch_refused(self, batch: list[K], error: EkbError, search: Search[K] | None) -> list[Part[K]]:
        """Note that a request with several keys was refused."""
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
        """Note that a key was refused alone."""
        if search is None:
            return []
        search.refused_keys += 1
        if refused_alike({key: error}, search.error):
            return []
        search.is_alike = False
        return self._works()

    def answered(self, search: Search[K] | None) -> list[Part[K]]:
        """Note that a request was answered."""
        if search is not None:
            search.is_answered = True
        return self._works()

    def part_ended(self, search: Search[K]) -> list[Part[K]]:
        """Note that one part of a search has ended, and with the last one the search."""
        search.parts -= 1
        if search.parts:
            return []
        if self.state is not CallState.WORKS:
            self._refused_alone = self._refused_alone + search.refused_keys if search.shows_failure else 0
            if self._refused_alone >= _ENOUGH:
                self.state, self._pattern = CallState.FAILS, search.error
        asked: list[Part[K]] = []
        if search.rest and search.shows_failure and self.state is CallState.FAILS:
            self.given_up.append(dict.fromkeys(search.rest))
        elif search.rest:
            asked.append(Part(search.rest))
        if search is self._first:
            self._first = None
            asked += self._resume()
        return asked

    def _works(self) -> list[Part[K]]:
        if self.state is CallState.WORKS:
            return []
        self.state, self._first = CallState.WORKS, None
        taken_back = [Part(list(batch)) for batch in self.given_up]
        self.given_up.clear()
        return [*self._resume(), *taken_back]

    def _resume(self) -> list[Part[K]]:
        waiting, self._waiting = self._waiting, []
        if self.state is CallState.FAILS and self._pattern is not None:
            return [part for batch in waiting for part in _samples(batch, self._pattern)]
        return [Part(batch) for batch in waiting]


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


def _split(batch: list[K], search: Search[K]) -> list[Part[K]]:
    search.refusals += 1
    # Where everything is refused, halves find nothing.
    count = 2 if search.is_answered or search.refusals <= _HALVED else len(batch)
    step = -(-len(batch) // count)
    return _parts(batch, step, search)


def _samples(batch: list[K], error: EkbError) -> list[Part[K]]:
    """Return a few keys of a batch, each alone, from the first to the last; what comes of them goes for the others."""
    samples = {batch[(len(batch) - 1) * n // (_SAMPLES - 1)]: None for n in range(_SAMPLES)}
    return _parts(list(samples), 1, Search(error, [key for key in batch if key not in samples]))


def _parts(keys: list[K], step: int, search: Search[K]) -> list[Part[K]]:
    parts = [Part(keys[i : i + step], search) for i in range(0, len(keys), step)]
    search.parts += len(parts)
    return parts
