"""The interface of a backlog's store, implemented for SQLite and PostgreSQL, and the values that it takes and returns.

A call is `pending`, `running` (claimed by a run), `done` or `failed`. A billed call is marked before it is sent, with
the number of its attempts that are unanswered from then on. Any number of runs may share one backlog, because each
claim is a transaction. A call that is `running` under a dead run was interrupted: the next check for dead runs makes it
pending and adds its mark to `maybe_billed`. If unknown outcomes are to be held, a marked call fails instead, so that a
person decides.

Rows are added in two steps. They are imported beside the backlog first, which takes as long as reading and hashing the
files. One transaction of set-wise statements then commits the import, so that a manifest is added completely or not at
all and other writers wait for seconds at most.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from ekb_async.backlog.input.manifest import ManifestRow
from ekb_async.backlog.store.answers import Answer, keep
from ekb_async.backlog.store.reports import ActiveRun, AddReport, Cause
from ekb_async.errors import ApiError, EkbError, OutcomeUnknownError, StaffNotFoundError
from ekb_async.redaction.masking import redact
from ekb_async.storage.statements import Statements
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")

AT_WORK = "a run is at work on it; copy it when it has ended"
STATES = ("pending", "running", "done", "failed")

UNKNOWN = OutcomeUnknownError.__name__
OUTCOME_UNKNOWN: dict[str, Any] = {
    "error_type": UNKNOWN,
    "error": "the call was under way when its run was ended, and may be billed",
    "hint": "Look into the vendor's records, or make it again with: ekb backlog retry DB --unknown.",
}
"""The error of a billed call that was never answered, where such calls are held for a person."""


class StateCount(NamedTuple):
    """The number of calls of one kind and state, and of the rows that share them."""

    kind: str
    state: str
    calls: int
    rows: int


class TenantStateCount(NamedTuple):
    """The number of rows of one tenant and state, of those with an unknown outcome, and of lost answers."""

    tenant: str
    state: str
    rows: int
    unconfirmed: int
    maybe_billed: int


class Call(NamedTuple):
    """A claimed call, with the row from which it is made."""

    id: int
    identity: str
    row_count: int
    kind: str
    file: str
    invoice_id: str
    staff_id: str
    file_name: str
    start: int | None
    length: int | None
    manifest: str
    columns: str


class SentMark(NamedTuple):
    """A call that is about to be sent, and how many of its attempts are unanswered from then on."""

    call_id: int
    unconfirmed: int


class CallResult(NamedTuple):
    """The outcome of a claimed call. State `pending` releases it; `attempts` and `maybe_billed` add to its counters."""

    call_id: int
    state: str
    attempts: int = 0
    maybe_billed: int = 0
    answer: Answer | None = None
    error_type: str = ""
    error: str = ""
    hint: str = ""


def failure(call: Call, error: EkbError) -> CallResult:
    """Return the result of a call that failed with an error, with secrets masked."""
    if isinstance(error, ApiError):
        # The row names its invoice; without it the same problem of many rows has one text and is counted as one cause.
        error = error.about(None)
    hint = str(getattr(error, "hint", ""))
    text = str(error).removesuffix(hint).rstrip()
    if isinstance(error, StaffNotFoundError) and call.staff_id not in text:
        text += f" The staff_id was {call.staff_id}."
    if isinstance(error, OutcomeUnknownError):
        hint = OUTCOME_UNKNOWN["hint"]
    return CallResult(call.id, "failed", error_type=type(error).__name__, error=redact(text), hint=redact(hint))


class StoredRow(NamedTuple):
    """A row with the state of its call; `shared` if the call is made from another row."""

    id: int
    shared: bool
    manifest: str
    line: int
    tenant: str
    ref: str
    kind: str
    identity: str
    file: str
    invoice_id: str
    state: str
    attempts: int
    maybe_billed: int
    error_type: str
    error: str
    hint: str
    ended_at: float | None
    result: bytes | None


class Recorded(NamedTuple):
    """A result as it is stored; `planned` says whether an engine has a wakeup for the call."""

    call_id: int
    state: str
    attempts: int
    maybe_billed: int
    result: bytes | None
    error_type: str
    error: str
    hint: str
    planned: bool


def recorded(result: CallResult, *, planned: bool = False) -> Recorded:
    """Return a result as it is stored."""
    return Recorded(
        call_id=result.call_id,
        state=result.state,
        attempts=result.attempts,
        maybe_billed=result.maybe_billed,
        result=None if result.answer is None else keep(result.answer),
        error_type=result.error_type,
        error=storable(result.error),
        hint=storable(result.hint),
        planned=planned,
    )


def storable(text: str) -> str:
    """Return a text that each database can store."""
    # A file name in an error may be no valid Unicode, and PostgreSQL stores no zeros.
    return text and text.encode(errors="replace").decode().replace("\0", "\ufffd")


class CallStore(ABC):
    """An open backlog. All methods raise `EkbError` if it cannot be read or written."""

    name: str
    """The name shown to people, without secrets."""
    file: Path | None
    """The path of the backlog, None if it is in a database."""
    claims_ahead: int
    """How many paid calls a run may claim ahead; no other run can make them meanwhile."""
    sql: ModuleType
    """The statements, under the names of `postgres.sql`."""
    _timing: StorageTiming

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why the backlog cannot be written at the moment, "" if there is no known reason."""

    @abstractmethod
    async def close(self) -> None:
        """Close the backlog; no other method may be called afterwards."""

    # Access

    @abstractmethod
    async def _read(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work that only reads, which may be repeated."""

    @abstractmethod
    async def _change(self, work: Callable[[Statements], Awaitable[T]], patience: float) -> T:
        """Return the result of work in a transaction, which takes effect once; it may be repeated for `patience` s."""

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Statements]:
        """Settle dead runs, and read a state of the backlog while no run can begin.

        Raises `BacklogBusyError` if a run is at work.
        """

    @abstractmethod
    async def merge(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Return the result of work in a transaction that may wait for something else; it may be repeated."""

    # Adding

    @abstractmethod
    async def begin_import(self) -> None:
        """Start an empty import."""

    @abstractmethod
    async def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Store rows beside the backlog without changing it, and return their number; they are read in a thread."""

    @abstractmethod
    async def commit_import(self, manifest: Path, columns: tuple[str, ...]) -> AddReport:
        """Add the imported rows to the backlog, all or none."""

    @abstractmethod
    async def discard_import(self) -> None:
        """Drop the imported rows."""

    # Runs

    @abstractmethod
    async def begin_run(self, *, hold_unknown: bool) -> int:
        """Register a run, which counts as alive until `end_run`, and return its ID."""

    @abstractmethod
    async def hold_unknown(self, run_id: int) -> None:
        """Hold the unknown outcomes of a run from now on."""

    @abstractmethod
    async def end_run(self, run_id: int) -> None:
        """Remove a run and release its calls that have no result."""

    @abstractmethod
    async def take_over(self, *, hold_unknown: bool) -> None:
        """Release the calls of dead runs and count those that were sent, which are held if either run asks for that."""

    @abstractmethod
    async def free(self) -> int:
        """Release the calls of runs that hold no lock, even if they seem alive, and return the number of rows."""

    @abstractmethod
    async def _settle_dead(self, statements: Statements) -> int:
        """Do what `take_over` does, as part of another change; return how many rows were released."""

    async def _settle(self, statements: Statements, run_ids: Sequence[int], *, hold_unknown: bool = False) -> int:
        """Release the calls of ended runs and remove the runs; return how many rows the calls had."""
        if not run_ids:
            return 0
        rows = await statements.value(self.sql.COUNT_CLAIMED, run_ids=run_ids)
        await self._release(statements, run_ids, hold_unknown=hold_unknown)
        await statements.execute(self.sql.REMOVE_RUNS, run_ids=run_ids)
        return int(rows)

    async def _release(self, statements: Statements, run_ids: Sequence[int], *, hold_unknown: bool = False) -> None:
        await statements.execute(self.sql.HOLD, run_ids=run_ids, hold_unknown=hold_unknown, **OUTCOME_UNKNOWN)
        await statements.execute(self.sql.RELEASE, run_ids=run_ids)

    @abstractmethod
    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        """Claim the next pending calls for a run, the oldest first or the latest first."""

    @abstractmethod
    async def record(
        self, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult], *, last: bool = False
    ) -> Collection[int]:
        """Write in one transaction which claimed calls are about to be sent and how others ended.

        Returns the marked calls that the run no longer holds, which must not be sent. The `last` record of a run waits
        less long for the backlog than others.
        """

    async def _record(
        self, statements: Statements, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult]
    ) -> Collection[int]:
        marked = await statements.update_each(self.sql.MARK_SENT, marks, run_id=run_id)
        await statements.write(self.sql.RECORD, list(map(recorded, results)), run_id=run_id)
        return {mark.call_id for mark in marks}.difference(marked)

    async def retry(self, cause: str, *, unknown: bool) -> int:
        """Make failed calls pending again, and return the number of their rows.

        With `unknown` only calls with an unknown outcome, otherwise only the others. `cause` is part of the error's
        class or text.
        """

        async def work(statements: Statements) -> int:
            await self._settle_dead(statements)
            wanted: dict[str, Any] = {"cause": cause, "unknown": unknown, "unknown_type": UNKNOWN}
            rows = await statements.value(self.sql.COUNT_TO_RETRY, **wanted)
            await statements.execute(self.sql.RETRY, **wanted)
            return int(rows)

        return await self._change(work, self._timing.patience)

    # Queries

    async def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        """Return the tenants that have pending calls of these kinds, the one with the fewest first."""
        return [tenant for (tenant,) in await self._fetch(self.sql.PENDING_TENANTS, kinds=kinds)]

    async def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        """Return whether a tenant has pending calls of these kinds."""
        return bool(await self._value(self.sql.HAS_PENDING, tenant=tenant, kinds=kinds))

    async def has_running(self, kinds: Sequence[str]) -> bool:
        """Return whether calls of these kinds are running."""
        return bool(await self._value(self.sql.HAS_RUNNING, kinds=kinds))

    async def copies(self, call_id: int) -> list[tuple[str, str]]:
        """Return manifest and file of every row of a call, the latest first."""
        return [(manifest, file) for manifest, file in await self._fetch(self.sql.COPIES, call_id=call_id)]

    async def manifests(self) -> list[str]:
        """Return the paths of all manifests."""
        return [path for (path,) in await self._fetch(self.sql.MANIFESTS)]

    async def named(self, name: str, sha256: str) -> list[str]:
        """Return the paths of those local files of rows that have this name or content."""
        found = await self._fetch(self.sql.NAMED, name=name, sha256=sha256)
        return [str(Path(manifest).parent / file) for manifest, file in found]

    async def load(self) -> list[StateCount]:
        """Count calls and rows by kind and state, leaving out zeros."""
        return await self._fetch_as(StateCount, self.sql.COUNT_BY_STATE)

    async def failures(self) -> dict[str, int]:
        """Count failed rows by the class of their error, the most frequent first."""
        return dict(await self._fetch(self.sql.FAILURES))

    async def causes(self, limit: int) -> list[Cause]:
        """Count failed rows by error, the most frequent first, at most `limit` errors."""
        return await self._fetch_as(Cause, self.sql.CAUSES, limit=limit)

    async def maybe_billed(self) -> int:
        """Return how often the answer of a billed call was lost."""
        return int(await self._value(self.sql.MAYBE_BILLED))

    async def has_tenants(self) -> bool:
        """Return whether any row has a tenant."""
        return bool(await self._value(self.sql.HAS_TENANTS))

    async def tenant_loads(self) -> list[TenantStateCount]:
        """Count rows by tenant and state, leaving out zeros, in the order of the tenants."""
        return await self._fetch_as(TenantStateCount, self.sql.COUNT_BY_TENANT, unknown_type=UNKNOWN)

    async def active_runs(self) -> list[ActiveRun]:
        """Return the registered runs, the oldest first."""
        return await self._fetch_as(ActiveRun, self.sql.ACTIVE_RUNS, this_host=socket.gethostname())

    async def page(self, after: int, limit: int, state: str | None, kind: str | None) -> list[StoredRow]:
        """Return the rows after row `after` in order, of one state and kind or of all."""
        return await self._fetch_as(StoredRow, self.sql.PAGE, after=after, limit=limit, state=state, kind=kind)

    async def _fetch(self, query: str, /, **values: object) -> Sequence[Any]:
        return await self._read(lambda statements: statements.fetch(query, **values))

    async def _fetch_as(self, kind: Callable[..., T], query: str, /, **values: object) -> list[T]:
        return await self._read(lambda statements: statements.fetch_as(kind, query, **values))

    async def _value(self, query: str, /, **values: object) -> Any:
        return await self._read(lambda statements: statements.value(query, **values))


def counts_of(load: Iterable[StateCount | TenantStateCount]) -> dict[str, int]:
    """Sum up rows by state, with every state present."""
    counts: dict[str, int] = dict.fromkeys(STATES, 0)
    for each in load:
        counts[each.state] += each.rows
    return counts
