"""The ledger as workers use it: which call a wakeup gets, whether the call may be sent, and its result.

A call is claimed for a wakeup and a worker; the column `turn` holds the wakeup's ID. It is marked as sent before it
is sent, by a statement that changes the call only if this worker still has the claim. So of several workers that were
handed one wakeup, one sends. If the engine hands a wakeup to another worker, that worker takes over the wakeup's
call, unless it was sent. A call that was sent stays with the worker that sent it until that worker has the answer or
is dead; the answer counts even if the call was recorded as failed meanwhile.

A wakeup takes planned calls only, so there are always as many wakeups as planned calls. Otherwise an urgent call that
was added a moment ago would take the wakeup of another call and leave it none. A wakeup that finds nothing while a call
is waiting is not used up.

Wakeups arrive by the hundred at once, so each step is one statement for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ekb_async.aio.batcher import Batcher
from ekb_async.backlog.input.manifest import PAID
from ekb_async.backlog.store.answers import keep
from ekb_async.backlog.store.call_store import Call, CallResult
from ekb_async.backlog.store.postgres.sql import IS_ENTERED
from ekb_async.errors import EkbConnectionError
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.wakeups import LOOKUPS_PER_WAKEUP, Wakeup
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres.database import Database

_ANSWER_SECONDS = STORAGE_LIMITS.answer_timeout_seconds

# Calls that the wakeups hold already: an unsent one moves to this worker, a sent one stays and is only reported.
_HELD = """
WITH taken AS (
    UPDATE ekb_call SET run_id = $2
    WHERE turn = ANY($1::text[]) AND state = 'running' AND sent = 0 RETURNING id, turn
)
SELECT turn, id, true AS is_ours FROM taken
UNION ALL
SELECT turn, id, false FROM ekb_call WHERE turn = ANY($1::text[]) AND state = 'running' AND sent > 0
"""

_CLAIM = """
WITH asked AS (
    SELECT turn, tenant, kind, max_calls, row_number() OVER (PARTITION BY tenant, kind ORDER BY nth) AS nth
    FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) WITH ORDINALITY AS a (turn, tenant, kind, max_calls, nth)
), wanted AS (
    SELECT tenant, kind, max(max_calls) AS max_calls, sum(max_calls) AS calls FROM asked GROUP BY tenant, kind
), found AS (
    SELECT wanted.tenant, wanted.kind, max_calls, call.id, call.priority
    FROM wanted CROSS JOIN LATERAL (
        SELECT id, priority FROM ekb_call
        WHERE tenant = wanted.tenant AND kind = wanted.kind AND state = 'pending' AND planned
        ORDER BY priority, id LIMIT wanted.calls FOR UPDATE SKIP LOCKED
    ) AS call
), in_line AS (
    SELECT *, (row_number() OVER (PARTITION BY tenant, kind ORDER BY priority, id) - 1) / max_calls + 1 AS nth
    FROM found
)
UPDATE ekb_call SET state = 'running', run_id = $5, turn = asked.turn
FROM in_line JOIN asked USING (tenant, kind, nth) WHERE ekb_call.id = in_line.id RETURNING asked.turn, ekb_call.id
"""

# Wakeups that found nothing although a call waits: it is being planned, or another wakeup is claiming it.
_EARLY = """
SELECT turn FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (turn, tenant, kind)
WHERE EXISTS (
    SELECT 1 FROM ekb_call WHERE tenant = asked.tenant AND kind = asked.kind AND state = 'pending'
)
"""

_READ = """
SELECT call.turn, call.id, identity, row_count, call.kind, file, invoice_id, staff_id, file_name, start, length,
    manifest.path AS manifest, manifest.columns, call.priority, call.attempts
FROM ekb_call AS call JOIN ekb_row AS row ON row.id = call.row_id
    JOIN ekb_manifest AS manifest ON manifest.id = row.manifest_id
WHERE call.id = ANY($1::bigint[]) ORDER BY call.priority, call.id
"""

_MARK = """
UPDATE ekb_call AS call SET sent = new.sent
FROM unnest($1::bigint[], $2::int[]) AS new (id, sent)
WHERE call.id = new.id AND run_id = $3 AND state = 'running' RETURNING call.id
"""

_RECORD = """
UPDATE ekb_call AS call SET
    state = new.state, run_id = NULL, turn = NULL, planned = new.planned, sent = 0,
    attempts = attempts + new.tries, maybe_billed = call.maybe_billed + new.maybe_billed,
    ended_at = CASE WHEN new.state = 'pending' THEN NULL ELSE extract(epoch FROM clock_timestamp()) END,
    result = new.result, error_type = new.error_type, error = new.error, hint = new.hint
FROM unnest($1::bigint[], $2::text[], $3::bool[], $4::int[], $5::int[], $6::bytea[], $7::text[], $8::text[], $9::text[])
    AS new (id, state, planned, tries, maybe_billed, result, error_type, error, hint)
WHERE call.id = new.id AND (run_id = $10 AND call.state = 'running' OR new.state = 'done' AND call.state <> 'done')
"""


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


class _SentMark(NamedTuple):
    call_id: int
    unconfirmed: int


class _Record(NamedTuple):
    """The values of `_RECORD`."""

    call_id: int
    state: str
    planned: bool
    tries: int
    maybe_billed: int
    result: bytes | None
    error_type: str
    error: str
    hint: str


class Ledger:
    """The ledger as seen by a worker, which is registered in it as a run."""

    def __init__(self, database: Database, run_id: int) -> None:
        self._database = database
        self._run_id = run_id
        size, in_flight = LIMITS.wakeups_per_statement, LIMITS.statements_in_flight
        self._claims = Batcher[Wakeup, Claim]("claims", self._claim_all, size=size, in_flight=in_flight)
        self._marks = Batcher[_SentMark, bool]("marks", self._mark_all, size=size, in_flight=in_flight)
        self._records = Batcher[_Record, bool]("records", self._record_all, size=size, in_flight=in_flight)

    async def claim(self, wakeup: Wakeup) -> Claim:
        """Return the calls of a wakeup: those it has claimed before, or else the first that wait.

        A wakeup gets one paid call, or several look-ups.

        Raises `EkbError` if they cannot be claimed.
        """
        return await self._claims.load(wakeup) or Claim([])

    async def mark(self, call_id: int, unconfirmed: int) -> bool:
        """Mark a call as sent, with `unconfirmed` attempts without an answer; return whether it may be sent.

        It may if this worker still has the claim. Waits while the database is unreachable. Raises `EkbError` if the
        mark cannot be written.
        """
        return await self._marks.load(_SentMark(call_id, unconfirmed)) or False

    async def record(self, result: CallResult, *, planned: bool = True) -> None:
        """Record how a call ended, or that it is pending again; `planned` says whether it has a wakeup then.

        Waits up to 10 minutes while the database is unreachable. Raises `EkbError` if the record cannot be written.
        """
        answer = None if result.answer is None else keep(result.answer)
        # A file name may hold bytes that are not text, and PostgreSQL has no text with zero bytes.
        error = result.error.encode(errors="replace").decode().replace("\0", "\ufffd")
        await self._records.load(
            _Record(
                result.call_id,
                result.state,
                planned,
                result.tries,
                result.maybe_billed,
                answer,
                result.error_type,
                error,
                result.hint,
            )
        )

    async def close(self) -> None:
        for batcher in (self._claims, self._marks, self._records):
            await batcher.close(0)

    async def _claim_all(self, wakeups: Sequence[Wakeup]) -> dict[Wakeup, Claim]:
        async def work(connection: Any) -> dict[Wakeup, Claim]:
            if not await connection.fetchval(IS_ENTERED, self._run_id, timeout=_ANSWER_SECONDS):
                raise EkbConnectionError("this worker was taken for dead, and will be registered again in a moment")
            by_id = {wakeup.id: wakeup for wakeup in wakeups}
            held = await connection.fetch(_HELD, list(by_id), self._run_id, timeout=_ANSWER_SECONDS)
            elsewhere = {row["turn"] for row in held if not row["is_ours"]}
            ours = [row["id"] for row in held if row["is_ours"]]
            asking = [wakeup for wakeup in wakeups if wakeup.id not in {row["turn"] for row in held}]
            taken, early = await self._claim_new(connection, asking)
            claims = {wakeup: Claim([], wakeup.id in elsewhere, wakeup.id in early) for wakeup in wakeups}
            ours += taken
            for wakeup_id, *values, priority, attempts in await connection.fetch(_READ, ours, timeout=_ANSWER_SECONDS):
                claims[by_id[wakeup_id]].calls.append(ClaimedCall(Call._make(values), priority, attempts))
            return claims

        return await self._database.transact(work)

    async def _claim_new(self, connection: Any, asking: list[Wakeup]) -> tuple[list[int], set[str]]:
        """Claim calls for wakeups that have none; return the IDs of the calls, and of wakeups that are too early."""
        if not asking:
            return [], set()
        max_calls = [1 if wakeup.kind in PAID else LOOKUPS_PER_WAKEUP for wakeup in asking]
        taken = await connection.fetch(_CLAIM, *_columns(asking), max_calls, self._run_id, timeout=_ANSWER_SECONDS)
        served = {row["turn"] for row in taken}
        early = []
        if empty := [wakeup for wakeup in asking if wakeup.id not in served]:
            early = await connection.fetch(_EARLY, *_columns(empty), timeout=_ANSWER_SECONDS)
        return [row["id"] for row in taken], {row["turn"] for row in early}

    async def _mark_all(self, marks: Sequence[_SentMark]) -> dict[_SentMark, bool]:
        async def work(connection: Any) -> set[int]:
            values = ([mark.call_id for mark in marks], [mark.unconfirmed for mark in marks])
            return {row["id"] for row in await connection.fetch(_MARK, *values, self._run_id, timeout=_ANSWER_SECONDS)}

        marked = await self._database.run(work)
        return {mark: mark.call_id in marked for mark in marks}

    async def _record_all(self, records: Sequence[_Record]) -> dict[_Record, bool]:
        async def work(connection: Any) -> None:
            values = (list(column) for column in zip(*records, strict=True))
            await connection.execute(_RECORD, *values, self._run_id, timeout=_ANSWER_SECONDS)

        # `run` may execute this twice, and the second time could undo what another wakeup has done in between.
        await self._database.transact(work, patience=LIMITS.record_patience_seconds)
        return dict.fromkeys(records, True)


def _columns(wakeups: Sequence[Wakeup]) -> list[list[str]]:
    return [list(column) for column in zip(*wakeups, strict=True)]
