"""The columns of a manifest: those that mean something, and the user's own."""

from __future__ import annotations

from collections.abc import Collection

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.manifests.headings import column_of, shown
from ekb_async.backlog.input.manifests.own import own_heading
from ekb_async.backlog.input.rows.fields import WrongFieldError


class Columns:
    """The columns that one manifest has. `own` are the user's own, in the order in which they were found."""

    def __init__(self) -> None:
        self.own: dict[str, None] = {}
        self._names: dict[str, str] = {}

    def place(self, name: str, before: Collection[str]) -> tuple[str, str]:
        """Return the column that a name means and "", or "" and the heading of an own column.

        `before` has the columns and headings to its left. Raises `WrongFieldError` for one that is there twice, and for
        a name that cannot be an own column.
        """
        column = column_of(name)
        heading = "" if column else own_heading(name)
        if column in before or heading in before:
            first = self._names.get(column, "")
            if first and first != shown(name):
                raise WrongFieldError(name, f"this column is there twice, as {first}")
            raise WrongFieldError(name, "this column is there twice")
        if column:
            # The first name is the one that messages use.
            self._names.setdefault(column, shown(name))
        elif heading not in self.own:
            if len(self.own) >= LIMITS.own_columns:
                raise WrongFieldError(name, f"there are more than {LIMITS.own_columns} columns of unknown names")
            self.own[heading] = None
        return column, heading

    def shown(self, column: str) -> str:
        """Return a column as messages name it: by the heading of this manifest."""
        return self._names.get(column) or shown(column)

    @property
    def unknown(self) -> str:
        """The end of a message about a value that is missing: it may stand under a misspelt heading."""
        if not self.own:
            return ""
        names = [shown(heading) for heading in self.own][: LIMITS.shown_columns]
        more = ["…"] if len(self.own) > LIMITS.shown_columns else []
        columns = f"unknown columns: {', '.join([*names, *more])}"
        return f"; {columns}"
