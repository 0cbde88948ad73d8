"""Pictures that are drawn from the code are those of the present code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.drawings import pictures


@pytest.mark.parametrize("place", list(pictures()), ids=lambda place: f"{place.parts[-3]}-{place.name}")
def test_a_picture_is_current(place: Path) -> None:
    """If not, `python -m tests.support.drawings` draws it again."""
    assert place.read_text(encoding="utf-8") == pictures()[place]
