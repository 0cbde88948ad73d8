"""Adding jobs to the call table in the current transaction of a connection.

New calls need two statements: one that looks for them, and one that adds them with their rows. A call that is there
already is locked only if a job changes it, so adding jobs again waits for nothing. What another transaction adds
meanwhile is found when that one has ended; then jobs are compared with it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from ekb_async.backlog.store.transactions.adding import BLANKS
from ekb_async.ext.engines.enqueuing import sql
from ekb_async.ext.engines.enqueuing.matching import FROM, FoundCall, Key, Match, NewRow, found_calls, matches_of
from ekb_async.storage.statements import Statements


class AddedJobs:
    """The jobs that were added in one transaction: for each the ID of its call, and whether the call is new."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self.ids: list[int] = []
        self.new: list[bool] = []
        self.present = 0
        """How many jobs were in the call table already."""
        self._calls: dict[Key, int] = {}
        self._created: set[Key] = set()
        self._row_ids: dict[int, int] = {}
        self._manifest: str | None = None
        self._paired: set[int] = set()

    async def add(self, jobs: Sequence[NewRow]) -> None:
        """Add the next jobs."""
        self._calls.clear()
        self._row_ids.clear()
        left = list(jobs)
        while left:
            calls = await self._look(left)
            known = [job for job in left if job.key in calls]
            fresh = [job for job in left if job.key not in calls]
            if known and fresh and not self._row_ids:
                # Rows are numbered in the order of the jobs, even if two statements add them.
                ids = await self._statements.fetch(sql.RESERVE_ROWS, count=str(len(jobs)))
                self._row_ids = {job.line: row_id for job, (row_id,) in zip(jobs, ids, strict=True)}
            left = await self._join(known, calls) + await self._create(fresh)
            left.sort(key=attrgetter("line"))
        for job in jobs:
            self.ids.append(self._calls[job.key])
            # Of several jobs with the same content, the first one is new.
            self.new.append(job.key in self._created)
            self._created.discard(job.key)

    async def _look(self, jobs: Sequence[NewRow]) -> dict[Key, FoundCall]:
        """Return the calls that are there for jobs, with their rows but for those that this transaction has used."""
        keys = {
            "tenant": [job.tenant for job in jobs],
            "identity": [job.identity for job in jobs],
            "ref": [job.ref.strip(BLANKS) for job in jobs],
        }
        calls = found_calls(await self._statements.fetch(sql.LOOK, **keys, blanks=BLANKS))
        for call in calls.values():
            call.rows = [
                row for row in call.rows if row.id not in self._paired and str(row.manifest_id) != self._manifest
            ]
        return calls

    async def _create(self, jobs: Sequence[NewRow]) -> list[NewRow]:
        """Add new calls, and return the jobs for which another transaction has added a call meanwhile."""
        if not jobs:
            return []
        added = await self._statements.fetch(sql.ADD_CALLS, **self._source, **self._columns(jobs))
        for row in added:
            self._manifest = str(row["manifest"])
            key = row["tenant"], row["identity"]
            self._calls[key] = row["id"]
            self._created.add(key)
        return [job for job in jobs if job.key not in self._calls]

    async def _join(self, jobs: Sequence[NewRow], calls: dict[Key, FoundCall]) -> list[NewRow]:
        """Add jobs whose calls are there, and return those whose call has been removed meanwhile."""
        changing: list[NewRow] = []
        for match in matches_of(jobs, calls):
            if match.changes:
                changing += match.jobs
            else:
                self._note(match)
        if not changing:
            return []
        changing.sort(key=attrgetter("line"))
        ids = sorted({calls[job.key].id for job in changing})
        await self._statements.fetch(sql.LOCK, ids=list(map(str, ids)))
        calls = await self._look(changing)
        matches = matches_of([job for job in changing if job.key in calls and calls[job.key].id in ids], calls)
        changed = [match for match in matches if match.changes]
        if changed:
            await self._write(changed)
        for match in matches:
            self._note(match)
        return [job for job in changing if job.key not in self._calls]

    async def _write(self, matches: Sequence[Match]) -> None:
        missing = sorted((job for match in matches for job in match.missing), key=attrgetter("line"))
        place = {job.line: n for n, job in enumerate(missing, 1)}
        leads = [-place[match.missing[-lead - 1].line] if (lead := match.lead) < 0 else lead for match in matches]
        moved = [each for match in matches for each in match.moved]
        [(manifest, *_), *_] = await self._statements.fetch(
            sql.JOIN_CALLS,
            **self._source,
            **self._columns(missing),
            moved_id=[str(row.id) for row, _ in moved],
            **{f"moved_{name}": [_text(getattr(job, name)) for _, job in moved] for name in _MOVED},
            call_id=[str(match.call.id) for match in matches],
            rows=[str(len(match.missing)) for match in matches],
            call_priority=[str(match.priority) for match in matches],
            lead=list(map(str, leads)),
        )
        self._manifest = str(manifest)

    @property
    def _source(self) -> dict[str, Any]:
        return {"path": FROM, "manifest": self._manifest}

    def _columns(self, jobs: Sequence[NewRow]) -> dict[str, list[str | None]]:
        columns = {name: [_text(getattr(job, name)) for job in jobs] for name in NewRow._fields}
        return columns | {"row_id": [_text(self._row_ids.get(job.line)) for job in jobs]}

    def _note(self, match: Match) -> None:
        self.present += len(match.present)
        self._paired |= match.present
        self._calls |= {job.key: match.call.id for job in match.jobs}


_MOVED = ("line", "file", "staff_id", "file_name", "date", "content", "form")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
