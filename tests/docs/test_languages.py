"""The documentation in Chinese and English: the same pages, with the same sections and the same code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.pages import CHINESE, CHINESE_README, DOCS, ENGLISH, README, names_of_pages, tokens_of

PAIRS = [
    pytest.param(README, CHINESE_README, id="README"),
    *(pytest.param(ENGLISH / name, CHINESE / name, id=name) for name in names_of_pages()),
]
_COMMENT = re.compile(r"(^|\s+)# .*")
_LANGUAGE = re.compile(r"(?<=docs/)(?:zh|en)(?=/)|(?<=zensical\.)(?:zh|en)|README(?:\.zh-CN)?\.md")


class Section(NamedTuple):
    """What a section has in both languages."""

    level: str
    code: list[tuple[str, str]]
    rows: int
    names: set[str]


def sections(page: Path) -> list[Section]:
    """Return what each section of a page has: code without comments, rows of tables, inline code and links."""
    found: list[Section] = []
    for token in tokens_of(page):
        if token.type == "heading_open":
            found.append(Section(token.tag, [], 0, set()))
        elif token.type == "fence":
            # What commands print, and drawings, are in the language of the page.
            text = "" if token.info.startswith("text") else _LANGUAGE.sub("…", token.content)
            lines = [_COMMENT.sub("", line) for line in text.splitlines()]
            found[-1].code.append((token.info, "\n".join(filter(None, lines))))
        elif token.type == "tr_open":
            found[-1] = found[-1]._replace(rows=found[-1].rows + 1)
        for child in token.children or ():
            if child.type == "code_inline":
                found[-1].names.add(_LANGUAGE.sub("…", child.content))
            elif child.type in {"link_open", "image"}:
                target = str(child.attrs.get("href") or child.attrs.get("src"))
                found[-1].names.add(_LANGUAGE.sub("…", target.partition("#")[0]))
    return found


def test_the_same_pages() -> None:
    """Each page is there in both languages."""
    assert sorted(str(page.relative_to(ENGLISH)) for page in ENGLISH.rglob("*.md")) == names_of_pages()


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_alike_section_by_section(english: Path, chinese: Path) -> None:
    """A heading, a block of code, a row of a table, a name or a link that is in one is in the other too."""
    assert sections(chinese) == sections(english)


@pytest.mark.parametrize(("readme", "other"), [(README, CHINESE_README), (CHINESE_README, README)])
def test_the_other_readme_is_linked_first(readme: Path, other: Path) -> None:
    """The link is the first thing below the title."""
    assert readme.read_text(encoding="utf-8").splitlines()[2].endswith(f"]({other.name})")


@pytest.mark.parametrize("name", [name for name in names_of_pages() if not name.startswith("reference/")])
def test_chinese_is_chinese(name: str) -> None:
    """No page of the Chinese part was left in English, apart from names and code."""
    prose = "".join(
        child.content
        for token in tokens_of(CHINESE / name)
        for child in token.children or ()
        if child.type == "text" and token.type == "inline"
    )
    chinese, latin = len(re.findall(r"[\u4e00-\u9fff]", prose)), len(re.findall(r"[A-Za-z]{2,}", prose))
    assert chinese > latin, f"{chinese} Chinese characters, {latin} Latin words"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_all_pages_are_in_the_navigation(language: str) -> None:
    """A page that the navigation lacks could not be found."""
    listed = re.findall(r'"([\w./-]+\.md)"', (DOCS / f"zensical.{language}.toml").read_text(encoding="utf-8"))
    assert sorted(listed) == names_of_pages()
