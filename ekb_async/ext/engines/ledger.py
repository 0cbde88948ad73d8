"""The ledger as workers use it: which call a turn gets, whether it may leave, and how it ended.

A call is claimed for a turn and a worker, and marked as sent before it leaves by a statement that only changes what is
still claimed so: of several workers that were given one turn, one gets to send. What a turn had claimed and not sent
goes with the turn to whoever is handed it next. What was sent stays with the worker that sent it until it has answered
or is dead; its answer counts even if it was given up meanwhile.

A turn takes only what has been planned, which is what keeps as many turns on their way as there are planned calls: an
urgent call that was added a moment ago would take the turn of another one and leave it none. A turn that finds nothing
while something waits is not used up.

Turns come by the hundred at once, so each step is one statement for all that want it at the same time.
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
from ekb_async.ext.engines.wakeups import LOOKUPS_AT_ONCE, Wakeup
from ekb_async.storage.limits import LIMITS as STORAGE_LIMITS
from ekb_async.storage.postgres import Database

ANSWER_TIMEOUT = STORAGE_LIMITS.answer_timeout_seconds

_TOGETHER = 200
_RECORD_PATIENCE = 600.0

# What the turns had before: taken along if it was not sent, told otherwise.
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
    SELECT turn, tenant, kind, most, row_number() OVER (PARTITION BY tenant, kind ORDER BY nth) AS nth
    FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) WITH ORDINALITY AS a (turn, tenant, kind, most, nth)
), wanted AS (
    SELECT tenant, kind, max(most) AS most, sum(most) AS calls FROM asked GROUP BY tenant, kind
), found AS (
    SELECT wanted.tenant, wanted.kind, most, call.id, call.priority
    FROM wanted CROSS JOIN LATERAL (
        SELECT id, priority FROM ekb_call
        WHERE tenant = wanted.tenant AND kind = wanted.kind AND state = 'pending' AND planned
        ORDER BY priority, id LIMIT wanted.calls FOR UPDATE SKIP LOCKED
    ) AS call
), in_line AS (
    SELECT *, (row_number() OVER (PARTITION BY tenant, kind ORDER BY priority, id) - 1) / most + 1 AS nth FROM found
)
UPDATE ekb_call SET state = 'running', run_id = $5, turn = asked.turn
FROM in_line JOIN asked USING (tenant, kind, nth) WHERE ekb_call.id = in_line.id RETURNING asked.turn, ekb_call.id
"""

# Turns that found nothing although something waits: it is planned just now, or another turn has it in hand.
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


class Claimed(NamedTuple):
    """A call that a turn has; its class, and how often it was sent before."""

    call: Call
    priority: int
    attempts: int


class Claim(NamedTuple):
    """What a turn has: calls, none if nothing waits for it.

    `is_elsewhere` if another worker has sent its call, `is_early` if something waits that cannot be had yet.
    """

    calls: list[Claimed]
    is_elsewhere: bool = False
    is_early: bool = False


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
    """The ledger for the worker that is entered as a run."""

    def __init__(self, database: Database, run_id: int) -> None:
        self._database = database
        self._run_id = run_id
        self._claims = Batcher[Wakeup, Claim]("claims", self._claim_all, size=_TOGETHER, in_flight=2)
        self._marks = Batcher[_SentMark, bool]("marks", self._mark_all, size=_TOGETHER, in_flight=2)
        self._records = Batcher[_Record, bool]("records", self._record_all, size=_TOGETHER, in_flight=2)

    async def claim(self, wakeup: Wakeup) -> Claim:
        """The calls for a turn: those it has already, or the first that wait. Raises `EkbError` if they cannot be had.

        A paid call comes alone.
        """
        return await self._claims.load(wakeup) or Claim([])

    async def mark(self, call_id: int, unconfirmed: int) -> bool:
        """Whether the call may leave, as this worker still has it; `unconfirmed` of its attempts have no answer then.

        Waits while the database is away. Raises `EkbError` if it cannot be written.
        """
        return await self._marks.load(_SentMark(call_id, unconfirmed)) or False

    async def record(self, ending: CallResult, *, planned: bool = True) -> None:
        """Keeps how a call ended, or that it was given back; `planned` if there is a turn for it then.

        Waits while the database is away, up to 10 minutes. Raises `EkbError` if it cannot be written.
        """
        result = None if ending.answer is None else keep(ending.answer)
        # What a file system calls a file need not be a text, and no text has zeros here.
        error = ending.error.encode(errors="replace").decode().replace("\0", "\ufffd")
        await self._records.load(
            _Record(
                ending.call_id,
                ending.state,
                planned,
                ending.tries,
                ending.maybe_billed,
                result,
                ending.error_type,
                error,
                ending.hint,
            )
        )

    async def close(self) -> None:
        for batcher in (self._claims, self._marks, self._records):
            await batcher.close(0)

    async def _claim_all(self, wakeups: Sequence[Wakeup]) -> dict[Wakeup, Claim]:
        async def work(connection: Any) -> dict[Wakeup, Claim]:
            if not await connection.fetchval(IS_ENTERED, self._run_id, timeout=ANSWER_TIMEOUT):
                raise EkbConnectionError("this worker was taken for dead, and is about to be entered again")
            by_id = {wakeup.id: wakeup for wakeup in wakeups}
            held = await connection.fetch(_HELD, list(by_id), self._run_id, timeout=ANSWER_TIMEOUT)
            elsewhere = {row["turn"] for row in held if not row["is_ours"]}
            ours = [row["id"] for row in held if row["is_ours"]]
            asking = [wakeup for wakeup in wakeups if wakeup.id not in {row["turn"] for row in held}]
            taken, early = await self._claim_new(connection, asking)
            claims = {wakeup: Claim([], wakeup.id in elsewhere, wakeup.id in early) for wakeup in wakeups}
            ours += taken
            for wakeup_id, *values, priority, attempts in await connection.fetch(_READ, ours, timeout=ANSWER_TIMEOUT):
                claims[by_id[wakeup_id]].calls.append(Claimed(Call._make(values), priority, attempts))
            return claims

        return await self._database.transact(work)

    async def _claim_new(self, connection: Any, asking: list[Wakeup]) -> tuple[list[int], set[str]]:
        """The calls that are taken for turns that had none before, and the turns that come too early."""
        if not asking:
            return [], set()
        most = [1 if wakeup.kind in PAID else LOOKUPS_AT_ONCE for wakeup in asking]
        taken = await connection.fetch(_CLAIM, *_columns(asking), most, self._run_id, timeout=ANSWER_TIMEOUT)
        served = {row["turn"] for row in taken}
        early = []
        if empty := [wakeup for wakeup in asking if wakeup.id not in served]:
            early = await connection.fetch(_EARLY, *_columns(empty), timeout=ANSWER_TIMEOUT)
        return [row["id"] for row in taken], {row["turn"] for row in early}

    async def _mark_all(self, marks: Sequence[_SentMark]) -> dict[_SentMark, bool]:
        async def work(connection: Any) -> set[int]:
            values = ([mark.call_id for mark in marks], [mark.unconfirmed for mark in marks])
            return {row["id"] for row in await connection.fetch(_MARK, *values, self._run_id, timeout=ANSWER_TIMEOUT)}

        marked = await self._database.run(work)
        return {mark: mark.call_id in marked for mark in marks}

    async def _record_all(self, records: Sequence[_Record]) -> dict[_Record, bool]:
        async def work(connection: Any) -> None:
            values = (list(column) for column in zip(*records, strict=True))
            await connection.execute(_RECORD, *values, self._run_id, timeout=ANSWER_TIMEOUT)

        # Made again after it took effect, it could undo what another turn has begun with the call since.
        await self._database.transact(work, patience=_RECORD_PATIENCE)
        return dict.fromkeys(records, True)


def _columns(wakeups: Sequence[Wakeup]) -> list[list[str]]:
    return [list(column) for column in zip(*wakeups, strict=True)]
