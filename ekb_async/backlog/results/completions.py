"""Calls as they end, for programs that pass results on.

What follows a backlog reads it whenever it may have changed. While the database is away, or another program holds the
file, it waits and goes on. It reads some calls at a time, and no more before these are taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import msgspec

from ekb_async.aio.tasks import in_thread
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.reading.ended import EndedCall, EndedPage, Position, checked_position, ended_page
from ekb_async.backlog.store.values.answers import show
from ekb_async.errors import BacklogBusyError, EkbConnectionError
from ekb_async.models.wire.coerce import CHINA
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine

_ROWS = msgspec.json.Decoder(list[tuple[int, str]])


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has ended, done or failed.

    `cursor` is a text of any length, from which `Backlog.completions` goes on behind this call; "" where a worker
    passes the result on. `call_id` is the number of the call, as in `Task.call_id`. `rows` are the numbers of the rows
    that share the call, in order, and `refs` their references, each once, without "". The others are as in `Task`;
    `attempts` and `maybe_billed` include those before a call was retried.
    """

    cursor: str
    call_id: int
    tenant: str
    kind: str
    state: str
    rows: tuple[int, ...]
    refs: tuple[str, ...]
    attempts: int
    maybe_billed: int
    result: Any
    raw: bytes | None
    error: str | None
    error_type: str | None
    hint: str | None
    ended_at: datetime
    source: str | None


def completion_of(call: EndedCall, cursor: str = "") -> Completion:
    """Return a call that has ended as applications read it. If its answer cannot be read, `result` is None."""
    rows = _ROWS.decode(call.rows or "[]")
    return Completion(
        cursor=cursor,
        call_id=call.call_id,
        tenant=call.tenant,
        kind=call.kind,
        state=call.state,
        rows=tuple(number for number, _ in rows),
        refs=tuple(dict.fromkeys(ref for _, ref in rows if ref)),
        attempts=call.attempts,
        maybe_billed=call.maybe_billed,
        result=None if call.result is None else show(call.kind, call.result, call.source),
        raw=call.result,
        error=f"{call.error_type}: {call.error} {call.hint}".rstrip() if call.error_type else None,
        error_type=call.error_type or None,
        hint=call.hint or None,
        ended_at=datetime.fromtimestamp(call.ended_at, CHINA),
        source=None if call.result is None else call.source or "call",
    )


class Following:
    """Follows a backlog from a position on, for one tenant or for all."""

    def __init__(
        self, store: CallStore, position: Position, tenant: str | None, *, interval: float, longest: float
    ) -> None:
        self._store = store
        self._position = position
        self._tenant = tenant
        self._interval = interval
        self._longest = longest
        self._is_away = True
        self._is_logged = False

    async def completions(self) -> AsyncGenerator[Completion, None]:
        """Yield calls that have ended, without an end."""
        pause = 0.0
        async with self._store.news(self._interval) as news:
            while True:
                page = await self._page()
                if page is None:
                    await asyncio.sleep(self._interval)
                    continue
                for each in await in_thread(self._read, page):
                    yield each
                self._position = page.position
                if page.is_last:
                    # Nothing announces the end of the transaction that other calls wait for.
                    is_idle = page.is_behind and not page.calls
                    pause = min(2 * pause, LIMITS.longest_pause_seconds) if is_idle else 0.0
                    pause = pause or LIMITS.first_pause_seconds
                    await news.wait(pause if page.is_behind else self._longest)

    async def _page(self) -> EndedPage | None:
        """Return the next calls, None if the backlog cannot be read at present."""
        try:
            if self._is_away:
                # Another server may have taken the place of the one that was away.
                self._position = await checked_position(self._store, self._position)
            page = await ended_page(self._store, self._position, self._tenant)
        except (EkbConnectionError, BacklogBusyError) as error:
            if not self._is_logged:
                log_lines.backlog.warning("calls that have ended cannot be read: %s", OneLine(error))
            self._is_away = self._is_logged = True
            return None
        self._is_away = self._is_logged = False
        return page

    def _read(self, page: EndedPage) -> list[Completion]:
        calls = page.calls
        positions = [self._position.moved(call.ended_in, call.call_id, call.ended_at) for call in calls]
        texts = [position.text(self._store) for position in positions]
        return [completion_of(call, text) for call, text in zip(calls, texts, strict=True)]
