"""What a backlog reports about itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from ekb_async.backlog.input.sources.left_out import LeftOut
from ekb_async.backlog.store.values.calls import WaitingCount
from ekb_async.models.wire.coerce import CHINA
from ekb_async.storage.process import ProcessIdentity
from ekb_async.validation import warn_renamed


class AddReport(msgspec.Struct, frozen=True):
    """The result of adding a manifest: `added` rows are new work, `duplicates` share a call with another row.

    `missing` are codes of documents that are unknown or have no invoices. `present` counts the duplicates that were
    already in the backlog and were not added again. `same_invoice` counts those that are another file of an invoice
    which a row has already, `conflicts` the rows whose file contradicts another one about their invoice.

    `purged` counts the rows that were purged with their results, which were not added again and are in no other count.

    `left_out` has the files of a folder or an archive that are no invoices by their content, the first thousand of
    `left_out_count`. `unread` is the reason why PDFs and pictures were not read, "" if they were.
    """

    added: int
    duplicates: int
    missing: tuple[str, ...] = ()
    present: int = 0
    same_invoice: int = 0
    conflicts: int = 0
    left_out: tuple[LeftOut, ...] = ()
    left_out_count: int = 0
    unread: str = ""
    purged: int = 0


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why `rows` rows failed: class and text of the error, and a hint what to check ("" if there is none)."""

    error_type: str
    error: str
    hint: str
    rows: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Pending rows whose calls wait for another day, and the first and the last moment at which they are due, at UTC+8.

    Both moments are None if no row waits.
    """

    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None


def waiting_rows(counts: Iterable[WaitingCount], *, for_budget: bool = False) -> Waiting:
    """Sum up waiting rows of all kinds: those that wait for a budget, or for another day."""
    counts = [each for each in counts if each.for_budget is for_budget and not each.is_held]
    if not counts:
        return Waiting()
    first, last = min(each.first for each in counts), max(each.last for each in counts)
    return Waiting(
        rows=sum(each.rows for each in counts),
        first=datetime.fromtimestamp(first, CHINA),
        last=datetime.fromtimestamp(last, CHINA),
    )


def held_rows(counts: Iterable[WaitingCount]) -> int:
    """Return the number of rows of all kinds that are held."""
    return sum(each.rows for each in counts if each.is_held)


class TenantCounts(msgspec.Struct, frozen=True, kw_only=True, rename={"unconfirmed": "doubtful"}):
    """The rows of a tenant ("" for rows without one) by state, with every state present.

    `unconfirmed` counts failed rows whose outcome is unknown, on which a person has to decide; `maybe_billed` counts
    the lost answers of billed calls; `waiting` counts pending rows that wait for another day, `held` those that wait
    until a person resumes them. `oldest` is the time, at UTC+8, at which the oldest of the calls was added that are
    pending and could be made now but for a budget; None if there are none, or if an earlier version added them.
    """

    tenant: str
    counts: dict[str, int]
    unconfirmed: int
    maybe_billed: int
    waiting: int = 0
    held: int = 0
    oldest: datetime | None = None

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


class WatchedRun(NamedTuple):
    """A run as another program sees it: its process, what it has claimed, and what it says of itself."""

    host: str
    pid: int
    started_at: float
    seen: float | None
    running: int
    process: str
    said: str

    @property
    def has_ended(self) -> bool:
        """Whether its process has certainly ended."""
        identity = ProcessIdentity.parse(self.pid, self.process)
        return identity is not None and identity.has_ended

    @property
    def active(self) -> ActiveRun:
        """The run without what it says."""
        return ActiveRun(host=self.host, pid=self.pid, started_at=self.started_at, seen=self.seen, running=self.running)


class RemoveReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of removing rows: removed `rows`, and `calls` that had no other row.

    Left are `running` rows, whose call a run has claimed; the rows in `paid`, each the only one of a call that was sent
    or answered; and the rows in `needed`, each with the only file that can be sent for other files of its invoice.
    """

    rows: int = 0
    calls: int = 0
    running: int = 0
    paid: int = 0
    needed: int = 0

    def __add__(self, other: RemoveReport) -> RemoveReport:
        return RemoveReport(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class PurgeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a purge: deleted `calls`, their `rows`, and `manifests` that have no rows any more.

    `forgotten` counts rows of earlier purges that would not be recognised any more if they were added again,
    `log_entries` what job engines had logged.
    """

    calls: int = 0
    rows: int = 0
    manifests: int = 0
    forgotten: int = 0
    log_entries: int = 0

    def __add__(self, other: PurgeReport) -> PurgeReport:
        return PurgeReport(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class RetryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Which failed rows are made pending again: `rows`, with `calls` that they share.

    `billed` of the calls cost money. `sent_before` of these were sent at least once, so they are billed again if the
    vendor billed them, and `maybe_billed` of them got no answer when they were sent. Left are `unknown` rows, whose
    call may already have been billed and is made again only if that is asked for, and `cancelled` rows likewise. Of the
    rows that were asked for by number, `not_failed` are in another state and `missing` are not in the backlog.
    """

    rows: int = 0
    calls: int = 0
    billed: int = 0
    sent_before: int = 0
    maybe_billed: int = 0
    unknown: int = 0
    cancelled: int = 0
    not_failed: int = 0
    missing: int = 0


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A pause that a person has made: of a `tenant`, a `kind` of call and a `ref`, None where it is all of them.

    `since` is at UTC+8; `reason` is "" if none was given.
    """

    tenant: str | None
    kind: str | None
    ref: str | None
    since: datetime
    reason: str = ""


class PauseReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a pause: `rows`, with `calls` that they share, are held from now on.

    Left are `running` rows, whose call a run has claimed: it ends, or is held as well if it was not sent. `shared` rows
    are left because rows of other references share their call.
    """

    rows: int = 0
    calls: int = 0
    running: int = 0
    shared: int = 0


class ResumeReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ending pauses: `rows`, with `calls` that they share, can be made again.

    `held` rows stay so, because of the other pauses in `by`.
    """

    rows: int = 0
    calls: int = 0
    held: int = 0
    by: tuple[Pause, ...] = ()


class CancelReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of cancelling: `rows`, with `calls` that they share, have failed with `CallCancelledError`.

    Left are `running` rows, whose call a run has claimed, and `shared` rows, whose call rows of other references share.
    """

    rows: int = 0
    calls: int = 0
    running: int = 0
    shared: int = 0


class CopyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a copy: added `manifests`, `rows` and `calls`, and calls `joined` with one of the target."""

    manifests: int
    rows: int
    calls: int
    joined: int
