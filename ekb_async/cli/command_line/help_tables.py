"""Help in Chinese on a terminal of any width: a text without blanks is folded, where Typer would cut it off.

Imported only when help is shown, because rich takes time to load.
"""

from __future__ import annotations

from typing import Any

from rich.columns import Columns
from rich.table import Table
from rich.text import Text


class _FoldingTable(Table):
    def add_row(self, *cells: Any, **options: Any) -> None:
        for cell in cells:
            for part in cell.renderables if isinstance(cell, Columns) else [cell]:
                if isinstance(part, Text):
                    part.overflow = "fold"
        super().add_row(*cells, **options)


def fold() -> None:
    """Fold the texts of help tables from now on. Typer has no setting for it, so its table is replaced."""
    from typer import rich_utils

    setattr(rich_utils, "Table", _FoldingTable)  # noqa: B010 - no public name
