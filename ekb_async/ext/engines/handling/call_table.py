"""The call table as workers use it: which call a wakeup gets, whether the call may be sent, and its result.

A call is claimed for a wakeup and a worker; the column `turn` holds the wakeup's ID. It is marked as sent before it
is sent, by a statement that changes the call only if this worker still has the claim. So of several workers that were
handed one wakeup, one sends. If the engine hands a wakeup to another worker, that worker takes over the wakeup's
call, unless it was sent. A call that was sent stays with the worker that sent it until that worker has the answer or
is dead; the answer counts even if the call was recorded as failed meanwhile.

A call that waits for another day has no wakeup until it is due. One that a person holds has none until it is resumed;
wakeups that find only such calls are used up.

A wakeup takes planned calls only, so there are always as many wakeups as planned calls. Otherwise an urgent call that
was added a moment ago would take the wakeup of another call and leave it none. A wakeup that finds nothing while a call
is waiting is not used up.

Wakeups arrive by the hundred at once, so each step is one statement for all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from ekb_async.aio.batcher import Batcher
from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.store.postgres.sql import budget_sql
from ekb_async.backlog.store.postgres.sql import call_sql as sql
from ekb_async.backlog.store.postgres.sql.pause_sql import paused
from ekb_async.backlog.store.transactions.spending import Spending, unspent_of
from ekb_async.backlog.store.values.calls import Call, CallResult, Marking, Recorded, SentMark, day_of, recorded
from ekb_async.errors import EkbConnectionError
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.wakeups import LOOKUPS_PER_WAKEUP, Wakeup
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database
from ekb_async.storage.postgres.statements import PostgresStatements
from ekb_async.storage.statements import Statements

_ANSWER_SECONDS = STORAGE_LIMITS.answer_timeout_seconds

# Calls that the wakeups hold already: an unsent one moves to this worker, a sent one stays and is only reported.
_HELD = """
WITH taken AS (
    UPDATE ekb_call SET run_id = :run_id
    WHERE turn = ANY(:wakeups::text[]) AND state = 'running' AND sent = 0 RETURNING id, turn
)
SELECT turn, id, true AS is_ours FROM taken
UNION ALL
SELECT turn, id, false FROM ekb_call WHERE turn = ANY(:wakeups::text[]) AND state = 'running' AND sent > 0
"""

_CLAIM = """
WITH asked AS (
    SELECT turn, tenant, kind, max_calls, row_number() OVER (PARTITION BY tenant, kind ORDER BY nth) AS nth
    FROM unnest(:id::text[], :tenant::text[], :kind::text[], :max_calls::int[]) WITH ORDINALITY
        AS asked (turn, tenant, kind, max_calls, nth)
), wanted AS (
    SELECT tenant, kind, max(max_calls) AS max_calls, sum(max_calls) AS calls FROM asked
    WHERE NOT {paused} GROUP BY tenant, kind
), found AS (
    SELECT wanted.tenant, wanted.kind, max_calls, call.id, call.priority
    FROM wanted CROSS JOIN LATERAL (
        SELECT id, priority FROM ekb_call
        WHERE tenant = wanted.tenant AND kind = wanted.kind AND state = 'pending' AND due_at IS NULL AND planned
        ORDER BY priority {direction}, id {direction} LIMIT wanted.calls FOR UPDATE SKIP LOCKED
    ) AS call
), in_line AS (
    SELECT *, (row_number() OVER (PARTITION BY tenant, kind ORDER BY priority, id) - 1) / max_calls + 1 AS nth
    FROM found
)
UPDATE ekb_call SET state = 'running', run_id = :run_id, turn = asked.turn
FROM in_line JOIN asked USING (tenant, kind, nth) WHERE ekb_call.id = in_line.id RETURNING asked.turn, ekb_call.id
"""

_CLAIM_FIRST = _CLAIM.format(direction="ASC", paused=paused("asked.tenant", "asked.kind"))
_CLAIM_LATEST = _CLAIM.format(direction="DESC", paused=paused("asked.tenant", "asked.kind"))

_RECORD = f"{sql.RECORD_CHECKS} RETURNING call.id"

# Wakeups that found nothing although a call waits: it is being planned, or another wakeup is claiming it.
_EARLY = f"""
SELECT turn FROM unnest(:id::text[], :tenant::text[], :kind::text[]) AS asked (turn, tenant, kind)
WHERE EXISTS (
    SELECT 1 FROM ekb_call
    WHERE tenant = asked.tenant AND kind = asked.kind AND state = 'pending' AND due_at IS NULL
) AND NOT {paused("asked.tenant", "asked.kind")}
"""  # noqa: S608 - a constant


def _ignore(_: Iterable[int]) -> None:
    """Do nothing."""


class ClaimedCall(NamedTuple):
    """A call that a wakeup has claimed, its priority, and how often it was sent before."""

    call: Call
    priority: int
    attempts: int


class Claim(NamedTuple):
    """The calls that a wakeup has claimed; none if none is waiting."""

    calls: list[ClaimedCall]
    is_sent_elsewhere: bool = False
    """Whether another worker has sent the wakeup's call."""
    is_early: bool = False
    """Whether a call is waiting that cannot be claimed yet."""


class _Wanted(NamedTuple):
    """A wakeup, and whether it gets the latest call that waits, or the first."""

    wakeup: Wakeup
    latest: bool


class _Writing(NamedTuple):
    """A mark that is being written, and what will be known of all calls in its statement."""

    mark: SentMark
    markings: asyncio.Future[dict[int, Marking]]


class _Asking(NamedTuple):
    """A wakeup that has no call yet, and how many it may get."""

    id: str
    tenant: str
    kind: str
    max_calls: int


class CallTable:
    """The call table as seen by a worker, which is registered in it as a run."""

    def __init__(
        self,
        database: Database,
        run_id: int,
        clock: Callable[[], float],
        note_ended: Callable[[Iterable[int]], object] = _ignore,
    ) -> None:
        self._note_ended = note_ended
        """Called with the IDs of calls whose end is recorded."""
        self._database = database
        self._clock = clock
        self._run_id = run_id
        self._being_marked: dict[int, _Writing] = {}
        """Calls whose marks are being written."""
        self._abandoned: dict[int, _Writing] = {}
        """Calls that were taken back while their marks were being written."""
        size, in_flight = LIMITS.wakeups_per_statement, LIMITS.statements_in_flight
        self._claims = Batcher[_Wanted, Claim]("claims", self._claim_all, size=size, in_flight=in_flight)
        self._marks = Batcher[SentMark, Marking]("marks", self._mark_all, size=size, in_flight=in_flight)
        self._records = Batcher[Recorded, bool]("records", self._record_all, size=size, in_flight=in_flight)

    async def claim(self, wakeup: Wakeup, *, latest: bool = False) -> Claim:
        """Return the calls of a wakeup: those it has claimed before, or else the first that wait, or the `latest`.

        A wakeup gets one paid call, or several look-ups.

        Raises `EkbError` if they cannot be claimed.
        """
        return await self._claims.load(_Wanted(wakeup, latest)) or Claim([])

    async def mark(self, mark: SentMark) -> Marking:
        """Mark a call as sent; return whether it may be.

        It may if this worker still has the claim and no budget is spent. Waits while the database is unreachable.
        Raises `EkbError` if the mark cannot be written.
        """
        try:
            return await self._marks.load(mark) or Marking()
        except asyncio.CancelledError:
            if (writing := self._being_marked.get(mark.call_id)) is not None:
                self._abandoned[mark.call_id] = writing
            raise

    async def record(self, result: CallResult, *, planned: bool = True) -> None:
        """Record how a call ended, or that it is pending again; `planned` says whether it has a wakeup then.

        Waits up to 10 minutes while the database is unreachable. Raises `EkbError` if the record cannot be written.
        """
        call_id = result.call_id
        if (writing := self._abandoned.pop(call_id, None) or self._being_marked.get(call_id)) is not None:
            # It was not sent, so what is counted for it is given back.
            marking = (await asyncio.shield(writing.markings)).get(call_id, Marking())
            if marking.counted_on not in {0, writing.mark.counted_on}:
                result = result._replace(unspent=(*result.unspent, marking.counted_on))
        await self._records.load(recorded(result, planned=planned))

    async def close(self) -> None:
        await asyncio.gather(*(batcher.close(0) for batcher in (self._claims, self._marks, self._records)))

    async def _claim_all(self, wanted: Sequence[_Wanted]) -> dict[_Wanted, Claim]:
        async def work(connection: Any) -> dict[_Wanted, Claim]:
            statements = PostgresStatements(connection, _ANSWER_SECONDS)
            if not await statements.value(sql.IS_ENTERED, run_id=self._run_id):
                raise EkbConnectionError("this worker was taken for dead, and will be registered again in a moment")
            by_id = {each.wakeup.id: each for each in wanted}
            held = await statements.fetch(_HELD, wakeups=list(by_id), run_id=self._run_id)
            elsewhere = {row["turn"] for row in held if not row["is_ours"]}
            ours = [row["id"] for row in held if row["is_ours"]]
            asking = [each for each in wanted if each.wakeup.id not in {row["turn"] for row in held}]
            taken, early = await self._claim_new(statements, asking)
            claims = {each: Claim([], each.wakeup.id in elsewhere, each.wakeup.id in early) for each in wanted}
            for row in await statements.fetch(sql.READ_CLAIMED, ids=ours + taken):
                call = Call(**{name: row[name] for name in Call._fields})
                claims[by_id[row["turn"]]].calls.append(ClaimedCall(call, row["priority"], row["attempts"]))
            return claims

        return await self._database.transact(work)

    async def _claim_new(self, statements: Statements, wanted: Sequence[_Wanted]) -> tuple[list[int], set[str]]:
        """Claim calls for wakeups that have none; return the IDs of the calls, and of wakeups that are too early."""
        taken: list[dict[str, Any]] = []
        for statement, latest in ((_CLAIM_FIRST, False), (_CLAIM_LATEST, True)):
            asking = [_asking(each.wakeup) for each in wanted if each.latest is latest]
            taken += await statements.fetch_each(dict[str, Any], statement, asking, run_id=self._run_id)
        served = {each["turn"] for each in taken}
        empty = [_asking(each.wakeup) for each in wanted if each.wakeup.id not in served]
        early = await statements.fetch_each(dict[str, Any], _EARLY, empty)
        return [each["id"] for each in taken], {each["turn"] for each in early}

    def _spending(self, connection: Any) -> Spending:
        own_time = None if self._clock is time.time else self._clock()
        return Spending(PostgresStatements(connection, _ANSWER_SECONDS), sql, budget_sql, self._run_id, own_time)

    async def _mark_all(self, marks: Sequence[SentMark]) -> dict[SentMark, Marking]:
        writing: asyncio.Future[dict[int, Marking]] = asyncio.get_running_loop().create_future()
        self._being_marked |= {mark.call_id: _Writing(mark, writing) for mark in marks}
        marked: dict[int, Marking] = {}
        try:
            marked = await self._write_marks(marks)
        finally:
            writing.set_result(marked)
            for mark in marks:
                self._being_marked.pop(mark.call_id, None)
        return {mark: marked[mark.call_id] for mark in marks}

    async def _write_marks(self, marks: Sequence[SentMark]) -> dict[int, Marking]:
        marked = await self._database.run(lambda connection: self._spending(connection).mark_unlimited(marks))
        if not marked:
            # `run` may execute this twice, which would count the calls twice for a budget.
            marked = await self._database.transact(lambda connection: self._spending(connection).mark(marks))
        return marked

    async def _record_all(self, records: Sequence[Recorded]) -> dict[Recorded, bool]:
        async def work(connection: Any) -> Collection[int]:
            statements = PostgresStatements(connection, _ANSWER_SECONDS)
            changed = await statements.update_each(_RECORD, records, run_id=self._run_id, day=day_of(self._clock()))
            await self._spending(connection).mark((), unspent_of(records))
            return changed

        # `run` may execute this twice, and the second time could undo what another wakeup has done in between.
        changed = await self._database.transact(work, patience=LIMITS.record_patience_seconds)
        self._note_ended(each.call_id for each in records if each.state != "pending" and each.call_id in changed)
        return dict.fromkeys(records, True)


def _asking(wakeup: Wakeup) -> _Asking:
    return _Asking(*wakeup, 1 if wakeup.kind in PAID else LOOKUPS_PER_WAKEUP)
