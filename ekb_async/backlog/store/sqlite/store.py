"""A backlog in a file of SQLite, one transaction per change. Synchronous; used from one thread only.

See `call_store` for what a backlog is. Rows are staged in a temporary table of this connection.
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
from ekb_async.backlog.store.sqlite import sql
from ekb_async.backlog.store.sqlite.opening import BacklogFile
from ekb_async.backlog.store.sqlite.rescue import Rescue
from ekb_async.errors import ConfigError
from ekb_async.storage.file_lease import Lease
from ekb_async.storage.process import ProcessIdentity, this_process

__all__ = ["OUTCOME_UNKNOWN", "Call", "CallResult", "Store"]

P = ParamSpec("P")
T = TypeVar("T")

_BUSY = 60.0  # seconds
_ROWS_PER_INSERT = 50
_STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's machine, which makes millions in a second
_tenant_of = itemgetter(ManifestRow._fields.index("tenant"))  # faster than by name
_TENANT_ENDS = "\x1f"  # between a tenant and what makes its call one, in `calls.identity`


class Store:
    """An open backlog file. Raises `ConfigError` if the file is no backlog, `sqlite3.Error` if the disk fails.

    SQLite waits `busy` seconds for the lock of another process.
    """

    def __init__(self, path: Path, busy: float = _BUSY) -> None:
        self.path = path
        self._file = BacklogFile(path, busy)
        self._rescue = Rescue()

    @property
    def database(self) -> sqlite3.Connection:
        """The connection, for copying only; all else goes through the methods."""
        return self._file.database

    def close(self) -> None:
        self._file.close()

    def check(self) -> None:
        """Raise `ConfigError` if the file, or what was written into it, is not there any more."""
        self._file.check()

    @property
    def is_lost(self) -> bool:
        """Whether nobody would find what is written."""
        return self._file.continuity is not None and self._file.continuity.is_lost

    def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what one of the methods that only read brings, of one state of the file."""
        return self._file.read(lambda: work(*args, **kwargs))

    def begin_import(self) -> None:
        """Makes the table that `import_rows` fills, empty."""
        self.database.execute("DROP TABLE IF EXISTS temp.staged")
        columns = ", ".join(ManifestRow._fields)
        self.database.execute(f"CREATE TEMP TABLE staged (n INTEGER PRIMARY KEY, {columns})")

    def import_rows(self, rows: Iterable[ManifestRow]) -> int:
        """Puts rows aside without touching the backlog; how many they were."""
        columns = ", ".join(ManifestRow._fields)
        marks = f"({', '.join('?' * len(ManifestRow._fields))})"
        coming, staged = iter(rows), 0
        with self.transaction("DEFERRED"):
            # Each run of a statement costs as much as a few rows do.
            while some := list(itertools.islice(coming, _ROWS_PER_INSERT)):
                if any(map(_tenant_of, some)):
                    some = [row._replace(identity=keyed(row.tenant, row.identity)) for row in some]
                insert = f"INSERT INTO temp.staged ({columns}) VALUES {', '.join([marks] * len(some))}"  # noqa: S608 - names
                self.database.execute(insert, list(itertools.chain.from_iterable(some)))
                staged += len(some)
        return staged

    def discard_import(self) -> None:
        """Forgets what was staged."""
        self.database.execute("DROP TABLE IF EXISTS temp.staged")

    def commit_import(self, manifest: Path, columns: tuple[str, ...], given_up: threading.Event) -> AddReport:
        """Takes the staged rows into the backlog, all or none; none if it is given up before all are in."""
        self.database.set_progress_handler(given_up.is_set, _STEPS_BETWEEN_LOOKS)
        try:
            with self.change():
                self.settle_dead()
                return add_imported(self.database, manifest, columns)
        finally:
            self.database.set_progress_handler(None, 0)

    def begin_run(self, *, hold_unknown: bool) -> tuple[int, Lease]:
        """Enters a run; its ID, and the lease that shows that it is alive. Raises `ConfigError` if it gets none."""
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
        """Gives back what dead runs had claimed, and counts what they had sent; holds it if they or this one say so."""
        with self.change():
            self.settle_dead(hold_unknown=hold_unknown)

    def end_run(self, run_id: int) -> None:
        """Takes a run out and gives back what it had claimed and not ended.

        Raises `ConfigError`, which says where its last answers are, if they cannot be in the file.
        """
        if self._file.continuity is not None and self.is_lost:
            try:
                self._file.check()
            except ConfigError as error:
                for line in self._rescue.keep(self.path, file_is_lost=self._file.continuity.file_is_lost):
                    error.add_note(line)
                raise
        with self.transaction():
            self._give_back(run_id)

    def settle_dead(self, *, hold_unknown: bool = False) -> None:
        """What `take_over` does, within a transaction."""
        for run_id, lease in self._runs():
            if lease.take_from_dead():
                self._give_back(run_id, hold_unknown=hold_unknown)
                lease.remove()

    def free(self) -> int:
        """Give back what runs had claimed whose lock nobody holds, even if their process is there; how many rows."""
        freed = 0
        with self.change():
            for run_id, lease in self._runs():
                if lease.take_if_free():
                    freed += self._number(sql.COUNT_CLAIMED, run_id)
                    self._give_back(run_id)
                    lease.remove()
        return freed

    def _runs(self) -> list[tuple[int, Lease]]:
        found = self.database.execute("SELECT id, token, pid, process FROM runs").fetchall()
        return [
            (run_id, Lease(self.path, token, ProcessIdentity.parse(pid, kept))) for run_id, token, pid, kept in found
        ]

    def _give_back(self, run_id: int, *, hold_unknown: bool = False) -> None:
        values = {"run_id": run_id, "hold": hold_unknown, "now": time.time(), **OUTCOME_UNKNOWN}
        self.database.execute(sql.HOLD, values)
        self.database.execute(sql.GIVE_BACK, values)
        self.database.execute("DELETE FROM runs WHERE id = ?", (run_id,))

    def hold_unknown(self, run_id: int) -> None:
        """From now on the outcomes that a run leaves unknown are held."""
        with self.change():
            self.database.execute("UPDATE runs SET hold_unknown = 1 WHERE id = ?", (run_id,))

    def claim(self, run_id: int, kind: str, limit: int, *, tenant: str = "", latest: bool = False) -> list[Call]:
        """The next pending calls of a kind, oldest first or latest first, marked as running under the run."""
        with self.change():
            query = sql.CLAIM_LATEST if latest else sql.CLAIM
            calls = list(map(Call._make, self.database.execute(query, (tenant, kind, limit))))
            if calls:
                # They are all there are between the first and the last of them.
                first, last = sorted((calls[0].id, calls[-1].id))
                self.database.execute(sql.TAKE, (run_id, tenant, kind, first, last))
        self._rescue.claimed(tenant, calls)
        return calls

    def pending_tenants(self, kinds: Sequence[str]) -> list[str]:
        """Whose calls are pending among the kinds; who has the fewest comes first."""
        query = (
            "SELECT tenant FROM calls WHERE state = 'pending' AND kind IN (SELECT value FROM json_each(?)) "
            "GROUP BY tenant ORDER BY count(*), tenant"
        )
        return [tenant for (tenant,) in self.database.execute(query, (msgspec.json.encode(kinds).decode(),))]

    def has_pending(self, tenant: str, kinds: Sequence[str]) -> bool:
        """Whether a tenant's calls are pending among the kinds."""
        query = "SELECT EXISTS (SELECT 1 FROM calls WHERE tenant = ? AND kind = ? AND state = 'pending')"
        return any(self._number(query, tenant, kind) for kind in kinds)

    def has_running(self, kinds: Sequence[str]) -> bool:
        """Whether calls are running among the kinds."""
        query = "SELECT EXISTS (SELECT 1 FROM calls WHERE state = 'running' AND kind = ?)"
        return any(self._number(query, kind) for kind in kinds)

    def manifests(self) -> list[str]:
        """The paths of all manifests."""
        return [path for (path,) in self.database.execute("SELECT DISTINCT path FROM manifests")]

    def copies(self, call_id: int) -> list[tuple[str, str]]:
        """Manifest and file of every row of a call, the latest first."""
        return self.database.execute(sql.COPIES, (call_id,)).fetchall()

    def named(self, name: str, sha256: str) -> list[str]:
        """Return the paths of local files that rows name and that have this name or content."""
        found = self.database.execute(sql.NAMED, {"name": name, "sha256": sha256})
        return [str(Path(manifest).parent / file) for manifest, file in found]

    def record(
        self, run_id: int, marks: Sequence[tuple[int, int]], endings: Sequence[CallResult], *, last: bool = False
    ) -> list[int]:
        """Writes which claimed calls leave and how calls ended, in one transaction; the marked calls that it has not.

        A mark is a call's ID and how many of its attempts have no answer. Nothing is written, so that no call leaves,
        if the file is not as it was left. What comes `last` is written if anybody can find it then, and remembered for
        `end_run` otherwise.
        """
        now = time.time()
        recorded = [_recorded(run_id, ending, now) for ending in endings]
        tolerated = [ConfigError] if last else []
        gone: list[int] = []
        with contextlib.suppress(*tolerated):
            self._file.check()
        with contextlib.suppress(*tolerated):
            gone = self._write_record(marks, recorded, run_id)
        if self._file.continuity is not None:
            self._rescue.ended(endings, self._file.continuity.changes)
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
        """Makes failed calls pending; how many rows that are.

        Those whose outcome is unknown only if `unknown`, and then no others. `cause` is the class of the error, or a
        part of its text.
        """
        wanted = {"cause": cause, "unknown": unknown, "error_type": UNKNOWN}
        with self.change():
            self.settle_dead()
            (rows,) = self.database.execute(sql.COUNT_TO_RETRY, wanted).fetchone()
            self.database.execute(sql.RETRY, wanted)
        return int(rows)

    def load(self) -> list[StateCount]:
        """Calls and rows by kind and state, as far as there are any."""
        return [
            StateCount(*each)
            for each in self.database.execute(
                "SELECT kind, state, count(*), sum(row_count) FROM calls GROUP BY state, kind"
            ).fetchall()
        ]

    def failures(self) -> dict[str, int]:
        """Failed rows by the class of their error, the most frequent first."""
        return dict(
            self.database.execute(
                "SELECT error_type, sum(row_count) AS failed FROM calls WHERE state = 'failed' "
                "GROUP BY error_type ORDER BY failed DESC, error_type"
            )
        )

    def causes(self, limit: int) -> list[Cause]:
        """Failed rows by error, the most frequent first, at most `limit` of them."""
        found = self.database.execute(
            "SELECT error_type, error, hint, sum(row_count) AS failed FROM calls WHERE state = 'failed' "
            "GROUP BY error_type, error, hint ORDER BY failed DESC, error_type, error LIMIT ?",
            (limit,),
        )
        return [
            Cause(error_type=error_type, error=error, hint=hint, rows=rows) for error_type, error, hint, rows in found
        ]

    def has_tenants(self) -> bool:
        """Whether a row has a tenant."""
        return bool(self._number("SELECT EXISTS (SELECT 1 FROM calls WHERE tenant != '')"))

    def tenant_loads(self) -> list[TenantStateCount]:
        """Rows by tenant and state, as far as there are any, in the order of the tenants."""
        return [TenantStateCount(*each) for each in self.database.execute(sql.TENANT_LOADS, (UNKNOWN,))]

    def active_runs(self) -> list[tuple[int, float, int]]:
        """Process, start and number of claimed calls of each run that has entered, the oldest first."""
        return self.database.execute(sql.RUNS).fetchall()

    def maybe_billed(self) -> int:
        """How often the answer of a billed call was lost."""
        return self._number("SELECT coalesce(sum(maybe_billed), 0) FROM calls WHERE maybe_billed > 0")

    def page(self, after: int, limit: int, state: str | None = None, kind: str | None = None) -> list[StoredRow]:
        """Rows behind row `after` in their order, of one state and kind or of all."""
        wanted = {"after": after, "limit": limit, "state": state, "kind": kind}
        return [StoredRow(*row) for row in self.database.execute(sql.PAGE, wanted).fetchall()]

    def _number(self, query: str, *values: object) -> int:
        return int(self.database.execute(query, values).fetchone()[0])

    @contextmanager
    def change(self) -> Iterator[None]:
        """A transaction on the file as it was opened. Raises `ConfigError` if it is there no more."""
        self._file.check()
        with self.transaction():
            yield

    def transaction(self, mode: str = "IMMEDIATE") -> AbstractContextManager[None]:
        """What is written in the block is on the disk behind it, or undone."""
        return self._file.transaction(mode)


def keyed(tenant: str, identity: str) -> str:
    """The identity that a call has in the file."""
    return f"{tenant}{_TENANT_ENDS}{identity}" if tenant else identity


def _recorded(run_id: int, ending: CallResult, now: float) -> tuple[object, ...]:
    """The values of `sql.RECORD`."""
    call_id, state, tries, maybe_billed, answer, error_type, error, hint = ending
    result = None if answer is None else keep(answer)
    # What a file system calls a file need not be a text.
    error = error.encode(errors="replace").decode()
    ended_at = None if state == "pending" else now
    return state, tries, maybe_billed, ended_at, result, error_type, error, hint, call_id, run_id
