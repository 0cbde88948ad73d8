"""The page of a backlog that others work on, made again at most so often that this takes a small share of the time.

Counts are looked at every few seconds; all figures are collected less often, since that takes as long as a report.
However many viewers there are, each is done by one task, and only while a browser shows the page. While the backlog
cannot be read, the last page stays, with a note since when.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from ekb_async.backlog.results.live import Collected, LiveBacklog, Look
from ekb_async.backlog.results.report import Live
from ekb_async.backlog.results.report.rendering import policy_of
from ekb_async.backlog.run.shown.said import states_in
from ekb_async.cli.backlog.showing.states import pause_lines, trouble_lines
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.progress import Meter, duration
from ekb_async.cli.runner import message_of
from ekb_async.errors import EkbError
from ekb_async.models.wire.coerce import CHINA

_UNREADABLE = (EkbError, OSError)


class Made(NamedTuple):
    """A page, its policy, and an entity tag of its content."""

    html: bytes
    version: str
    policy: str


class LivePage:
    """Keeps a page up to date while `keep` is running; `page` returns it."""

    def __init__(self, backlog: LiveBacklog, title: str | None) -> None:
        self._backlog = backlog
        self._title = title
        self._meter = Meter(LIMITS.live_window_seconds)
        self._look: Look | None = None
        self._collected: Collected | None = None
        self._collected_at = datetime.now(CHINA)
        self._away_since: datetime | None = None
        self._reason = ""
        self._made = Made(b"", "", "")
        self._is_wanted = asyncio.Event()
        self._asked_at = time.monotonic()
        self._making = asyncio.Lock()

    async def page(self) -> Made:
        """Return the latest page; there is one after `first`."""
        self._asked_at = time.monotonic()
        self._is_wanted.set()
        return self._made

    async def first(self) -> None:
        """Make the first page. Raises if the backlog cannot be read."""
        await self._collect()
        await self._look_again()
        await self._make()

    async def keep(self) -> None:
        """Keep the page up to date, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._look_again, LIMITS.live_look_seconds), name="ekb-live-counts")
            tasks.create_task(self._repeat(self._collect, LIMITS.live_page_seconds), name="ekb-live-figures")

    async def _repeat(self, work: Callable[[], Awaitable[None]], least: float) -> None:
        """Do work again and again, so seldom that it takes a small share of the time.

        To wait for a backlog that is away is no work, so it is tried again soon.
        """
        while True:
            began, share = time.monotonic(), LIMITS.live_share
            try:
                await work()
            except _UNREADABLE as error:
                self._away_since = self._away_since or datetime.now(CHINA)
                self._reason = message_of(error)
                share = LIMITS.live_share_away
            await self._make()
            took = time.monotonic() - began
            await asyncio.sleep(max(least, took * (1 / share - 1)))
            await self._until_wanted()

    async def _until_wanted(self) -> None:
        if time.monotonic() - self._asked_at > LIMITS.live_watched_seconds:
            self._is_wanted.clear()
            await self._is_wanted.wait()

    async def _look_again(self) -> None:
        self._look = look = await self._backlog.look()
        self._meter.mark(time.monotonic(), look.counts["done"] + look.counts["failed"])
        self._away_since = None

    async def _collect(self) -> None:
        self._collected = await self._backlog.collect(texts.lang)
        self._collected_at = datetime.now(CHINA)

    async def _make(self) -> None:
        if (collected := self._collected) is None:
            return
        live = Live([*self._lines()], self._trouble(), LIMITS.live_poll_seconds)
        async with self._making:
            html = await asyncio.to_thread(
                collected.report.html,
                self._collected_at,
                title=self._title,
                accounting=collected.accounting,
                live=live,
            )
        data = html.encode()
        self._made = Made(data, f'"{hashlib.sha256(data).hexdigest()[:32]}"', policy_of(html))

    def _lines(self) -> Iterator[str]:
        """Yield the state of the work, and while it goes on its rate and the time left."""
        if self._look is None:
            return
        counts, left = self._look.counts, self._left(self._look)
        values = {"done": counts["done"], "failed": counts["failed"], "left": left, "running": counts["running"]}
        if self._look.runs:
            yield texts(
                "A run is at work: {done:,} rows done, {failed:,} failed, {left:,} to do, {running:,} of them running.",
                **values,
            )
        else:
            yield texts("No run is at work: {done:,} rows done, {failed:,} failed, {left:,} to do.", **values)
        if (rate := self._meter.rate) is not None and self._look.runs and left:
            yield texts("{rate:,.0f} rows a minute, about {time} left.", rate=rate * 60, time=duration(left / rate))
        yield from self._tenant_lines(self._look)

    def _tenant_lines(self, look: Look) -> Iterator[str]:
        """Yield what is held, paused or given up, and why."""
        if held := sum(look.held.values()):
            yield texts(
                "{count:,} row is held until a person resumes it.",
                "{count:,} rows are held until a person resumes them.",
                count=held,
            )
        yield from pause_lines(look.pauses)
        yield from trouble_lines(states_in(look.held, look.pauses, look.said))

    def _left(self, look: Look) -> int:
        return max(0, look.counts["pending"] + look.counts["running"] - look.waiting)

    def _trouble(self) -> str:
        if self._away_since is None:
            return ""
        since = f"{self._away_since:%H:%M:%S}"
        return texts(
            "The backlog cannot be read since {time}; what it had before is shown. {reason}",
            time=since,
            reason=self._reason,
        )
