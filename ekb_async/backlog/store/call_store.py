"""Where calls are kept: what every home of a backlog offers, and what it takes and gives.

A call is `pending`, `running` (claimed by a run), `done` or `failed`. A billed call is marked before it leaves, with
the number of its attempts that will then have no answer. Any number of runs may work on one backlog, since a claim is a
transaction. What is `running` under a run that is dead was interrupted: whoever looks next makes it pending, and counts
its mark as `maybe_billed`. Where the run was to hold unknown outcomes, a marked call fails instead, so that a person
decides.

Rows are added in two steps. They are staged beside the backlog, which takes as long as reading and hashing the files
does, and then adopted by one transaction made of set-wise statements, so that a manifest is in the backlog as a whole
or not at all and other writers wait for seconds at most.
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
    "hint": "Look into the vendor's records, or make it again with: ekb backlog retry --unknown.",
}
"""How a billed call fails whose answer never came, where such calls are held for a person."""


class AddReport(msgspec.Struct, frozen=True):
    """What a manifest brought: `added` rows that are new work, `duplicates` that share a call with another row.

    `missing` are codes of documents that are unknown or have no invoices. `present` of the duplicates were in the
    backlog already, and were not added again.
    """

    added: int
    duplicates: int
    missing: tuple[str, ...] = ()
    present: int = 0


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why `rows` rows failed: class and text of the error, and what to check, "" if there is nothing to add."""

    error_type: str
    error: str
    hint: str
    rows: int


class TenantCounts(msgspec.Struct, frozen=True, kw_only=True, rename={"unconfirmed": "doubtful"}):
    """The rows of a tenant ("" for those without one) by state, every state present.

    `unconfirmed` are failed rows whose outcome is unknown, which a person has to decide; `maybe_billed` is how often
    the answer of a billed call was lost.
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
    """A run at work, or dead and not yet settled: where it is, since when, and how many calls it has claimed.

    Moments are in epoch seconds; `seen` is when it last showed that it is alive, None where a lock shows that.
    """

    host: str
    pid: int
    started_at: float
    seen: float | None
    running: int


class StateCount(NamedTuple):
    """Calls of one kind and state, and the rows that share them."""

    kind: str
    state: str
    calls: int
    rows: int


class TenantStateCount(NamedTuple):
    """The rows of one tenant and state, those of unknown outcome, and the answers that were lost."""

    tenant: str
    state: str
    rows: int
    unconfirmed: int
    maybe_billed: int


class Call(NamedTuple):
    """A claimed call, and the row that says how it is made."""

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
    """A call that is about to leave, and how many of its attempts will have no answer then."""

    call_id: int
    unconfirmed: int


class CallResult(NamedTuple):
    """How a claimed call ended. State `pending` gives it back; `tries` and `maybe_billed` are added to its counters."""

    call_id: int
    state: str
    tries: int = 0
    maybe_billed: int = 0
    answer: Answer | None = None
    error_type: str = ""
    error: str = ""
    hint: str = ""


def failure(call: Call, error: EkbError) -> CallResult:
    """How a call ends that failed with an error, in words without a secret."""
    if isinstance(error, ApiError):
        # The row names its invoice; the same trouble of many rows is to be one text.
        error = error.about(None)
    hint = str(getattr(error, "hint", ""))
    text = str(error).removesuffix(hint).rstrip()
    if isinstance(error, StaffNotFoundError) and call.staff_id not in text:
        text += f" The staff_id was {call.staff_id}."
    if isinstance(error, OutcomeUnknownError):
        hint = OUTCOME_UNKNOWN["hint"]
    return CallResult(call.id, "failed", error_type=type(error).__name__, error=redact(text), hint=redact(hint))


class StoredRow(NamedTuple):
    """A row with the state of its call; `shared` if another row stands for the call."""

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
    """An open backlog. Whatever it does, it raises `EkbError` if it cannot be read or written."""

    @property
    def name(self) -> str:
        """What to call it, without a secret."""
        ...

    @property
    def claims_ahead(self) -> int:
        """How many paid calls a run may claim before their turn; nobody else can make them meanwhile."""
        ...

    @property
    def file(self) -> Path | None:
        """Where it is, if that is a file."""
        ...

    @property
    def trouble(self) -> str:
        """Why it cannot be written for the time being, "" if it can or that is not known."""
        ...

    async def close(self) -> None:
        """Nothing more is asked of it."""
        ...

    async def begin_import(self) -> None:
        """Begins with nothing staged."""
        ...

    async def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Puts rows aside, which are read in a thread, without touching the backlog; how many they were."""
        ...

    async def commit_import(self, manifest: Path, columns: tuple[str, ...]) -> AddReport:
        """Takes the staged rows into the backlog, all or none."""
        ...

    async def discard_import(self) -> None:
        """Forgets what was staged."""
        ...

    async def begin_run(self, *, hold_unknown: bool) -> int:
        """Enters a run, alive until `end_run`; its ID."""
        ...

    async def hold_unknown(self, run_id: int) -> None:
        """From now on the outcomes that a run leaves unknown are held."""
        ...

    async def take_over(self, *, hold_unknown: bool) -> None:
        """Gives back what dead runs had claimed, and counts what they had sent; holds it if they or this one say so."""
        ...

    async def end_run(self, run_id: int) -> None:
        """Takes a run out and gives back what it had claimed and not ended."""
        ...

    async def free(self) -> int:
        """Give back what runs had claimed that hold no lock, even if they seem to be alive; how many rows."""
        ...

    async def claim(self, run_id: int, tenant: str, kind: str, limit: int, *, latest: bool) -> list[Call]:
        """The next pending calls, the oldest first or the latest first, marked as running under the run."""
        ...

    async def record(
        self, run_id: int, marks: Sequence[SentMark], endings: Sequence[CallResult], *, last: bool = False
    ) -> Collection[int]:
        """Writes which claimed calls leave and how calls ended, in one transaction.

        Gives the marked calls that the run has not any more, which must not leave. The `last` record of a run is not
        waited for as long as others.
        """
        ...

    async def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        """Whose calls are pending among the kinds; who has the fewest comes first."""
        ...

    async def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        """Whether a tenant's calls are pending among the kinds."""
        ...

    async def has_running(self, kinds: Sequence[str]) -> bool:
        """Whether calls are running among the kinds."""
        ...

    async def copies(self, call_id: int) -> list[tuple[str, str]]:
        """Manifest and file of every row of a call, the latest first."""
        ...

    async def manifests(self) -> list[str]:
        """The paths of all manifests."""
        ...

    async def named(self, name: str, sha256: str) -> list[str]:
        """Return the paths of local files that rows name and that have this name or content."""
        ...

    async def retry(self, cause: str, *, unknown: bool) -> int:
        """Makes failed calls pending; how many rows that are.

        Those whose outcome is unknown only if `unknown`, and then no others. `cause` is the class of the error, or a
        part of its text.
        """
        ...

    async def load(self) -> list[StateCount]:
        """Calls and rows by kind and state, as far as there are any."""
        ...

    async def failures(self) -> dict[str, int]:
        """Failed rows by the class of their error, the most frequent first."""
        ...

    async def causes(self, limit: int) -> list[Cause]:
        """Failed rows by error, the most frequent first, at most `limit` of them."""
        ...

    async def maybe_billed(self) -> int:
        """How often the answer of a billed call was lost."""
        ...

    async def has_tenants(self) -> bool:
        """Whether a row has a tenant."""
        ...

    async def tenant_loads(self) -> list[TenantStateCount]:
        """Rows by tenant and state, as far as there are any, in the order of the tenants."""
        ...

    async def active_runs(self) -> list[ActiveRun]:
        """The runs that have entered, the oldest first."""
        ...

    async def page(self, after: int, limit: int, state: str | None, kind: str | None) -> list[StoredRow]:
        """Rows behind row `after` in their order, of one state and kind or of all."""
        ...


def counts_of(load: Iterable[StateCount | TenantStateCount]) -> dict[str, int]:
    """Rows by state, every state present."""
    counts: dict[str, int] = dict.fromkeys(STATES, 0)
    for each in load:
        counts[each.state] += each.rows
    return counts
