"""The measured part of the pages about benchmarks is that of the report in the repository."""

from __future__ import annotations

from tests.support.measured_pages import contents, words_without_chinese


def test_tables_and_pictures_are_current() -> None:
    """If not, `python -m tests.support.measured_pages` writes them again."""
    stale = [place for place, text in contents().items() if place.read_text(encoding="utf-8") != text]
    assert not stale


def test_every_word_has_chinese() -> None:
    """Titles, cases and figures of a new benchmark are added to `tests/support/measured_words.py`."""
    assert not words_without_chinese()
