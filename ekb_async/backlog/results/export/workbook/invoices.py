"""The rows of tasks as people read them: what matters first, names in their language, why an invoice is not usable."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from operator import attrgetter, itemgetter
from typing import NamedTuple

from ekb_async.backlog.input.rows.kinds import CHECKS, PAID
from ekb_async.backlog.results.export.columns import TENANT, Column, Columns, Row, Value, own_columns
from ekb_async.backlog.results.found import Found, found_in
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task
from ekb_async.backlog.store.values.ledger_answers import SOURCE
from ekb_async.models import InvoiceId

_FIRST = ("file", "invoice_kind", "invoice_number", "invoice_date", "seller", "total", "tax", "usable")
_WHY_NOT = Column("why_not", "Why not, or warning", "不可用原因或风险提示", str, 44)
_PEOPLE = ("staff_id", "tenant")
_NAMED = (
    *("invoice_kind", "invoice_number", "usable", "message", "why_not"),
    *("kind", "state", "shared_by", "source", "error_type", "error", "hint", "warning"),
)
"""Columns whose values differ from those for programs: of an invoice, then of a task."""
_INTERFACE = re.compile(r"(?:\d{3} )?(\S+) \(/api/[^\s()]*\)\.? ?")
"""The status and the interface in an error, which say nothing to people; the column of errors has them."""
PRINTED = len(_FIRST) + 2
"""How many columns are printed: up to the person."""


def invoice_columns(columns: Columns) -> Columns:
    """Return the columns of a table in the order of the workbook; the tenant, if any, is beside the person."""
    known = {column.name: column for column in columns if column.own is None}
    names = [column.own for column in columns if column.own is not None]
    columns = [column for column in columns if column.own is None]
    own = list(own_columns(names, (*columns, _WHY_NOT, TENANT)))
    first = [*(known[name] for name in _FIRST), _WHY_NOT, *(known[name] for name in _PEOPLE if name in known), *own]
    return (*first, *(column for column in columns if column not in first))


class Verdict(Enum):
    """What became of an invoice, or of a row without one."""

    USABLE = "usable"
    REFUSED = "refused"
    READ = "read"
    """It was recognised, and not verified."""
    EMPTY = "empty"
    """The file shows no invoice."""
    FAILED = "failed"
    NONE = "none"
    """There is no answer yet, or the row asks for no verdict."""


class Shown(NamedTuple):
    """A row of the workbook, and what became of its invoice."""

    row: Row
    verdict: Verdict


class InvoiceRows:
    """Makes the rows of tasks. `place` has the index of each column that is not the user's own.

    Kinds, states and sentences are in the language of `names`, unless the vendor or the user wrote them.
    """

    def __init__(self, columns: Columns, names: Names) -> None:
        self.columns = columns
        self.place = {column.name: index for index, column in enumerate(columns) if column.own is None}
        self._names = names
        self._without_interface = r"\1。" if names.texts.is_chinese else r"\1. "
        self._own = [column.own for column in columns if column.own is not None]
        of_task = [name for name in Task.__struct_fields__ if name in self.place and name not in _NAMED]
        self._values_of_task = attrgetter(*of_task)
        order = {name: index for index, name in enumerate((*of_task, *Found._fields, *_NAMED))}
        own = itertools.count(len(of_task) + len(Found._fields) + len(_NAMED))
        # A row is arranged by `operator`: to look up each cell by its name takes ten times as long.
        self._arranged = itemgetter(
            *(order[column.name] if column.own is None else next(own) for column in columns),
        )

    def of(self, task: Task, answered: Sequence[Found] | None) -> Iterator[Shown]:
        """Yield the rows of a task; `answered` are the invoices in its answer, None without one that can be read."""
        names, render = self._names, self._names.texts.rendered
        common, own = self._values_of_task(task), map(task.own.get, self._own)
        words: tuple[Value, ...] = (
            names.call(task.kind),
            names.state(task.state),
            names.shared_by(task.shared_by),
            names.source(task.source),
            names.cause(task.error_type) if task.error_type else None,
            (reason := names.reason(task)) or None,
            task.hint and render(task.hint),
            (warning := task.warning and render(task.warning)),
        )
        beside = (*words, *own)
        for found in answered or found_in(task):
            # A check without a file is usable if the tax authority confirmed the invoice.
            usable = found.is_verified if task.kind in CHECKS else found.usable
            verdict = _verdict(task, answered, usable=usable)
            message = found.message and (render(found.message) if task.source == SOURCE else found.message)
            why_not = _INTERFACE.sub(self._without_interface, reason) or self._why_not(verdict, message) or warning
            number = found.invoice_number or (InvoiceId.parse(task.invoice_id).number if task.invoice_id else None)
            kind = found.invoice_kind
            named = (kind and names.invoice(kind), number, usable, message, why_not)
            yield Shown(self._arranged((*common, *found, *named, *beside)), verdict)

    def _why_not(self, verdict: Verdict, message: str | None) -> str | None:
        """Return why an invoice is not usable."""
        if verdict is Verdict.REFUSED:
            return self._names.not_usable(message and " ".join(message.split()))
        return self._names.texts("No invoice was found in the file.") if verdict is Verdict.EMPTY else None


def _verdict(task: Task, answered: Sequence[Found] | None, *, usable: bool | None) -> Verdict:
    if task.state == "failed":
        return Verdict.FAILED
    if task.state != "done" or task.kind not in PAID or answered is None:
        return Verdict.NONE
    if not answered:
        return Verdict.EMPTY
    if task.kind == "ocr":
        return Verdict.READ
    return Verdict.USABLE if usable is True else Verdict.REFUSED
