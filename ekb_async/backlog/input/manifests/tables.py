"""The rows of manifests that have a header, in which the place of a value says what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.headings import COLUMNS, shown
from ekb_async.backlog.input.manifests.own import own_values
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.rows.fields import WrongFieldError
from ekb_async.errors import ManifestError

Record = tuple[int, int, int, tuple[str, ...], str]
"""One row as it is written: line, start and length, values, own columns.

`start` and `length` locate it in the manifest. The values are in the order of `COLUMNS`, with "" for each that the row
does not have. The own columns are a JSON object, "" if the row has none.
"""


class Table:
    """What each cell of a row means. `columns` has the column of each cell, "" for the user's own.

    A wrong header is added to the problems. `label` makes the name of a column without a heading from its index.
    """

    def __init__(
        self, names: Sequence[str], columns: Columns, problems: Problems, line: int, label: Callable[[int], str]
    ) -> None:
        self._problems = problems
        self._label = label
        self._width = len(names)
        self._unnamed = [index for index, name in enumerate(names) if not name]
        self._own: list[tuple[int, str]] = []
        found: list[str] = []
        before: set[str] = set()
        for index, name in enumerate(names):
            column = ""
            if name:
                try:
                    column, heading = columns.place(name, before)
                except WrongFieldError as error:
                    problems.add(str(error), line=line, column=shown(name))
                    if problems.is_full:
                        break
                else:
                    before.add(column or heading)
                    if heading:
                        self._own.append((index, heading))
            found.append(column)
        self.columns = tuple(found)
        # A column that the manifest lacks takes its value from an empty cell appended to each row.
        places = (found.index(name) if name in found else self._width for name in COLUMNS)
        self._values_of = itemgetter(*places)

    def record(self, line: int, start: int, length: int, cells: list[str]) -> Record:
        """Return a row. Raises `ManifestError` for a value without a heading, and for a wrong one in an own column."""
        width = self._width
        if len(cells) != width:
            if "".join(cells[width:]).strip():
                self._wrong(line, self._label(width), f"the header has only {width} columns")
            cells = [*cells[:width], *[""] * (width - len(cells))]
        for index in self._unnamed:
            if cells[index].strip():
                self._wrong(line, self._label(index), "this column has a value and no name")
        own = ""
        if self._own:
            try:
                own = own_values((heading, cells[index]) for index, heading in self._own)
            except WrongFieldError as error:
                self._wrong(line, shown(error.column), str(error))
        cells.append("")
        return line, start, length, self._values_of(cells), own

    def _wrong(self, line: int, column: str, reason: str) -> None:
        raise ManifestError.at(self._problems.path, reason, line=line, column=column)
