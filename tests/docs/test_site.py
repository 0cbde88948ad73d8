"""The site of the documentation: it builds offline in both languages, and its links lead somewhere."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.pages import DOCS, ROOT

LANGUAGES = ["zh", "en"]
_OTHER_LANGUAGE = re.compile(r'<a href="([^"]+)" hreflang="[a-z]+" class="md-select__link"')
_ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|source)[^>]+src="(https?:[^"]+)|<link[^>]+stylesheet[^>]+href="(https?:[^"]+)"""
)


async def _build(root: Path, language: str) -> None:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "zensical",
        *("build", "--strict", "-f", f"docs/zensical.{language}.toml"),
        cwd=root,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "No issues found" in output.decode()


def _source_of(page: Path, site: Path) -> str:
    place = page.relative_to(site).with_suffix(".md")
    source = DOCS / place if place.parts[0] == "en" else DOCS / "zh" / place
    return source.read_text(encoding="utf-8") if source.exists() else ""


@pytest.mark.process
@pytest.mark.slow
async def test_the_site(tmp_path: Path) -> None:
    """It builds without a warning (a link or an anchor that leads nowhere is one) and loads nothing from elsewhere."""
    for name in ("docs", "ekb_async"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("site", ".cache", "__pycache__"))
    for name in ("CHANGELOG.md", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    for language in LANGUAGES:
        await _build(tmp_path, language)
    site = tmp_path / "docs" / "site"
    for page in site.rglob("*.html"):
        assert not _ELSEWHERE.search(page.read_text(encoding="utf-8")), page
        if page.name != "404.html":  # it is shown at any address
            for link in _OTHER_LANGUAGE.findall(page.read_text(encoding="utf-8")):
                other = (page.parent / link).resolve()
                assert other.is_file(), f"{page} leads to {link}"
                assert other.name == page.name
        for name in re.findall(r"^::: (\S+)$", _source_of(page, site), re.MULTILINE):
            assert f'id="{name}"' in page.read_text(encoding="utf-8"), f"{page.name} lacks {name}"
    for folder, language in ((site, "zh"), (site / "en", "en")):
        found = json.loads((folder / "search.json").read_text(encoding="utf-8"))
        assert found["config"]["lang"] == [language]
        assert {item["location"].partition("#")[0] for item in found["items"]} >= {"start.html", "errors.html"}
    assert len(list(site.rglob("*.html"))) - 2 == 2 * len(list((DOCS / "zh").rglob("*.md")))
