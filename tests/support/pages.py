"""The pages of the documentation: what they consist of, and the blocks of code in them.

A block with a title is a file; others are run, in the order of the page. A comment of the form `<!-- test: … -->` above
a block says what is special about it:

    exits 3                    the commands end with this status
    until "text"               the commands run on once this text was printed, until the page ends
    tests/docs/test_x.py       another test runs this block, because it needs what a page has not
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
ENGLISH = DOCS / "en"
README = ROOT / "README.md"
CHINESE_README = ROOT / "README.zh-CN.md"

_DIRECTIVE = re.compile(r"<!-- test: (.*?) -->")
_TITLE = re.compile(r'title="([^"]+)"')
_INCLUDED = re.compile(r'^--8<-- "([^"]+)"\n', re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code: its language, its text with included files, the line it begins on, and what is said about it."""

    language: str
    text: str
    line: int
    title: str | None
    directive: str | None

    def write_to(self, directory: Path, text: str | None = None) -> None:
        """Write the file that the block is, if it has a title; `text` replaces what the page shows."""
        if self.title is not None:
            file = directory / self.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text if text is None else text, encoding="utf-8")


def names_of_pages() -> list[str]:
    """Return the paths of all pages below the directory of a language."""
    return sorted(str(page.relative_to(CHINESE)) for page in CHINESE.rglob("*.md"))


@cache
def tokens_of(page: Path) -> tuple[Token, ...]:
    """Return a page as Markdown tokens."""
    parser = MarkdownIt("commonmark").enable("table")
    return tuple(parser.parse(page.read_text(encoding="utf-8")))


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of code of a page, also those in lists and notes."""
    directive: str | None = None
    for token in tokens_of(page):
        if token.type == "html_block":
            found = _DIRECTIVE.search(token.content)
            directive = found[1] if found else None
        elif token.type == "fence":
            language, _, rest = token.info.strip().partition(" ")
            title = _TITLE.search(rest)
            assert token.map is not None
            yield Block(language, _with_files(token.content), token.map[0] + 1, title[1] if title else None, directive)
            directive = None


def block_with(page: Path, text: str) -> Block:
    """Return the only block of a page with a text in it."""
    (block,) = [each for each in blocks_of(page) if text in each.text]
    return block


def _with_files(text: str) -> str:
    return _INCLUDED.sub(lambda found: (DOCS / found[1]).read_text(encoding="utf-8"), text)
