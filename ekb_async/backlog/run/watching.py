"""Watches the runs of other programs on a backlog, without changing anything.

What is counted over all calls takes longer the larger the backlog is. It is read again only if something has changed,
and so seldom that it takes a small share of the time. What runs are at work, what they have sent and what they wait for
is read each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from ekb_async.aio.tasks import cancel_and_wait
from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.shown.progress import Progress, ended_in, measure
from ekb_async.backlog.run.shown.said import Said
from ekb_async.backlog.run.shown.tenants import distinct
from ekb_async.backlog.run.shown.waits import Wait, later_waits, summed
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.values.calls import StateCount, WaitingCount, counts_of
from ekb_async.backlog.store.values.reports import ActiveRun, Cause
from ekb_async.errors import EkbError

T = TypeVar("T")

_UNREADABLE = "the backlog cannot be read"


class Watch:
    """Looks at the runs on a backlog every `interval` seconds."""

    def __init__(self, store: CallStore, interval: float) -> None:
        self._store = store
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._began = datetime.now(UTC)
        self._changes: object = None
        self._due = 0.0
        self._load: tuple[list[StateCount], list[WaitingCount]] = ([], [])
        self._causes: list[Cause] = []
        self._failed = -1
        self._ended_before: int | None = None
        self._seen: Progress | None = None

    async def views(self) -> AsyncGenerator[Progress, None]:
        """Yield what is seen, until nothing is left to do."""
        while True:
            async with aclosing(self._look()) as views:
                async for progress in views:
                    yield progress
            if self._seen is not None and not self._seen.trouble and _is_over(self._seen):
                return
            await asyncio.sleep(self._interval)

    async def _look(self) -> AsyncGenerator[Progress, None]:
        """Yield what is seen now; while the backlog does not answer, what was seen last, and why that is so."""
        looking = asyncio.ensure_future(self._read())
        trouble = ""
        try:
            while not (await asyncio.wait([looking], timeout=self._interval))[0]:
                if self._store.trouble and self._store.trouble != trouble:
                    trouble = self._store.trouble
                    yield self._in_trouble(trouble)
            try:
                self._seen = looking.result()
            except EkbError as error:
                if self._seen is None:
                    raise
                yield self._in_trouble(str(error) or _UNREADABLE)
                return
            yield self._seen
        finally:
            await cancel_and_wait(looking)

    def _in_trouble(self, text: str) -> Progress:
        seen = self._seen or self._measured([], {}, Said())
        return msgspec.structs.replace(seen, trouble=text, waits=(Wait(reason="storage", text=text),))

    async def _read(self) -> Progress:
        runs, in_flight = await self._store.runs_at_work(), await self._store.in_flight()
        await self._read_if_due(self._read_counts)
        said = _together([Said.decode(each.said) for each in runs])
        return self._measured([each.active for each in runs], in_flight, said)

    async def _read_if_due(self, read: Callable[[], Awaitable[None]]) -> None:
        changes = await self._store.changes()
        before = self._loop.time()
        if before < self._due or (changes is not None and changes == self._changes):
            return
        await read()
        self._changes = changes
        now = self._loop.time()
        self._due = now + (now - before) / LIMITS.watching_share

    async def _read_counts(self) -> None:
        self._load = await self._store.load(), await self._store.waiting()
        counts = counts_of(self._load[0])
        if self._ended_before is None:
            self._ended_before = ended_in(counts)
        if counts["failed"] != self._failed:
            self._causes = await self._store.causes(LIMITS.causes_shown)
            self._failed = counts["failed"]

    def _measured(self, runs: list[ActiveRun], in_flight: dict[str, int], said: Said) -> Progress:
        progress = measure(
            *self._load,
            ended_before=self._ended_before or 0,
            seconds=self._loop.time() - self._start,
            started_at=datetime.fromtimestamp(runs[0].started_at, UTC) if runs else self._began,
            allowed=said.allowed,
            in_flight=in_flight,
            trouble=next((each.text for each in said.waits if each.reason == "vendor" and each.text), ""),
        )
        return msgspec.structs.replace(
            progress,
            waits=(*said.waits, *later_waits(self._load[1])),
            causes=tuple(self._causes),
            runs=tuple(runs),
            auto_pauses=tuple(distinct(said.paused)),
            given_up=said.given_up,
        )


def _is_over(progress: Progress) -> bool:
    """Return whether nothing is left to do; what waits for another day or a budget may be left."""
    return not progress.counts["running"] and not any(kind.left for kind in progress.kinds.values())


def _together(said: list[Said]) -> Said:
    """Return what several runs say as one. They keep one pace, so the fastest of them says what is allowed."""
    kinds = [kind for kind in PAID if any(kind in each.allowed for each in said)]
    allowed = {kind: max(each.allowed.get(kind, 0.0) for each in said) for kind in kinds}
    return Said(
        allowed=allowed,
        waits=summed(wait for each in said for wait in each.waits),
        paused=tuple(pause for each in said for pause in each.paused),
        given_up=tuple(given_up for each in said for given_up in each.given_up),
    )
