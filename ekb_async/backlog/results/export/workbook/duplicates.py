"""The equal invoices of a workbook, with their rows.

Only later rows tell that an earlier one has company, so the rows are kept in a database on disk until the end. Rows are
equal if they share a call, or if the answers to their calls have the same invoice.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.results.export.columns import Column, Columns, Value, column_of
from ekb_async.backlog.results.export.workbook.invoices import Shown
from ekb_async.backlog.results.export.workbook.look import Look
from ekb_async.backlog.results.export.workbook.table import Mark, Plan
from ekb_async.backlog.results.found import same_invoice
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task

_COLUMNS = (
    column_of("file"),
    Column("group", "Group", "组号", int, 8),
    Column("relation", "Why equal", "重复原因", str, 20),
    Column("people_differ", "People differ", "人员不同", str, 12),
    column_of("staff_id"),
    column_of("invoice_kind", 24),
    column_of("invoice_number"),
    column_of("invoice_date", 12),
    column_of("seller", 28),
    column_of("total"),
    column_of("currency", 8),
    column_of("ref"),
    column_of("state"),
    column_of("id", 10),
)
_PRINTED = 11
_TAKEN = (
    *("file", "staff_id", "invoice_kind", "invoice_number", "invoice_date", "seller", "total", "currency"),
    *("ref", "state"),
)
"""The values of a row that are kept as they are; dates and amounts as texts."""
_CREATE = f"CREATE TABLE seen (id, lead, same, target, shared_by, tenant, {', '.join(_TAKEN)})"
_INSERT = f"INSERT INTO seen VALUES ({', '.join('?' * (6 + len(_TAKEN)))})"  # noqa: S608 - constants
_EQUAL = f"""
SELECT first, same, id, people_differ, target, shared_by, tenant, {", ".join(_TAKEN)}
FROM (
    SELECT *, MIN(id) OVER equal AS first, MAX(id) OVER equal AS last,
        MIN(staff_id) OVER equal != MAX(staff_id) OVER equal AS people_differ
    FROM seen WHERE lead IS NOT NULL OR id IN (SELECT lead FROM seen WHERE lead IS NOT NULL)
    WINDOW equal AS (PARTITION BY same)
)
WHERE first != last ORDER BY first, same, id
"""  # noqa: S608 - constants


class Equal(NamedTuple):
    """A row of the sheet, and the target of its link."""

    row: list[Value]
    target: str | None


class Duplicates:
    """Collects the rows of billed calls in a database in the directory `scratch`, and yields those that are equal."""

    def __init__(self, columns: Columns, place: dict[str, int], names: Names, scratch: Path) -> None:
        self._names = names
        self._columns = (*_COLUMNS, columns[place["tenant"]]) if "tenant" in place else _COLUMNS
        self._taken = [place[name] for name in _TAKEN]
        self._name = itemgetter(place["invoice_code"], place["invoice_number"])
        self._rows: list[tuple[Value, ...]] = []
        with _disk_errors():
            self._database = sqlite3.connect(scratch / "equal.sqlite", isolation_level=None)
            # It is never committed: few rows stay in memory, and nothing of it is read later.
            for statement in ("PRAGMA journal_mode = OFF", "PRAGMA cache_size = -4096", "BEGIN", _CREATE):
                self._database.execute(statement)

    def plan(self, look: Look) -> Plan:
        """Return the plan of the table."""
        marks = [Mark("people_differ", self._names.yes_or_no(True), look.unusable_row)]
        return Plan(self._names.texts("Duplicates"), self._columns, _PRINTED, marks, banded="group")

    def add(self, task: Task, shown: Shown, target: str | None) -> None:
        """Keep a row."""
        if task.kind not in PAID:
            return
        row = shown.row
        lead = task.same_as if task.same_as is not None else task.shared_with
        same = same_invoice(task.kind, task.tenant, *self._name(row)) or f"#{lead or task.id}"
        taken = (row[index] for index in self._taken)
        self._rows.append((task.id, lead, same, target, task.shared_by, task.tenant, *map(_kept, taken)))

    def store(self) -> None:
        """Write the rows kept in memory to the database."""
        with _disk_errors():
            self._database.executemany(_INSERT, self._rows)
        self._rows.clear()

    def equal(self) -> Iterator[Equal]:
        """Yield the rows that are equal to others, group by group."""
        self.store()
        group, before, why = 0, None, ""
        with _disk_errors():
            for first, same, task_id, differ, target, shared_by, tenant, *taken in self._database.execute(_EQUAL):
                values = dict(zip(_TAKEN, taken, strict=True))
                if same != before:
                    group, before, why = group + 1, same, shared_by or "invoice"
                yield Equal(
                    self._row(
                        values
                        | {
                            "group": group,
                            "id": task_id,
                            "tenant": tenant,
                            "people_differ": self._names.yes_or_no(bool(differ)),
                            "relation": self._relation(shared_by or why, is_first=task_id == first),
                        }
                    ),
                    target,
                )

    def close(self) -> None:
        """Close the database; its directory is removed by the caller."""
        with suppress(sqlite3.Error):
            self._database.close()

    def _relation(self, why: str, *, is_first: bool) -> str:
        return self._names.texts("First row") if is_first else self._names.shared_by(why) or ""

    def _row(self, values: dict[str, Value]) -> list[Value]:
        day, total = values["invoice_date"], values["total"]
        values["invoice_date"] = date.fromisoformat(day) if isinstance(day, str) else None
        values["total"] = Decimal(total) if isinstance(total, str) else None
        return [values[column.name] for column in self._columns]


def _kept(value: Value) -> Value:
    return str(value) if isinstance(value, Decimal | date) else value


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(errno.EIO, str(error)) from None
