"""The pages of the documentation and the READMEs: their programs and commands run, in the order of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async.sandbox import Sandbox
from tests.support.page_runs import PageRun, fill
from tests.support.pages import CHINESE, CHINESE_README, DOCS, README, ROOT, blocks_of, names_of_pages

ON_DATABASE = {name for name in names_of_pages() if "postgresql://" in (CHINESE / name).read_text(encoding="utf-8")}
WITH_CODE = [name for name in names_of_pages() if any(True for _ in blocks_of(CHINESE / name))]


async def _run(page: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, dsn: str | None = None) -> None:
    monkeypatch.chdir(directory)
    monkeypatch.setenv("EKB_STATE_DIR", str(directory / "state"))
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        fill(directory, box)
        monkeypatch.setenv("EKB_BASE_URL", box.base_url)
        monkeypatch.setenv("EKB_APP_KEY", box.credentials.app_key)
        monkeypatch.setenv("EKB_APP_SECURITY", box.credentials.app_security)
        await PageRun(page, box, directory, dsn).run()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WITH_CODE if name not in ON_DATABASE])
async def test_a_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of a page runs. The pages in English have the same code, as test_languages.py proves."""
    await _run(CHINESE / name, tmp_path, monkeypatch)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("readme", [README, CHINESE_README], ids=lambda readme: readme.name)
async def test_a_readme(readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of a README runs, apart from its first two commands."""
    await _run(readme, tmp_path, monkeypatch)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ON_DATABASE))
async def test_a_page_on_a_database(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    """Every block of a page with an address of PostgreSQL runs on a database of its own."""
    await _run(CHINESE / name, tmp_path, monkeypatch, database)


def test_what_other_tests_run() -> None:
    """A block that a page's test leaves to another test is named there."""
    for page in [*DOCS.rglob("*.md"), README, CHINESE_README]:
        for block in blocks_of(page):
            if block.directive is not None and block.directive.startswith("tests/"):
                file, _, function = block.directive.partition("::")
                assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), f"{page}:{block.line}"
