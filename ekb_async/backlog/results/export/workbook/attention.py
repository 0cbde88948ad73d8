"""The rows that need attention: failed ones, and invoices that are not usable, with the cause and what to do."""

from __future__ import annotations

from ekb_async.backlog.results.export.columns import COLUMNS, TENANT, Column, Columns, Value, column_of, own_columns
from ekb_async.backlog.results.export.workbook.invoices import Shown, Verdict
from ekb_async.backlog.results.export.workbook.look import Look
from ekb_async.backlog.results.export.workbook.table import Mark, Plan
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task

_COLUMNS = (
    column_of("file"),
    column_of("staff_id"),
    Column("problem", "Problem", "问题", str, 14),
    Column("cause", "Cause", "原因", str, 24),
    Column("why_not", "Reason in full", "详细说明", str, 48),
    Column("advice", "What to do", "处理建议", str, 52),
    column_of("invoice_number"),
    column_of("invoice_date", 12),
    column_of("seller", 26),
    column_of("total"),
    column_of("currency", 8),
    column_of("ref"),
    column_of("invoice_id", 28),
    column_of("kind", 16),
    column_of("id", 10),
)
_PRINTED = 11
_WRAPPED = ("why_not", "advice")
_AFTER_CAUSE = (":", "：", " ")


class Attention:
    """Makes the rows of the sheet; `columns` are those of the invoices."""

    def __init__(self, columns: Columns, place: dict[str, int], names: Names) -> None:
        self._names = names
        self._place = place
        own = {index: column.own for index, column in enumerate(columns) if column.own is not None}
        fixed = (*_COLUMNS, columns[place["tenant"]]) if "tenant" in place else _COLUMNS
        self._columns = (*fixed, *own_columns(own.values(), (*COLUMNS, *fixed, TENANT)))
        self._own = list(own)

    def plan(self, look: Look) -> Plan:
        """Return the plan of the table."""
        texts = self._names.texts
        return Plan(
            texts("Attention"),
            self._columns,
            _PRINTED,
            [
                Mark("problem", self._problem(Verdict.FAILED), look.failed_row),
                Mark("problem", self._problem(Verdict.REFUSED), look.unusable_row),
                Mark("problem", self._problem(Verdict.EMPTY), look.unusable_row),
            ],
            wrapped=_WRAPPED,
        )

    def row_of(self, task: Task, shown: Shown) -> list[Value] | None:
        """Return the row for an invoice, None if it needs no attention."""
        if shown.verdict not in (Verdict.FAILED, Verdict.REFUSED, Verdict.EMPTY):
            return None
        row, place = shown.row, self._place
        problem = self._problem(shown.verdict)
        cause = self._cause(task, shown)
        # The cause has a column of its own.
        reason = str(row[place["why_not"]] or "")
        if reason.removeprefix(cause).startswith(_AFTER_CAUSE):
            reason = reason.removeprefix(cause).lstrip("".join(_AFTER_CAUSE))
        special = {
            "problem": problem,
            "cause": cause,
            "why_not": reason or cause,
            "advice": self._advice(task, shown.verdict),
        }
        values = (special.get(column.name) or row[place[column.name]] for column in self._columns if column.own is None)
        return [*values, *(row[index] for index in self._own)]

    def _problem(self, verdict: Verdict) -> str:
        if verdict is Verdict.FAILED:
            return self._names.state("failed")
        return self._names.texts("Not usable") if verdict is Verdict.REFUSED else self._names.texts("No invoice")

    def _cause(self, task: Task, shown: Shown) -> str:
        if shown.verdict is Verdict.FAILED:
            return self._names.cause(task.error_type or "")
        return self._names.not_usable(None) if shown.verdict is Verdict.REFUSED else self._names.texts("No invoice")

    def _advice(self, task: Task, verdict: Verdict) -> str:
        if verdict is Verdict.FAILED:
            return self._names.advice(task.error_type or "", task.hint)
        if verdict is Verdict.REFUSED:
            return self._names.about_unusable()
        return self._names.texts("Look at the file: if it shows an invoice, hand in a clearer picture.")
