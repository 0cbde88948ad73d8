"""Which jobs are in the call table already, by the rules of `backlog.store.adding`, and what the others change.

The same rules are SQL there, over temporary tables and under a lock that all imports share. A program adds few jobs, in
a transaction of its own, so the calls that it finds are compared here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ekb_async.backlog.store.transactions.adding import BLANKS, spelled

FROM = "enqueued"
"""Stands for the manifest of calls that were added by a program."""

Key = tuple[str, str]
"""A tenant and an identity."""


class NewRow(NamedTuple):
    """A job as a row; `content` and `form` are those of its file if it shares the call of another one."""

    line: int
    tenant: str
    identity: str
    kind: str
    priority: int
    ref: str
    file: str
    invoice_id: str
    staff_id: str
    file_name: str
    date: str
    content: str = ""
    form: int | None = None

    @property
    def key(self) -> Key:
        return self.tenant, self.identity


class StoredRow(NamedTuple):
    """A row of a call that was found."""

    id: int
    ref: str
    content: str
    path: str
    file: str
    staff_id: str
    file_name: str
    date: str
    own: str
    row_form: int
    manifest_id: int
    is_signed: bool


class FoundCall(msgspec.Struct):
    """A call that is there for the identity of a job, and those of its rows that have the reference of one."""

    id: int
    tenant: str
    identity: str
    """The identity of the call, which may be named after another file."""
    state: str
    priority: int
    lead_form: int
    form: int | None
    """The form of the job's file if it shares the call of another one."""
    rows: list[StoredRow] = msgspec.field(default_factory=list)


class Match(msgspec.Struct):
    """What jobs change in a call: rows that are `missing`, and stored ones that they write anew (`moved`)."""

    call: FoundCall
    jobs: list[NewRow]
    missing: list[NewRow] = msgspec.field(default_factory=list)
    present: set[int] = msgspec.field(default_factory=set)
    """The stored rows that jobs are paired with, by their IDs."""
    moved: list[tuple[StoredRow, NewRow]] = msgspec.field(default_factory=list)

    @property
    def priority(self) -> int:
        return min(job.priority for job in self.jobs)

    @property
    def lead(self) -> int:
        """From which row the call is made afterwards: the ID of a stored one, -n for the n-th missing, 0 as before.

        Of several files, that which the vendor takes best is sent, and of these the latest. The row from which a
        running or done call was made stays.
        """
        lead, form = 0, self.call.lead_form
        if self.moved:
            best, row_id = max((-(row.row_form if job.form is None else job.form), row.id) for row, job in self.moved)
            if -best <= form:
                lead, form = row_id, -best
        if self.missing and self.call.state in {"pending", "failed"}:
            best, n = max((-(job.form or 0), n) for n, job in enumerate(self.missing, 1))
            if -best <= form:
                lead = -n
        return lead

    @property
    def changes(self) -> bool:
        """Whether anything has to be written."""
        return bool(self.missing or self.moved) or self.priority < self.call.priority


def found_calls(rows: Iterable[Any]) -> dict[Key, FoundCall]:
    """Return the calls in the result of `sql.LOOK`, by the tenants and identities that were asked for."""
    calls: dict[Key, FoundCall] = {}
    for row in rows:
        key = row["tenant"], row["identity"]
        if (call := calls.get(key)) is None:
            calls[key] = call = FoundCall(
                id=row["call_id"],
                tenant=row["tenant"],
                identity=row["call_identity"],
                state=row["state"],
                priority=row["priority"],
                lead_form=row["lead_form"] or 0,
                form=row["form"],
            )
        if row["row_id"] is not None:
            stored = (row[name] for name in StoredRow._fields if name != "id")
            call.rows.append(StoredRow(row["row_id"], *stored))
    return calls


def matches_of(jobs: Iterable[NewRow], calls: dict[Key, FoundCall]) -> list[Match]:
    """Compare jobs with the rows of the calls that were found for all of them; one match for each call."""
    matches: dict[int, Match] = {}
    for job in jobs:
        call = calls[job.key]
        match = matches.setdefault(call.id, Match(call, []))
        match.jobs.append(job)
        if match.call is not call:
            known = {row.id for row in match.call.rows}
            match.call.rows = sorted([*match.call.rows, *(row for row in call.rows if row.id not in known)])
    for match in matches.values():
        _compare(match, [_in_call(job, calls[job.key]) for job in match.jobs])
    return list(matches.values())


def _in_call(job: NewRow, call: FoundCall) -> NewRow:
    """Return a job as a row of a call, which may be named after another file."""
    if job.identity == call.identity:
        return job
    return job._replace(identity=call.identity, content=job.identity, form=call.form)


def _compare(match: Match, jobs: list[NewRow]) -> None:
    missing, stored = jobs, match.call.rows
    # The strictest first. The n-th of several equal rows is paired with the n-th that was added.
    for key in (_as_written, _file, _spelled, _by_ref):
        if not missing or not stored:
            break
        missing, stored = _pair(match, key, missing, stored)
    match.missing = missing


def _pair(
    match: Match, key: Callable[[Any], object], jobs: Sequence[NewRow], rows: Sequence[StoredRow]
) -> tuple[list[NewRow], list[StoredRow]]:
    """Pair jobs and rows that are equal under a key, and return those that are left."""
    waiting: defaultdict[object, list[StoredRow]] = defaultdict(list)
    for row in rows:
        if (of_row := key(row)) is not None:
            waiting[row.ref, of_row].append(row)
    left: list[NewRow] = []
    for job in jobs:
        of_job = key(job)
        same = [] if of_job is None else waiting[job.ref.strip(BLANKS), of_job]
        if not same:
            left.append(job)
            continue
        row = same.pop(0)
        match.present.add(row.id)
        if match.call.state != "done" and _differs(job, row):
            match.moved.append((row, job))
    return left, [row for row in rows if row.id not in match.present]


def _differs(job: NewRow, row: StoredRow) -> bool:
    """Return whether a row is written anew by a job; a date that is known is kept."""
    return (
        row.path != FROM
        or (job.file, job.staff_id, job.file_name) != (row.file, row.staff_id, row.file_name)
        or job.date not in {"", row.date}
        or job.content != row.content
        or bool(row.own)
        or row.is_signed
    )


def _as_written(row: NewRow | StoredRow) -> object:
    return row.file, row.staff_id, row.file_name, row.date


def _file(row: NewRow | StoredRow) -> object:
    return row.file


def _spelled(row: NewRow | StoredRow) -> object:
    return spelled(FROM if isinstance(row, NewRow) else row.path, row.file)


def _by_ref(row: NewRow | StoredRow) -> object:
    return row.content if row.ref.strip(BLANKS) else None
