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

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from ekb_async.backlog.input.manifest import ManifestRow
from ekb_async.backlog.store.answers import Answer
from ekb_async.backlog.store.copying import Copied
from ekb_async.errors import ApiError, EkbError, OutcomeUnknownError, StaffNotFoundError
from ekb_async.redaction.masking import redact
from ekb_async.validation import warn_renamed

STATES = ("pending", "running", "done", "failed")

UNKNOWN = OutcomeUnknownError.__name__
OUTCOME_UNKNOWN: dict[str, Any] = {
    "error_type": UNKNOWN,
    "error": "the call was under way when its run was ended, and may be billed",
    "hint": "Look into the vendor's records, or make it again with: ekb backlog retry DB --unknown.",
}
"""The error of a billed call that was never answered, where such calls are held for a person."""


class AddReport(msgspec.Struct, frozen=True):
    """The result of adding a manifest: `added` rows are new work, `duplicates` share a call with another row.

    `missing` are codes of documents that are unknown or have no invoices. `present` counts the duplicates that were
    already in the backlog and were not added again.
    """

    added: int
    duplicates: int
    missing: tuple[str, ...] = ()
    present: int = 0


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why `rows` rows failed: class and text of the error, and a hint what to check ("" if there is none)."""

    error_type: str
    error: str
    hint: str
    rows: int


class TenantCounts(msgspec.Struct, frozen=True, kw_only=True, rename={"unconfirmed": "doubtful"}):
    """The rows of a tenant ("" for rows without one) by state, with every state present.

    `unconfirmed` counts failed rows whose outcome is unknown, on which a person has to decide; `maybe_billed` counts
    the lost answers of billed calls.
    """

    tenant: str
    counts: dict[str, int]
    unconfirmed: int
    maybe_billed: int

    @property
    def doubtful(self) -> int:
        """The former name of `unconfirmed`."""
        warn_renamed("TenantCounts.doubtful", "unconfirmed")
        return self.unconfirmed


class ActiveRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is at work, or dead and not yet settled: its process, its start, and the number of calls it claims.

    Times are in epoch seconds. `seen` is the run's last sign of life, None where a lock shows whether it is alive.
    """

    host: str
    pid: int
    started_at: float
    seen: float | None
    running: int


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
    """The outcome of a claimed call. State `pending` releases it; `tries` and `maybe_billed` add to its counters."""

    call_id: int
    state: str
    tries: int = 0
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


class CallStore(Copied, Protocol):
    """An open backlog. All methods raise `EkbError` if it cannot be read or written."""

    @property
    def name(self) -> str:
        """The name shown to people, without secrets."""
        ...

    @property
    def claims_ahead(self) -> int:
        """How many paid calls a run may claim ahead; no other run can make them meanwhile."""
        ...

    @property
    def file(self) -> Path | None:
        """The path of the backlog, None if it is in a database."""
        ...

    @property
    def trouble(self) -> str:
        """Why the backlog cannot be written at the moment, "" if there is no known reason."""
        ...

    async def close(self) -> None:
        """Close the backlog; no other method may be called afterwards."""
        ...

    async def begin_import(self) -> None:
        """Start an empty import."""
        ...

    async def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Store rows beside the backlog without changing it, and return their number; they are read in a thread."""
        ...

    async def commit_import(self, manifest: Path, columns: tuple[str, ...]) -> AddReport:
        """Add the imported rows to the backlog, all or none."""
        ...

    async def discard_import(self) -> None:
        """Drop the imported rows."""
        ...

    async def begin_run(self, *, hold_unknown: bool) -> int:
        """Register a run, which counts as alive until `end_run`, and return its ID."""
        ...

    async def hold_unknown(self, run_id: int) -> None:
        """Hold the unknown outcomes of a run from now on."""
        ...

    async def take_over(self, *, hold_unknown: bool) -> None:
        """Release the calls of dead runs and count those that were sent, which are held if either run asks for that."""
        ...

    async def end_run(self, run_id: int) -> None:
        """Remove a run and release its calls that have no result."""
        ...

    async def free(self) -> int:
        """Release the calls of runs that hold no lock, even if they seem alive, and return the number of rows."""
        ...

    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        """Claim the next pending calls for a run, the oldest first or the latest first."""
        ...

    async def record(
        self, run_id: int, marks: Sequence[SentMark], results: Sequence[CallResult], *, last: bool = False
    ) -> Collection[int]:
        """Write in one transaction which claimed calls are about to be sent and how others ended.

        Returns the marked calls that the run no longer holds, which must not be sent. The `last` record of a run waits
        less long for the backlog than others.
        """
        ...

    async def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        """Return the tenants that have pending calls of these kinds, the one with the fewest first."""
        ...

    async def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        """Return whether a tenant has pending calls of these kinds."""
        ...

    async def has_running(self, kinds: Sequence[str]) -> bool:
        """Return whether calls of these kinds are running."""
        ...

    async def copies(self, call_id: int) -> list[tuple[str, str]]:
        """Return manifest and file of every row of a call, the latest first."""
        ...

    async def manifests(self) -> list[str]:
        """Return the paths of all manifests."""
        ...

    async def named(self, name: str, sha256: str) -> list[str]:
        """Return the paths of those local files of rows that have this name or content."""
        ...

    async def retry(self, cause: str, *, unknown: bool) -> int:
        """Make failed calls pending again, and return the number of their rows.

        With `unknown` only calls with an unknown outcome, otherwise only the others. `cause` is part of the error's
        class or text.
        """
        ...

    async def load(self) -> list[StateCount]:
        """Count calls and rows by kind and state, leaving out zeros."""
        ...

    async def failures(self) -> dict[str, int]:
        """Count failed rows by the class of their error, the most frequent first."""
        ...

    async def causes(self, limit: int) -> list[Cause]:
        """Count failed rows by error, the most frequent first, at most `limit` errors."""
        ...

    async def maybe_billed(self) -> int:
        """Return how often the answer of a billed call was lost."""
        ...

    async def has_tenants(self) -> bool:
        """Return whether any row has a tenant."""
        ...

    async def tenant_loads(self) -> list[TenantStateCount]:
        """Count rows by tenant and state, leaving out zeros, in the order of the tenants."""
        ...

    async def active_runs(self) -> list[ActiveRun]:
        """Return the registered runs, the oldest first."""
        ...

    async def page(self, after: int, limit: int, state: str | None, kind: str | None) -> list[StoredRow]:
        """Return the rows after row `after` in order, of one state and kind or of all."""
        ...


def counts_of(load: Iterable[StateCount | TenantStateCount]) -> dict[str, int]:
    """Sum up rows by state, with every state present."""
    counts: dict[str, int] = dict.fromkeys(STATES, 0)
    for each in load:
        counts[each.state] += each.rows
    return counts
