"""What is in a backlog and how it changes, one transaction per change. Synchronous; used from one thread only.

A call is `pending`, `running` (claimed by a run), `done` or `failed`. A claimed call is marked as sent when it really
starts; the mark is written with the endings of others, so it is on the disk milliseconds after the request has left.
Whatever is `running` when no run works on the file was interrupted: `recover` makes it pending, and counts it as
`maybe_billed` if it was marked.

Rows are added in two steps. They are staged in a temporary table, which takes as long as reading and hashing the files
does, and then adopted by one transaction made of set-wise statements, so that a manifest is in the backlog as a whole
or not at all and other writers wait for seconds at most.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ekb_async.backlog.answers import Answer, keep
from ekb_async.backlog.manifest import PAID, ManifestRow
from ekb_async.backlog.schema import connect

STATES = ("pending", "running", "done", "failed")


class AddReport(msgspec.Struct, frozen=True):
    """What a manifest brought: `added` rows that are new work, `duplicates` that share a call with another row."""

    added: int
    duplicates: int


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


class Ending(NamedTuple):
    """How a claimed call ended. State `pending` gives it back; `tries` and `maybe_billed` are added to its counters."""

    call_id: int
    state: str
    tries: int = 0
    maybe_billed: int = 0
    answer: Answer | None = None
    error_type: str = ""
    error: str = ""
    hint: str = ""


class StoredRow(NamedTuple):
    """A row with the state of its call."""

    id: int
    manifest: str
    line: int
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
    result: bytes | None


class Store:
    """An open backlog file. Raises `ConfigError` if the file is no backlog, `sqlite3.Error` if the disk fails."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)

    def close(self) -> None:
        self._db.close()

    def begin_staging(self) -> None:
        """Makes the table that `stage` fills, empty."""
        self._db.execute("DROP TABLE IF EXISTS temp.staged")
        columns = ", ".join(ManifestRow._fields)
        self._db.execute(f"CREATE TEMP TABLE staged (n INTEGER PRIMARY KEY, {columns})")

    def stage(self, rows: Iterable[ManifestRow]) -> int:
        """Puts rows aside without touching the backlog; how many they were."""
        marks = ", ".join("?" * len(ManifestRow._fields))
        with self._transaction("DEFERRED"):
            insert = f"INSERT INTO temp.staged ({', '.join(ManifestRow._fields)}) VALUES ({marks})"  # noqa: S608 - names
            return self._db.executemany(insert, rows).rowcount

    def end_staging(self) -> None:
        """Forgets what was staged."""
        self._db.execute("DROP TABLE IF EXISTS temp.staged")

    def adopt(self, manifest: Path, columns: tuple[str, ...]) -> AddReport:
        """Takes the staged rows into the backlog, all or none."""
        with self._transaction():
            manifest_id = self._db.execute(
                "INSERT INTO manifests (path, columns, added_at) VALUES (?, ?, ?)",
                (str(manifest), msgspec.json.encode(columns).decode(), time.time()),
            ).lastrowid
            base = self._number("SELECT coalesce(max(id), 0) FROM rows")
            last_call = self._number("SELECT coalesce(max(id), 0) FROM calls")
            revived = self._number(
                "SELECT count(*) FROM calls WHERE state = 'failed' AND identity IN (SELECT identity FROM temp.staged)"
            )
            self._db.execute(_ADOPT_CALLS, {"base": base})
            self._db.execute(_ADOPT_ROWS, {"base": base, "manifest_id": manifest_id})
            added = self._number("SELECT coalesce(max(id), 0) FROM calls") - last_call + revived
            return AddReport(added=added, duplicates=self._number("SELECT count(*) FROM temp.staged") - added)

    def recover(self) -> None:
        """Makes calls pending that were claimed and have no ending, and counts those that were sent."""
        with self._transaction():
            self._db.execute(_RECOVER, PAID)

    def claim(self, kind: str, limit: int) -> list[Call]:
        """The next pending calls of a kind, oldest first, marked as running."""
        with self._transaction():
            calls = [Call(*row) for row in self._db.execute(_CLAIM, (kind, limit))]
            self._db.executemany("UPDATE calls SET state = 'running' WHERE id = ?", [(call.id,) for call in calls])
        return calls

    def pending(self) -> bool:
        """Whether there is anything to claim."""
        return bool(self._number("SELECT EXISTS (SELECT 1 FROM calls WHERE state = 'pending')"))

    def is_manifest(self, path: Path) -> bool:
        """Whether rows came from this file."""
        paths = self._db.execute("SELECT DISTINCT path FROM manifests").fetchall()
        return any(Path(each).resolve() == path for (each,) in paths)

    def copies(self, call_id: int) -> list[tuple[str, str]]:
        """Manifest and file of every row of a call, the latest first."""
        return self._db.execute(_COPIES, (call_id,)).fetchall()

    def record(self, sent: Iterable[int], endings: Iterable[Ending]) -> None:
        """Writes which claimed calls were sent and how calls ended, in one transaction."""
        now = time.time()
        recorded = [_recorded(ending, now) for ending in endings]
        with self._transaction():
            self._db.executemany(_MARK_SENT, [(call_id,) for call_id in sent])
            self._db.executemany(_RECORD, recorded)

    def retry(self) -> int:
        """Makes failed calls pending; how many rows that are."""
        with self._transaction():
            rows = self._number("SELECT coalesce(sum(row_count), 0) FROM calls WHERE state = 'failed'")
            self._db.execute(
                "UPDATE calls SET state = 'pending', error_type = '', error = '', hint = '' WHERE state = 'failed'"
            )
        return rows

    def counts(self) -> dict[str, int]:
        """Rows by state, every state present."""
        found = dict(self._db.execute("SELECT state, sum(row_count) FROM calls GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def failures(self) -> dict[str, int]:
        """Failed rows by the class of their error, the most frequent first."""
        return dict(
            self._db.execute(
                "SELECT error_type, sum(row_count) AS failed FROM calls WHERE state = 'failed' "
                "GROUP BY error_type ORDER BY failed DESC, error_type"
            )
        )

    def page(self, after: int, limit: int, state: str | None = None) -> list[StoredRow]:
        """Rows behind row `after` in their order, of one state or of all."""
        return [
            StoredRow(*row)
            for row in self._db.execute(_PAGE, {"after": after, "limit": limit, "state": state}).fetchall()
        ]

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[None]:
        self._db.execute(f"BEGIN {mode}")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself already where the disk was full.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _recorded(ending: Ending, now: float) -> dict[str, Any]:
    fields = ending._asdict()
    answer = fields.pop("answer")
    fields["result"] = None if answer is None else keep(answer)
    fields["ended_at"] = None if ending.state == "pending" else now
    return fields


# A row for a failed call is a new wish for it; a row for a running or done one must not change how it was made.
_ADOPT_CALLS = """
INSERT INTO calls (identity, kind, row_id)
SELECT identity, kind, :base + n FROM temp.staged WHERE true ORDER BY n
ON CONFLICT (identity) DO UPDATE SET
    row_count = row_count + 1,
    row_id = CASE WHEN state IN ('pending', 'failed') THEN excluded.row_id ELSE row_id END,
    state = CASE state WHEN 'failed' THEN 'pending' ELSE state END,
    error_type = '', error = '', hint = ''
"""

_ADOPT_ROWS = """
INSERT INTO rows (id, call_id, manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name)
SELECT :base + n, calls.id, :manifest_id, line, start, length, ref, file, invoice_id, staff_id, file_name
FROM temp.staged CROSS JOIN calls USING (identity) ORDER BY n
"""

_RECOVER = """
UPDATE calls SET state = 'pending', attempts = attempts + sent,
    maybe_billed = maybe_billed + (sent AND kind IN (?, ?)), sent = 0
WHERE state = 'running'
"""

_CLAIM = """
SELECT calls.id, identity, row_count, calls.kind, file, invoice_id, staff_id, file_name, start, length,
    manifests.path, manifests.columns
FROM calls CROSS JOIN rows ON rows.id = calls.row_id CROSS JOIN manifests ON manifests.id = rows.manifest_id
WHERE calls.kind = ? AND calls.state = 'pending' ORDER BY calls.id LIMIT ?
"""

_COPIES = """
SELECT manifests.path, file FROM rows JOIN manifests ON manifests.id = manifest_id
WHERE call_id = ? ORDER BY rows.id DESC
"""

_MARK_SENT = "UPDATE calls SET sent = 1 WHERE id = ? AND state = 'running'"

_RECORD = """
UPDATE calls SET state = :state, sent = 0, attempts = attempts + :tries, maybe_billed = maybe_billed + :maybe_billed,
    ended_at = :ended_at, result = :result, error_type = :error_type, error = :error, hint = :hint
WHERE id = :call_id AND state = 'running'
"""

_PAGE = """
SELECT rows.id, manifests.path, line, ref, kind, file, invoice_id, state, attempts, maybe_billed,
    error_type, error, hint, result
FROM rows CROSS JOIN calls ON calls.id = rows.call_id CROSS JOIN manifests ON manifests.id = rows.manifest_id
WHERE rows.id > :after AND (:state IS NULL OR state = :state) ORDER BY rows.id LIMIT :limit
"""
