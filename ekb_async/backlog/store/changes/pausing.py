"""Pausing, resuming and cancelling calls, of a tenant, a kind, a reference, or all.

A pause is a row of its own, so it takes effect at once: claims look at it. Then the calls that are pending are held, a
page per transaction. Calls that become pending later are held when they are recorded, or by the next search of a run or
worker, see `holding`. A pause of a reference holds the calls whose rows all have it.

To resume, the pauses that lie within what is resumed are removed, and then the calls are released that no other pause
holds. Transactions in progress, such as a long import, may hold calls for a pause that has ended, so calls are released
once more when these have ended. The engines' wakeups for calls that were held may have been used up, so the calls get
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.transactions.holding import StoredPause
from ekb_async.backlog.store.values.calls import CANCELLED, storable
from ekb_async.backlog.store.values.reports import CancelReport, Pause, PauseReport, ResumeReport
from ekb_async.models.wire.coerce import CHINA
from ekb_async.storage.statements import Statements

_Verb = Literal["hold", "release", "cancel"]

_HINT = "If it is to be made after all: ekb backlog retry DB --cancelled."


class Scope(NamedTuple):
    """What is paused, resumed or cancelled; None for all tenants, kinds or references."""

    tenant: str | None = None
    kind: str | None = None
    ref: str | None = None

    @property
    def limits(self) -> tuple[bool, bool]:
        """Whether it is of one tenant, and of one kind."""
        return self.tenant is not None, self.kind is not None


class _Call(NamedTuple):
    id: int
    tenant: str
    kind: str
    priority: int
    row_count: int

    @property
    def place(self) -> dict[str, Any]:
        """The values after which the next page begins."""
        return {
            "after_tenant": self.tenant,
            "after_kind": self.kind,
            "after_priority": self.priority,
            "after_id": self.id,
        }


_FIRST = _Call(0, "", "", -1, 0)
"""Comes before all calls."""


class _Row(NamedTuple):
    id: int
    call_id: int


class _OfState(NamedTuple):
    state: str
    calls: int
    rows: int


class _Counts(NamedTuple):
    """The rows and calls that are changed, or can be, and how many rows are not, by the reason."""

    rows: int = 0
    calls: int = 0
    running: int = 0
    shared: int = 0
    held: int = 0

    def plus(self, other: _Counts) -> _Counts:
        return _Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def cancel_report(self) -> CancelReport:
        return CancelReport(rows=self.rows, calls=self.calls, running=self.running, shared=self.shared)


async def pause_calls(store: CallStore, scope: Scope, reason: str) -> PauseReport:
    """Hold the calls of a scope from now on."""

    async def begin(statements: Statements) -> None:
        values = {**scope._asdict(), "reason": storable(reason), "since": store.clock()}
        await statements.execute(store.pause_sql.GIVE_REASON, **values)
        await statements.execute(store.pause_sql.ADD_PAUSE, **values)

    await store.change(begin)
    held = await _change_all(store, scope, "hold")
    return PauseReport(rows=held.rows, calls=held.calls, running=held.running, shared=held.shared)


async def resume_calls(store: CallStore, scope: Scope) -> ResumeReport:
    """Remove the pauses within a scope, and release its calls as far as no other pause holds them."""
    sql = store.pause_sql
    await store.change(lambda statements: statements.execute(sql.REMOVE_PAUSES, **scope._asdict()))
    released = await _change_all(store, scope, "release")
    if await _outlast_others(store):
        late = await _change_all(store, scope, "release")
        released = late._replace(rows=late.rows + released.rows, calls=late.calls + released.calls)
    others = [each for each in await pauses_of(store) if _overlap(each, scope)] if released.held else []
    return ResumeReport(rows=released.rows, calls=released.calls, held=released.held, by=tuple(others))


async def _outlast_others(store: CallStore) -> bool:
    """Wait for the transactions that may have seen pauses which are removed; return whether there were any."""
    sql = store.pause_sql
    if not sql.LOOKING:
        return False
    before = [name for (name,) in await store.read(lambda statements: statements.fetch(sql.LOOKING))]
    if not before:
        return False
    waits = LIMITS.polls_of_others
    # One that has looked a moment ago gets its number with the calls that it changes.
    await asyncio.sleep(LIMITS.poll_of_others_seconds)
    while waits and await store.read(lambda statements: statements.value(sql.STILL_LOOKING, before=before)):
        await asyncio.sleep(LIMITS.poll_of_others_seconds)
        waits -= 1
    return True


def _overlap(pause: Pause, scope: Scope) -> bool:
    return all(
        None in {mine, theirs} or mine == theirs
        for mine, theirs in zip((pause.tenant, pause.kind, pause.ref), scope, strict=True)
    )


async def release_strays(store: CallStore, ended: Pause) -> None:
    """Release calls that were recorded as held at the moment at which their pause ended."""
    await _change_all(store, Scope(ended.tenant, ended.kind, ended.ref), "release")


async def cancel_calls(store: CallStore, scope: Scope, reason: str) -> CancelReport:
    """Let the pending calls of a scope fail, those that are held or wait for another day included."""
    moment = f"{datetime.fromtimestamp(store.clock(), CHINA):%Y-%m-%d %H:%M}"
    text = f"cancelled on {moment} (UTC+8): {reason}" if reason else f"cancelled on {moment} (UTC+8)"
    failure = {"error_type": CANCELLED, "error": storable(text), "hint": _HINT}
    return (await _change_all(store, scope, "cancel", failure)).cancel_report()


async def calls_to_cancel(store: CallStore, scope: Scope) -> CancelReport:
    """Return what `cancel_calls` would do."""
    if scope.ref is None:
        states = await store.read(lambda statements: _states(statements, store, scope))
        pending, running = states.get("pending"), states.get("running")
        return CancelReport(
            rows=pending.rows if pending else 0,
            calls=pending.calls if pending else 0,
            running=running.rows if running else 0,
        )
    counts = _Counts()
    async for rows in _pages_of_ref(store, scope.ref):
        counts = counts.plus(await store.read(partial(_count_of_ref, store, scope, rows)))
    return counts.cancel_report()


async def pauses_of(store: CallStore) -> list[Pause]:
    """Return the pauses that persons have made, the first one first."""
    found = await store.read(lambda statements: statements.fetch_as(StoredPause, store.pause_sql.PAUSES))
    return [
        Pause(
            tenant=each.tenant,
            kind=each.kind,
            ref=each.ref,
            since=datetime.fromtimestamp(each.since, CHINA),
            reason=each.reason,
        )
        for each in found
    ]


async def _states(statements: Statements, store: CallStore, scope: Scope) -> dict[str, _OfState]:
    query = store.pause_sql.COUNT_IN_SCOPE[scope.limits]
    return {each.state: each for each in await statements.fetch_as(_OfState, query, **scope._asdict())}


async def _count_of_ref(store: CallStore, scope: Scope, rows: Iterable[_Row], statements: Statements) -> _Counts:
    values = {**scope._asdict(), "rows": [each.id for each in rows]}
    (found,) = await statements.fetch_as(_Counts, store.pause_sql.COUNT_OF_REF, **values)
    return found


async def _pages_of_ref(store: CallStore, ref: str) -> AsyncIterator[list[_Row]]:
    """Yield all rows with a reference, page by page."""
    last = 0

    async def read(statements: Statements) -> list[_Row]:
        values = {"ref": ref, "after": last, "limit": LIMITS.calls_per_held_page}
        return await statements.fetch_as(_Row, store.pause_sql.ROWS_OF_REF, **values)

    while page := await store.read(read):
        yield page
        last = page[-1].id


async def _change_all(store: CallStore, scope: Scope, verb: _Verb, failure: dict[str, Any] | None = None) -> _Counts:
    """Change all calls of a scope that can be changed, and count the others."""
    change = _Change(store, scope, verb, failure or {})
    if scope.ref is not None:
        return await change.of_ref(scope.ref)
    return await change.of_scope()


class _Change:
    """One change of calls, a page per transaction."""

    def __init__(self, store: CallStore, scope: Scope, verb: _Verb, failure: dict[str, Any]) -> None:
        self._store = store
        self._sql = store.pause_sql
        self._scope = scope
        self._verb = verb
        self._values = {**scope._asdict(), **failure, "limit": LIMITS.calls_per_held_page}

    async def of_scope(self) -> _Counts:
        rows = calls = 0
        for query in self._sql.PAGES[(self._verb, *self._scope.limits)]:
            last = _FIRST
            while page := await self._store.change(partial(self._page, query, last.place)):
                calls += len(page)
                rows += sum(each.row_count for each in page)
                last = page[-1]
        states = await self._store.read(lambda statements: _states(statements, self._store, self._scope))
        running = states["running"].rows if "running" in states else 0
        return _Counts(rows, calls, running, held=await self._held())

    async def _held(self) -> int:
        query = self._sql.STILL_HELD[self._scope.limits]
        return int(await self._store.read(lambda statements: statements.value(query, **self._values)))

    async def of_ref(self, ref: str) -> _Counts:
        counts = _Counts()
        query = self._sql.PAGES_OF_REF[self._verb]
        async for page in _pages_of_ref(self._store, ref):
            ids = sorted({each.call_id for each in page})
            changed = await self._store.change(partial(self._page, query, {"calls": ids}))
            left = await self._store.read(partial(_count_of_ref, self._store, self._scope, page))
            rows = sum(each.row_count for each in changed)
            counts = counts.plus(left._replace(rows=rows, calls=len(changed)))
        return counts

    async def _page(self, query: str, which: dict[str, Any], statements: Statements) -> list[_Call]:
        """Change the calls that a query finds, and return them."""
        page = await statements.fetch_as(_Call, query, **self._values, **which)
        values = {**self._values, "calls": [each.id for each in page]}
        if page:
            await statements.execute(self._sql.CHANGES[self._verb], **values)
        if page and self._verb == "release" and self._sql.PLAN_AT_ONCE:
            # Released calls get wakeups from now on.
            tenants, kinds = zip(*sorted({(each.tenant, each.kind) for each in page}), strict=True)
            await statements.execute(self._sql.PLAN_AT_ONCE, tenants=tenants, kinds=kinds)
            await statements.script(self._sql.NOTIFY_RELEASED)
        return page
