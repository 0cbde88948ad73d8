"""Tasks as rows of a table: one row per invoice if a file shows several, else one per task."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from operator import attrgetter, itemgetter

import msgspec

from ekb_async.backlog.results.export.columns import Columns, Row
from ekb_async.backlog.results.found import Found, found_in
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task
from ekb_async.backlog.store.values.ledger_answers import SOURCE


class TableRows:
    """Makes the rows of a table. Answers are read from `raw`, so tasks may be unread ones.

    With `lang` `zh`, everything is Chinese that neither the vendor nor the user wrote; else it is for programs.
    """

    def __init__(self, columns: Columns, lang: str) -> None:
        self._names = Names(lang)
        of_task = [name for name in Task.__struct_fields__ if any(name == each.name for each in columns)]
        self._own = [column.own for column in columns if column.own is not None]
        # A row is arranged by `operator`: to look up each cell by its name takes ten times as long.
        self._values_of_task = attrgetter(*of_task)
        places = {name: place for place, name in enumerate((*of_task, *Found._fields))}
        nothing, own = len(places), itertools.count(len(places) + 1)
        self._arranged = itemgetter(
            *(places.get(column.name, nothing) if column.own is None else next(own) for column in columns)
        )

    def of(self, task: Task) -> Iterator[Row]:
        """Yield the rows of a task; a column that neither a task nor an answer has is None."""
        own, found = map(task.own.get, self._own), found_in(task)
        rows: Iterable[Row] = found
        if self._names.texts.is_chinese:
            rows = [self._named(task, each) for each in found]
            task = self._named_task(task)
        beside, common = (None, *own), self._values_of_task(task)
        for each in rows:
            yield self._arranged((*common, *each, *beside))

    def _named_task(self, task: Task) -> Task:
        """Return a task with names instead of the words for programs, and with its sentences translated."""
        names = self._names
        return msgspec.structs.replace(
            task,
            kind=names.call(task.kind),
            state=names.state(task.state),
            error_type=names.cause(task.error_type) if task.error_type else None,
            error=names.reason(task) or None,
            hint=task.hint and names.texts.rendered(task.hint),
            warning=task.warning and names.texts.rendered(task.warning),
            shared_by=names.shared_by(task.shared_by),
            source=names.source(task.source),
        )

    def _named(self, task: Task, found: Found) -> Row:
        """Return the values of an invoice with the name of its kind, which is the first of them."""
        names, kind, message = self._names, found.invoice_kind, found.message
        if message and task.source == SOURCE:
            # The message of a call is the vendor's.
            found = found._replace(message=names.texts.rendered(message))
        return (kind and names.invoice(kind), *found[1:])
