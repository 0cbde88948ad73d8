"""Reading documents in the order of their changes, while more of them change.

A document that changes moves to the end, and all behind it move towards pages that were read already. Therefore a page
does not begin at a number of documents but at the time when the latest document read so far was changed. That time is
in seconds. If more documents than a page holds were changed within one second, the pages of this second overlap, as
they do if the vendor's platform does not sort or select documents by the time of their changes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Self

from ekb_async.models import Document
from ekb_async.models.wire.coerce import CHINA
from ekb_async.protocol.decoding import Page
from ekb_async.protocol.endpoints import MAX_PAGE
from ekb_async.session.records.limits import LIMITS
from ekb_async.session.records.overlap import RepeatCheck, is_last_page

FetchDocuments = Callable[[Iterable[tuple[str, str]]], Awaitable[Page[Document]]]
"""Returns the documents that a query selects."""
_Version = tuple[str, datetime | None]
"""A document at one time: its ID, and when it was changed last."""

_ANY_TIME = (datetime(2010, 1, 1, tzinfo=CHINA), datetime(2099, 12, 31, tzinfo=CHINA))
"""A period that contains every document."""


class DocumentWalk:
    """The documents of one type, those that changed first coming first: iterate over it with `async for`.

    At most one page is held. After an error, iterating again goes on where it stopped. A document that changes during
    the walk may be returned twice, first as it was and then as it is.
    """

    def __init__(
        self,
        fetch: FetchDocuments,
        document_type: str,
        states: Collection[str] | None,
        since: datetime | None,
        until: datetime | None,
    ) -> None:
        self._fetch = fetch
        self._type = document_type
        self._states = None if states is None else frozenset(states)
        self._since = self._read_until = since
        begin, end = _ANY_TIME
        self._until = None if until is None or until >= end else max(until, begin)
        if since is not None and since > begin:
            begin = min(since, end) - timedelta(seconds=LIMITS.border_seconds)
        self._begin = self._from = begin.astimezone(CHINA).replace(microsecond=0)
        self._offset = 0
        self._steps = 0
        self._repeats = RepeatCheck()
        self._is_ordered = True
        self._is_read = False
        self._reading = asyncio.Lock()
        self._seen: dict[_Version, None] = {}
        self._ready: deque[Document] = deque()

    @property
    def next_since(self) -> datetime | None:
        """The `updated_since` of a later walk that returns what this one has not, and what changes from now on.

        It is when the latest document was changed, or the argument before there is one. That walk returns again what
        had changed in the last seconds before.
        """
        if not self._is_ordered and not self._is_read:
            return self._since
        waiting = [document.updated_at for document in self._ready if document.updated_at is not None]
        return min(waiting) if waiting else self._read_until

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Document:
        while not self._ready:
            if self._is_read:
                raise StopAsyncIteration
            # One page at a time, however many tasks iterate.
            async with self._reading:
                if not self._ready and not self._is_read:
                    await self._read_on()
        return self._ready.popleft()

    async def _read_on(self) -> None:
        page = await self._fetch(self._query())
        versions = [(each.id or each.raw.decode(errors="replace"), each.updated_at) for each in page]
        if self._skips_documents(versions, page.total):
            self._steps += 1
            self._offset = max(0, self._offset - MAX_PAGE)
            return
        new = {version: each for version, each in zip(versions, page, strict=True) if version not in self._seen}
        self._seen.update(dict.fromkeys(new))
        self._ready.extend(filter(self._is_wanted, new.values()))
        self._steps = 0
        self._repeats.note_page(found_new=bool(new))
        self._move_on([time for _, time in versions], page.total, found_new=bool(new))

    def _query(self) -> list[tuple[str, str]]:
        until = _ANY_TIME[1] if self._until is None else self._until.astimezone(CHINA)
        query = {
            "type": self._type,
            "start": str(self._offset),
            "count": str(MAX_PAGE),
            "orderBy": "updateTime",
            "orderByType": "asc",
            "startDate": _written(self._from),
            "endDate": _written(until + timedelta(seconds=until.microsecond > 0)),
        }
        if self._states is not None and len(self._states) == 1:
            (query["state"],) = self._states
        return list(query.items())

    def _skips_documents(self, versions: Sequence[_Version], total: int | None) -> bool:
        """Return whether documents may lie between those read so far and this page."""
        if not versions and total is not None and total > self._offset:
            # The vendor counts documents that it does not list.
            return False
        may_step_back = self._offset > 0 and self._steps < LIMITS.steps_back
        return may_step_back and self._seen.keys().isdisjoint(versions)

    def _is_wanted(self, document: Document) -> bool:
        if self._states is not None and document.state not in self._states:
            return False
        return self._until is None or document.updated_at is None or document.updated_at < self._until

    def _move_on(self, times: Sequence[datetime | None], total: int | None, *, found_new: bool) -> None:
        known = [time for time in times if time is not None]
        self._read_until = max([*known, *filter(None, [self._read_until])], default=None)
        is_last = not times or is_last_page(self._offset, MAX_PAGE, len(times), total)
        if is_last or (len(times) < MAX_PAGE and not found_new):
            self._is_read = True
            return
        sorted_times = len(known) == len(times) and all(first <= second for first, second in itertools.pairwise(known))
        if self._is_ordered and not (sorted_times and all(time >= self._from for time in known)):
            self._is_ordered = False
            self._offset = 0 if self._from > self._begin else self._offset
            self._from = self._begin
        latest_second = known[-1].replace(microsecond=0) if known else self._from
        if self._is_ordered and latest_second > self._from:
            # Those of this page are kept until the next one shows that the vendor selects by time.
            self._seen = {version: None for version in self._seen if version[1] is None or version[1] >= self._from}
            self._from, self._offset = latest_second, 0
        else:
            self._offset += MAX_PAGE - LIMITS.overlap


def _written(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
