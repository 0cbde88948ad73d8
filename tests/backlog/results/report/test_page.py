"""The page as a document: order, policy, accessible tables and charts, title, and the extra that it needs."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.results.report.rendering import _environment
from ekb_async.errors import ConfigError
from tests.support.command import ekb
from tests.support.report_pages import Document, Given, drawings, failed, invoice, page_of

DATES = [date(2026, 1, 5), date(2026, 2, 5)]


def a_bit_of_all() -> list[Given]:
    """Return rows that give the page every section."""
    odd = invoice("7", usable=False, message="no")
    vat = invoice("24000001", kind="vat_special", code="031001900111", seller="杭州云栖酒店管理有限公司")
    return [
        Given((invoice("1"), odd), tenant="north"),
        Given((vat,)),
        Given((vat,), staff_id="corp:b"),
        Given((invoice("1"),), kind="ocr"),
        failed("RecognitionError", "no"),
        Given(state="pending"),
    ]


async def test_what_matters_comes_first(tmp_path: Path) -> None:
    """Headings go from what needs attention, over the money in all its parts, to how the work went."""
    document = Document(await page_of(tmp_path, *a_bit_of_all()))
    assert [text for tag, text in document.headings if tag == "h2"] == [
        "Needs attention",
        "By invoice kind",
        "By month of the invoice date",
        "By person",
        "By seller",
        "Tax",
        "Duplicates",
        "Billed calls, made and saved",
        "Recognised only",
        "Not usable, by reason",
        "Failures by cause",
        "By kind of call",
        "Throughput",
        "By tenant",
        "How the figures are made",
    ]
    levels = [int(tag[1]) for tag, _ in document.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


async def test_the_title_is_that_of_a_person(tmp_path: Path) -> None:
    """The title is what was given, else a general one; the name of the file is nowhere."""
    titled = Document(await page_of(tmp_path, Given((invoice("1"),)), title="差旅 2026"))
    assert titled.headings[0] == ("h1", "差旅 2026")
    path = tmp_path / "general.html"
    assert (await ekb("backlog", "report", tmp_path / "b.sqlite", "-o", path)).status == 0
    general = path.read_text(encoding="utf-8")
    assert Document(general).headings[0] == ("h1", "Invoice report")
    assert "b.sqlite" not in general
    arguments = ("backlog", "report", tmp_path / "b.sqlite", "-o", path, "--title", "三月", "--lang", "zh")
    said = await ekb(*arguments)
    assert (said.status, said.messages) == (0, f"已生成报告：{path}（共 1 行任务）\n")
    assert "<title>三月</title>" in path.read_text(encoding="utf-8")


async def test_an_empty_title_is_refused(tmp_path: Path) -> None:
    """An empty title is a mistake, and nothing is written."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="title must be a text that is not empty"):
            await backlog.report(tmp_path / "page.html", title=" ")
    assert not (tmp_path / "page.html").exists()


async def test_another_language_is_refused(tmp_path: Path) -> None:
    """Only `zh` and `en` are accepted as languages."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="lang must be one of en, zh"):
            await backlog.report(tmp_path / "page.html", lang="fr")


async def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Jinja2 the error names the extra, and nothing is written."""
    _environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match=re.escape('pip install "ekb-async[report]"')):
            await backlog.report(tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


async def test_the_page_needs_no_network(tmp_path: Path) -> None:
    """The policy lets the page load nothing, and run only the styles and scripts in it, by their hashes."""
    html = await page_of(tmp_path, *a_bit_of_all())
    hashes = {
        tag: [
            "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        ]
        for tag in ("style", "script")
    }
    policy = (
        f"default-src 'none'; style-src {hashes['style'][0]}; script-src {hashes['script'][0]}; base-uri 'none'; "
        "form-action 'none'"
    )
    assert [len(each) for each in hashes.values()] == [1, 1]
    assert ("content", policy) in Document(html).attributes
    assert not re.search(r"url\(|@import|https?:(?!//files.example)", html)
    assert not re.search(r'\s(style|on\w+)="', html)


async def test_tables_say_what_they_are(tmp_path: Path) -> None:
    """Each table has a caption and headings with a scope, in a region that the keyboard can scroll."""
    html = await page_of(tmp_path, *a_bit_of_all())
    document = Document(html)
    tables = document.tags.count("table")
    assert tables == len(document.tables) == 15
    assert all(document.tables)
    assert document.tags.count("caption") == tables
    assert len(re.findall(r"<th ", html)) == len(re.findall(r'<th scope="(?:col|row|rowgroup)"', html))
    regions = re.findall(r'role="region" aria-labelledby="([\w-]+)" tabindex="0"', html)
    assert len(regions) == tables
    ids = [value for name, value in document.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert set(regions) <= set(ids)
    links = {value[1:] for name, value in document.attributes if name == "href" and value}
    assert links <= set(ids)


async def test_charts_are_described(tmp_path: Path) -> None:
    """Each chart has its own title and description for screen readers."""
    days = [invoice(str(n), date=day) for n, day in enumerate(DATES)]
    found = drawings(await page_of(tmp_path, Given(tuple(days)), Given(tuple(days), kind="ocr")))
    assert set(found) == {"share", "verified-month", "recognised-month", "throughput-chart"}
    for svg in found.values():
        assert svg.attrib["role"] == "img"
        ids = [svg[0].attrib["id"], svg[1].attrib["id"]]
        assert ids == svg.attrib["aria-labelledby"].split()
        assert svg[0].text
        assert svg[1].text
