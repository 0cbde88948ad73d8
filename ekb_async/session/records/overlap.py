"""Reading a list in pages while it changes, so that no entry is skipped that is there all the time.

A page is a number of entries at a multiple of that number, so an entry that is removed moves all later ones towards
pages that were read already. Each page is therefore chosen so that it begins with a few entries of the page before. If
it contains one that was read before, nothing lies between the two. If it does not, the entries have moved, and earlier
pages are read until one does. This holds as long as the entries keep their order. One that moves to the beginning of
the list because it was changed is found at the end, by reading the beginning of a list that has changed again.

Pure: nothing here waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from ekb_async.errors import ResponseError
from ekb_async.protocol.decoding import Page
from ekb_async.protocol.endpoints import MAX_PAGE
from ekb_async.session.records.limits import LIMITS

T = TypeVar("T")


class PlacedPage(NamedTuple):
    """A page of `size` entries, of which the first is at `start`."""

    start: int
    size: int

    @property
    def number(self) -> int:
        """The number of the page, from 1."""
        return self.start // self.size + 1

    @property
    def end(self) -> int:
        """Where the next page begins."""
        return self.start + self.size


def page_with(position: int) -> PlacedPage:
    """Return the page that contains the entry at a position and reaches furthest behind it."""
    position = max(0, position)
    sizes = range(MAX_PAGE, LIMITS.least_page - 1, -1)
    return max((PlacedPage(position // size * size, size) for size in sizes), key=lambda page: page.end)


def is_last_page(start: int, size: int, count: int, total: int | None) -> bool:
    """Return whether a page of `size` from `start` on, on which the vendor lists `count` entries, is the last.

    `total` is the vendor's count of all. It may include entries that are not listed, and one below what is listed, or
    None, is no count.
    """
    if total is None or total < start + count:
        return count < size
    return start + size >= total


class RepeatCheck:
    """Whether pages still have anything new, so that a list without end is noticed."""

    def __init__(self) -> None:
        self._pages_without_new = 0

    def note_page(self, *, found_new: bool) -> None:
        """Raise `ResponseError` if the pages repeat, however many entries may have been added meanwhile."""
        self._pages_without_new = 0 if found_new else self._pages_without_new + 1
        if self._pages_without_new > LIMITS.pages_without_new:
            raise ResponseError("the pages of the list repeat: the vendor does not seem to count pages")


class ListReader(Generic[T]):
    """One list that is read in overlapping pages: `next_page` is to be fetched, and passed to `take`.

    `position`, `latest` and `total` are those of an earlier reader whose work this one continues.
    """

    def __init__(self, position: int = 0, latest: Sequence[str] = (), total: int | None = None) -> None:
        self.position = position
        """Where the entries that were not read yet begin."""
        self.total = total
        self.changes = 0
        self.is_read = False
        self._seen = set(latest)
        self._latest = deque(latest, maxlen=MAX_PAGE + LIMITS.latest_ids)
        self._last: tuple[int, str] | None = None
        """Position and key of the last entry of the page before."""
        self._is_continued = self._is_finding_its_place = bool(latest)
        self._growth = 0
        self._steps = 0
        self._repeats = RepeatCheck()
        self.at_beginning_again = False
        """Whether all was read once, and the beginning is read again for entries that moved there."""

    @property
    def next_page(self) -> PlacedPage:
        """The page to be fetched next."""
        if self.at_beginning_again or not self.position:
            return page_with(self.position)
        if not self._steps:
            return page_with(self.position - (LIMITS.latest_ids if self._is_finding_its_place else LIMITS.overlap))
        if self._is_finding_its_place and self._steps == 1:
            # Entries added before the position have moved it.
            return page_with(self.position + self._growth - LIMITS.latest_ids)
        back = LIMITS.step_back * (2 ** (self._steps - 1) - 1) + LIMITS.step_back
        last = self.position if self.total is None else min(self.position, self.total)
        return page_with(last - back)

    def latest(self, unused: int) -> list[str]:
        """Return the keys of the latest entries, without the `unused` last ones."""
        used = list(self._latest)[: len(self._latest) - unused]
        return used[-LIMITS.latest_ids :]

    def take(self, page: PlacedPage, entries: Page[T], keys: Sequence[str]) -> list[T]:
        """Accept the entries of `next_page` with their keys, and return those that were not read before.

        Raises `ResponseError` if page after page has nothing new.
        """
        growth = 0 if self.total is None or entries.total is None else entries.total - self.total
        self._growth += growth
        self.total = entries.total
        ends_early = not keys and entries.total is not None and entries.total > page.start
        is_skipping = not (self.at_beginning_again or ends_early) and self._skips_entries(page, keys)
        if growth or (is_skipping and not self._steps) or (not is_skipping and self._has_moved(page, keys)):
            self.changes += 1
        if is_skipping:
            self._steps += 1
            return []
        first = self._first_unread(keys)
        new = {key: entry for key, entry in zip(keys[first:], entries[first:], strict=True) if key not in self._seen}
        self._seen.update(keys)
        self._latest.extend(new)
        if keys:
            self._last = page.start + len(keys) - 1, keys[-1]
        self._steps, self._is_finding_its_place = 0, False
        self._repeats.note_page(found_new=bool(new))
        self._move_on(page, len(entries), found_new=bool(new))
        return list(new.values())

    def _skips_entries(self, page: PlacedPage, keys: Sequence[str]) -> bool:
        """Return whether entries may lie between those read so far and this page."""
        may_step_back = page.start > 0 and self._steps < LIMITS.steps_back
        return may_step_back and bool(self._seen) and self._seen.isdisjoint(keys)

    def _has_moved(self, page: PlacedPage, keys: Sequence[str]) -> bool:
        """Return whether the last entry of the page before, which this page repeats, is not where it was."""
        if self._last is None or not page.start <= self._last[0] < page.start + len(keys):
            return False
        position, key = self._last
        return keys[position - page.start] != key

    def _first_unread(self, keys: Sequence[str]) -> int:
        if not self._is_finding_its_place:
            return 0
        # All entries before were read by the earlier reader, which remembers only the latest.
        return max((index + 1 for index, key in enumerate(keys) if key in self._seen), default=0)

    def _move_on(self, page: PlacedPage, count: int, *, found_new: bool) -> None:
        is_last = not count or is_last_page(page.start, page.size, count, self.total)
        self.position = page.start + count if is_last else page.end
        if self.at_beginning_again:
            self.is_read = is_last or not found_new
        elif is_last and self.changes and not self._is_continued:
            # A reader that continues cannot tell which entries at the beginning were read.
            self.at_beginning_again, self.position, self._last = True, 0, None
        else:
            self.is_read = is_last
