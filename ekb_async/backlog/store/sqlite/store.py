"""A backlog in a SQLite file, with one transaction per change. Synchronous, for use from one thread.

`call_store` describes the states of a call. Rows are imported into a temporary table of the connection.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from operator import itemgetter
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

from ekb_async.backlog.input.manifest import ManifestRow
from ekb_async.backlog.store.adding import add_imported
from ekb_async.backlog.store.answers import keep
from ekb_async.backlog.store.call_store import (
    OUTCOME_UNKNOWN,
    UNKNOWN,
    AddReport,
    Call,
    CallResult,
    Cause,
    StateCount,
    StoredRow,
    TenantStateCount,
)
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.sqlite import sql
from ekb_async.backlog.store.sqlite.opening import BacklogFile
from ekb_async.backlog.store.sqlite.rescue import Rescue
from ekb_async.errors import ConfigError
from ekb_async.storage.file_lease import Lease
from ekb_async.storage.process import ProcessIdentity, this_process

__all__ = ["OUTCOME_UNKNOWN", "Call", "CallResult", "Store"]

P = ParamSpec("P")
T = TypeVar("T")

_tenant_of = itemgetter(ManifestRow._fields.index("tenant"))  # faster than by name
_TENANT_SEPARATOR = "\x1f"  # follows the tenant in `calls.identity`


class Store:
    """An open backlog file. Raises `ConfigError` if the file is no backlog, `sqlite3.Error` if the disk fails.

    SQLite waits `lock_wait` seconds for the lock of another process.
    """

    def __init__(self, path: Path, lock_wait: float = LIMITS.lock_wait_seconds) -> None:
        self.path = path
        self._file = BacklogFile(path, lock_wait)
        self._rescue = Rescue()

    @property
    def database(self) -> sqlite3.Connection:
        """The connection, for copying only."""
        return self._file.database

    def close(self) -> None:
        self._file.close()

    def check(self) -> None:
        """Raise `StorageError` if the file, or what was written into it, is gone."""
        self._file.check()

    @property
    def is_lost(self) -> bool:
        """Whether anything written from now on would be lost."""
        return self._file.continuity is not None and self._file.continuity.is_lost

    def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a method that only reads, all of it from one state of the file."""
        return self._file.read(lambda: work(*args, **kwargs))

    def begin_import(self) -> None:
        """Create an empty table for `import_rows`."""
        self.database.execute("DROP TABLE IF EXISTS temp.imported")
        columns = ", ".join(ManifestRow._fields)
        self.database.execute(f"CREATE TEMP TABLE imported (n INTEGER PRIMARY KEY, {columns})")

    def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Store rows in a temporary table without changing the backlog, and return their number."""
        columns = ", ".join(ManifestRow._fields)
        placeholders = f"({', '.join('?' * len(ManifestRow._fields))})"
        remaining, imported, rows_per_insert = iter(rows), 0, LIMITS.rows_per_insert
        with self.transaction("DEFERRED"):
            while batch := list(itertools.islice(remaining, rows_per_insert)):
                if any(map(_tenant_of, batch)):
                    batch = [row._replace(identity=keyed(row.tenant, row.identity)) for row in batch]
                values = ", ".join([placeholders] * len(batch))
                insert = f"INSERT INTO temp.imported ({columns}) VALUES {values}"  # noqa: S608 - names
                self.database.execute(insert, list(itertools.chain.from_iterable(batch)))
                imported += len(batch)
        return imported

    def discard_import(self) -> None:
        """Drop the imported rows."""
        self.database.execute("DROP TABLE IF EXISTS temp.imported")

    def commit_import(self, manifest: Path, columns: tuple[str, ...], cancelled: threading.Event) -> AddReport:
        """Add the imported rows to the backlog, all or none; none if the event is set before all are added."""
        self.database.set_progress_handler(cancelled.is_set, LIMITS.steps_between_cancel_checks)
        try:
            with self.change():
                self.settle_dead()
                return add_imported(self.database, manifest, columns)
        finally:
            self.database.set_progress_handler(None, 0)

    def begin_run(self, *, hold_unknown: bool) -> tuple[int, Lease]:
        """Register a run, and return its ID and the lease that shows that it is alive.

        Raises `StorageError` if the lease cannot be taken.
        """
        process = this_process()
        lease = Lease(self.path, secrets.token_hex(8), process)
        values = (lease.token, process.pid, process.kept, time.time(), hold_unknown)
        try:
            with self.change():
                insert = "INSERT INTO runs (token, pid, process, started_at, hold_unknown) VALUES (?, ?, ?, ?, ?)"
                run_id = self.database.execute(insert, values).lastrowid
                assert run_id is not None  # noqa: S101 - an insert has one
                lease.take()
        except BaseException:
            lease.remove()
            raise
        return run_id, lease

    def take_over(self, *, hold_unknown: bool) -> None:
        """Release the calls of dead runs and count those that were sent, which are held if either run asks for that."""
        with self.change():
            self.settle_dead(hold_unknown=hold_unknown)

    def end_run(self, run_id: int) -> None:
        """Remove a run and release its calls that have no result.

        If the file is lost, the run's last answers are saved elsewhere, and a `StorageError` says where they are.
        """
        if self._file.continuity is not None and self.is_lost:
            try:
                self._file.check()
            except ConfigError as error:
                for line in self._rescue.keep(self.path, file_is_lost=self._file.continuity.file_is_lost):
                    error.add_note(line)
                raise
        with self.transaction():
            self._release(run_id)

    def settle_dead(self, *, hold_unknown: bool = False) -> None:
        """Do what `take_over` does, within the caller's transaction."""
        for run_id, lease in self._runs():
            if lease.take_from_dead():
                self._release(run_id, hold_unknown=hold_unknown)
                lease.remove()

    def free(self) -> int:
        """Release the calls of runs whose lock is free, even if their process exists, and return the number of rows."""
        freed = 0
        with self.change():
            for run_id, lease in self._runs():
                if lease.take_if_free():
                    freed += self._number(sql.COUNT_CLAIMED, run_id)
                    self._release(run_id)
                    lease.remove()
        return freed

    def _runs(self) -> list[tuple[int, Lease]]:
        found = self.database.execute("SELECT id, token, pid, process FROM runs").fetchall()
        return [
            (run_id, Lease(self.path, token, ProcessIdentity.parse(pid, process)))
            for run_id, token, pid, process in found
        ]

    def _release(self, run_id: int, *, hold_unknown: bool = False) -> None:
        values = {"run_id": run_id, "hold": hold_unknown, "now": time.time(), **OUTCOME_UNKNOWN}
        self.database.execute(sql.HOLD, values)
        self.database.execute(sql.RELEASE, values)
        self.database.execute("DELETE FROM runs WHERE id = ?", (run_id,))

    def hold_unknown(self, run_id: int) -> None:
        """Hold the unknown outcomes of a run from now on."""
        with self.change():
            self.database.execute("UPDATE runs SET hold_unknown = 1 WHERE id = ?", (run_id,))

    def claim(self, run_id: int, kind: str, limit: int, *, tenant: str = "", latest: bool = False) -> list[Call]:
        """Claim the next pending calls of a kind for a run, the oldest first or the latest first."""
        with self.change():
            query = sql.CLAIM_LATEST if latest else sql.CLAIM
            calls = list(map(Call._make, self.database.execute(query, (tenant, kind, limit))))
            if calls:
                # All pending calls of the kind between the first and the last of them are among them.
                first, last = sorted((calls[0].id, calls[-1].id))
                self.database.execute(sql.TAKE, (run_id, tenant, kind, first, last))
        self._rescue.claimed(tenant, calls)
        return calls

    def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        """Return the tenants that have pending calls of these kinds, the one with the fewest first."""
        query = (
            "SELECT tenant FROM calls WHERE state = 'pending' AND kind IN (SELECT value FROM json_each(?)) "
            "GROUP BY tenant ORDER BY count(*), tenant"
        )
        return [tenant for (tenant,) in self.database.execute(query, (msgspec.json.encode(kinds).decode(),))]

    def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        """Return whether a tenant has pending calls of these kinds."""
        query = "SELECT EXISTS (SELECT 1 FROM calls WHERE tenant = ? AND kind = ? AND state = 'pending')"
        return any(self._number(query, tenant, kind) for kind in kinds)

    def has_running(self, kinds: Sequence[str]) -> bool:
        """Return whether calls of these kinds are running."""
        query = "SELECT EXISTS (SELECT 1 FROM calls WHERE state = 'running' AND kind = ?)"
        return any(self._number(query, kind) for kind in kinds)

    def manifests(self) -> list[str]:
        """Return the paths of all manifests."""
        return [path for (path,) in self.database.execute("SELECT DISTINCT path FROM manifests")]

    def copies(self, call_id: int) -> list[tuple[str, str]]:
        """Return manifest and file of every row of a call, the latest first."""
        return self.database.execute(sql.COPIES, (call_id,)).fetchall()

    def named(self, name: str, sha256: str) -> list[str]:
        """Return the paths of those local files of rows that have this name or content."""
        found = self.database.execute(sql.NAMED, {"name": name, "sha256": sha256})
        return [str(Path(manifest).parent / file) for manifest, file in found]

    def record(
        self, run_id: int, marks: Sequence[tuple[int, int]], results: Sequence[CallResult], *, last: bool = False
    ) -> list[int]:
        """Write in one transaction which claimed calls are about to be sent and how others ended.

        Returns the marked calls that the run no longer holds. A mark is a call's ID and the number of its unanswered
        attempts. Raises `StorageError` and writes nothing if the file is damaged, so that no call is sent; but the
        `last` record is written unless it would be lost, and then kept for `end_run`.
        """
        now = time.time()
        recorded = [_record_values(run_id, result, now) for result in results]
        tolerated = [ConfigError] if last else []
        gone: list[int] = []
        with contextlib.suppress(*tolerated):
            self._file.check()
        with contextlib.suppress(*tolerated):
            gone = self._write_record(marks, recorded, run_id)
        if self._file.continuity is not None:
            self._rescue.ended(results, self._file.continuity.changes)
            if not self.is_lost:
                self._rescue.settled(self._file.continuity.in_file)
        return gone

    def _write_record(
        self, marks: Sequence[tuple[int, int]], recorded: Sequence[tuple[object, ...]], run_id: int
    ) -> list[int]:
        with self.transaction():
            gone = [
                call_id
                for call_id, unconfirmed in marks
                if not self.database.execute(sql.MARK_SENT, (unconfirmed, call_id, run_id)).rowcount
            ]
            self.database.executemany(sql.RECORD, recorded)
        return gone

    def retry(self, cause: str = "", *, unknown: bool = False) -> int:
        """Make failed calls pending again, and return the number of their rows.

        With `unknown` only calls with an unknown outcome, otherwise only the others. `cause` is part of the error's
        class or text.
        """
        wanted = {"cause": cause, "unknown": unknown, "error_type": UNKNOWN}
        with self.change():
            self.settle_dead()
            (rows,) = self.database.execute(sql.COUNT_TO_RETRY, wanted).fetchone()
            self.database.execute(sql.RETRY, wanted)
        return int(rows)

    def load(self) -> list[StateCount]:
        """Count calls and rows by kind and state, leaving out zeros."""
        return [
            StateCount(*each)
            for each in self.database.execute(
                "SELECT kind, state, count(*), sum(row_count) FROM calls GROUP BY state, kind"
            ).fetchall()
        ]

    def failures(self) -> dict[str, int]:
        """Count failed rows by the class of their error, the most frequent first."""
        return dict(
            self.database.execute(
                "SELECT error_type, sum(row_count) AS failed FROM calls WHERE state = 'failed' "
                "GROUP BY error_type ORDER BY failed DESC, error_type"
            )
        )

    def causes(self, limit: int) -> list[Cause]:
        """Count failed rows by error, the most frequent first, at most `limit` errors."""
        found = self.database.execute(
            "SELECT error_type, error, hint, sum(row_count) AS failed FROM calls WHERE state = 'failed' "
            "GROUP BY error_type, error, hint ORDER BY failed DESC, error_type, error LIMIT ?",
            (limit,),
        )
        return [
            Cause(error_type=error_type, error=error, hint=hint, rows=rows) for error_type, error, hint, rows in found
        ]

    def has_tenants(self) -> bool:
        """Return whether any row has a tenant."""
        return bool(self._number("SELECT EXISTS (SELECT 1 FROM calls WHERE tenant != '')"))

    def tenant_loads(self) -> list[TenantStateCount]:
        """Count rows by tenant and state, leaving out zeros, in the order of the tenants."""
        return [TenantStateCount(*each) for each in self.database.execute(sql.COUNT_BY_TENANT, (UNKNOWN,))]

    def active_runs(self) -> list[tuple[int, float, int]]:
        """Return process ID, start and number of claimed calls of each registered run, the oldest first."""
        return self.database.execute(sql.ACTIVE_RUNS).fetchall()

    def maybe_billed(self) -> int:
        """Return how often the answer of a billed call was lost."""
        return self._number("SELECT coalesce(sum(maybe_billed), 0) FROM calls WHERE maybe_billed > 0")

    def page(self, after: int, limit: int, state: str | None = None, kind: str | None = None) -> list[StoredRow]:
        """Return the rows after row `after` in order, of one state and kind or of all."""
        wanted = {"after": after, "limit": limit, "state": state, "kind": kind}
        return [StoredRow(*row) for row in self.database.execute(sql.PAGE, wanted).fetchall()]

    def _number(self, query: str, *values: object) -> int:
        return int(self.database.execute(query, values).fetchone()[0])

    @contextmanager
    def change(self) -> Iterator[None]:
        """Run the block as a transaction on the file that was opened. Raises `StorageError` if it is damaged."""
        self._file.check()
        with self.transaction():
            yield

    def transaction(self, mode: str = "IMMEDIATE") -> AbstractContextManager[None]:
        """Run a block as a transaction, which is on the disk afterwards, or rolled back."""
        return self._file.transaction(mode)


def keyed(tenant: str, identity: str) -> str:
    """Return the identity of a call as it is stored in the file."""
    return f"{tenant}{_TENANT_SEPARATOR}{identity}" if tenant else identity


def _record_values(run_id: int, result: CallResult, now: float) -> tuple[object, ...]:
    """Return the values of `sql.RECORD`."""
    call_id, state, tries, maybe_billed, answer, error_type, error, hint = result
    stored = None if answer is None else keep(answer)
    # The error may quote a file name that is no valid Unicode.
    error = error.encode(errors="replace").decode()
    ended_at = None if state == "pending" else now
    return state, tries, maybe_billed, ended_at, stored, error_type, error, hint, call_id, run_id
