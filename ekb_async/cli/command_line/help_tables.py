"""Help in Chinese on a terminal of any width: a text without blanks is folded, where Typer would cut it off.

Lines of Chinese end anywhere, except before a closing and after an opening mark; rich ends them at blanks alone.

Imported only when help is shown, because rich takes time to load.
"""

from __future__ import annotations

import re
from typing import Any

from rich.columns import Columns
from rich.table import Table
from rich.text import Text

from ekb_async.cli.command_line.help_module import help_module

_WIDE = "\u2e80-\u2fff\u3040-\u9fff\uac00-\ud7ff\uf900-\ufaff"
_OPENING, _CLOSING = "（《〈「『【“‘", "，。；：、！？）》〉」』】”’"
_WORD = re.compile(rf"\s*(?:[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}{_CLOSING}]+)[{_CLOSING}]*|\S)\s*")
"""What stands on one line: a character of Chinese, or a word of another script, with the marks around it."""


class _FoldingTable(Table):
    def add_row(self, *cells: Any, **options: Any) -> None:
        for cell in cells:
            for part in cell.renderables if isinstance(cell, Columns) else [cell]:
                if isinstance(part, Text):
                    part.overflow = "fold"
        super().add_row(*cells, **options)


def fold() -> None:
    """Fold the texts of help tables from now on. Typer has no setting for it, so its table is replaced."""
    setattr(help_module(), "Table", _FoldingTable)  # noqa: B010 - no public name
    end_lines_in_chinese()


def end_lines_in_chinese() -> None:
    """Let rich end a line between two characters of Chinese from now on. It has no setting for it."""
    from rich import _wrap

    if hasattr(_wrap, "re_word"):
        setattr(_wrap, "re_word", _WORD)  # noqa: B010 - no public name
