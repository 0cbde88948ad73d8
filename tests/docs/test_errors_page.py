"""The page of errors: it has each class of the package once."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ekb_async import errors
from tests.support.pages import CHINESE, ENGLISH

_ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


@pytest.mark.parametrize("page", [CHINESE / "errors.md", ENGLISH / "errors.md"], ids=["zh", "en"])
def test_each_class_has_a_row(page: Path) -> None:
    """A class that is not on the page, on it twice, or not in the package, is found."""
    declared = [name for name, _ in inspect.getmembers(errors, inspect.isclass) if name[0] != "_"]
    own = [name for name in declared if getattr(errors, name).__module__ == errors.__name__]
    rows = [name for name in _ROW.findall(page.read_text(encoding="utf-8")) if name[0].isupper()]
    assert sorted(rows) == own
