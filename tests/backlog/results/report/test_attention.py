"""The list of what needs attention, and that of duplicates: exactly those rows, whose they are, how much, why."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlogs import checks, session
from tests.support.read_rows import add_rows, read_row
from tests.support.report_pages import Document, Given, cards, failed, invoice, page_of, written_page

REASON = "购买方名称与企业抬头不一致：" + "请核对开票信息" * 30


async def test_exactly_what_needs_attention_is_listed(tmp_path: Path) -> None:
    """Failed rows, unusable invoices and files without one are listed in the order of rows, with person and amount."""
    rows = [
        Given((invoice("1"),)),
        failed("RecognitionError", "400 识别失败 (/api/openapi/x).", "Check it.", staff_id="corp:li", ref="BX-1"),
        Given((invoice("3"), invoice("4", usable=False, message=REASON, total=Decimal("88.50"))), staff_id="corp:wang"),
        Given(()),
        Given(state="pending"),
    ]
    html = await page_of(tmp_path, *rows, lang="zh")
    lines = Document(html).tables["需要处理"]
    assert lines[0] == ["文件", "人员", "发票号码", "金额", "原因", "处理建议"]
    assert [line[:4] for line in lines[1:]] == [
        ["https://files.example/1.png第 2 行 · BX-1", "corp:li", "–", "–"],
        ["https://files.example/2.png第 3 行", "corp:wang", "4", "88.50"],
        ["https://files.example/3.png第 4 行", "corp:staff", "–", "–"],
    ]
    assert lines[1][4:] == ["识别失败失败", "Check it."]
    assert lines[2][4] == f"{REASON}不可用"
    assert lines[3][4] == "文件中未找到发票。无发票"
    assert cards(html)["需要处理"] == "3"


async def test_all_is_well(tmp_path: Path) -> None:
    """A page without trouble says so."""
    html = await page_of(tmp_path, Given((invoice("1"),)))
    assert cards(html)["Needs attention"] == "0"
    assert Document(html).text.count("Nothing has failed, and all invoices are usable.") == 2


async def test_a_row_that_was_never_answered_is_named_by_what_it_states(tmp_path: Path) -> None:
    """A check that failed is listed with the number and the amount that its row states."""
    rows = ["verify_by_fields,,031001900204,66660001,20240203,88.00,,"]
    async with (
        Sandbox(verify_rate=0, mismatched={"66660001"}) as box,
        session(box) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(checks(tmp_path, *rows))
        await backlog.run(ekb)
        html = await written_page(backlog, tmp_path)
    assert Document(html).tables["Needs attention"][1][2:4] == ["66660001", "88.00"]


async def test_a_long_list_is_cut_and_says_where_the_rest_is(tmp_path: Path) -> None:
    """Of very many rows the first are listed, with the number of all and the command that exports them."""
    count = LIMITS.failures_listed + 20
    refused = tuple(invoice(str(n), usable=False) for n in range(LIMITS.unusable_listed + 7))
    html = await page_of(tmp_path, *[failed("RecognitionError", "no")] * count, Given(refused))
    document = Document(html)
    assert len(document.tables["Needs attention"]) == 1 + LIMITS.failures_listed + LIMITS.unusable_listed
    assert f"The list has 1,000 of {count + len(refused):,}." in document.text
    assert "ekb backlog export DB attention.xlsx --state failed" in document.text
    assert cards(html)["Needs attention"] == f"{count + len(refused):,}"


async def test_duplicates_name_both_rows(tmp_path: Path) -> None:
    """Copies, other files of an invoice and equal answers name the first row with the invoice, and its person."""
    same = SampleInvoice(number="24000001", code="031001900111", total=Decimal(60))
    rows = [
        Given((same,), staff_id="corp:a", ref="first"),
        Given((invoice("2"),)),
        Given((same,), staff_id="corp:b"),
        Given((same,), staff_id="corp:c", file="https://files.example/0.png", ref="again"),
        Given((same,), kind="ocr"),
    ]
    html = await page_of(tmp_path, *rows)
    lines = Document(html).tables["Duplicates"][1:]
    first = "https://files.example/0.pngrow 1 · first"
    assert lines == [
        ["https://files.example/2.pngrow 3", "corp:b", "24000001", "60.00", first, "corp:a", "Same invoice"],
        ["https://files.example/0.pngrow 4 · again", "corp:c", "24000001", "60.00", first, "corp:a", "Same file or ID"],
    ]
    assert cards(html)["Duplicates"] == "2"


async def test_all_files_of_a_later_call_are_duplicates(tmp_path: Path) -> None:
    """Of rows that share a call whose answer an earlier row has, each is listed, not only the one it is made from."""
    same = SampleInvoice(number="24000001", code="031001900111", total=Decimal(60))
    shared = Given((same,), file="https://files.example/shared.png")
    html = await page_of(tmp_path, Given((same,)), shared, shared)
    first = "https://files.example/0.pngrow 1"
    lines = Document(html).tables["Duplicates"][1:]
    assert [(line[0][-5:], line[4], line[6]) for line in lines] == [(f"row {n}", first, "Same invoice") for n in (2, 3)]
    assert cards(html)["Duplicates"] == "2"


async def test_duplicates_that_wait_are_named_by_what_their_files_say(tmp_path: Path) -> None:
    """Files that share a call before it is made are listed with the number and the amount that is printed on them."""
    number = "24312000000000000001"
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        rows = [read_row(name, number, total="321.00") for name in ("a.pdf", "b.pdf")]
        await add_rows(backlog, tmp_path, *rows)
        html = await written_page(backlog, tmp_path)
    (line,) = Document(html).tables["Duplicates"][1:]
    assert line[2:4] == [number, "321.00"]


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_text_from_outside_is_escaped(lang: str, tmp_path: Path) -> None:
    """Texts of invoices, errors, people, titles are escaped, so that they neither change the page nor load anything."""
    evil = "</style></td></script><script>alert(1)</script><img src=x onerror=alert(1)>\x01\u202e\"'&amp;{{ 7*7 }}"
    documents: list[Document] = []
    for number, text in enumerate(("t", evil)):
        directory = tmp_path / str(number)
        directory.mkdir()
        odd = invoice("1", usable=False, message=text, seller=text, kind="vat_electronic")
        rows = [
            Given((odd,), staff_id=text, tenant=text.replace("\x01", "")),
            failed(text or "E", text, text, ref=text.replace("\x01", "")),
        ]
        html = await page_of(directory, *rows, lang=lang, title=text.replace("\x01", ""))
        documents.append(document := Document(html))
        assert not {"src", "onerror", "onload"} & {name for name, _ in document.attributes}
    plain, document = documents
    assert plain.tags == document.tags
    assert "<script>alert(1)</script>" in document.text
    assert "{{ 7*7 }}" in document.text


async def test_signatures_and_secrets_are_masked(tmp_path: Path) -> None:
    """A signed URL in a vendor's message has no signature on the page."""
    signed = "见 https://files.example/a.pdf?Expires=1700000000&Signature=c2VjcmV0c2VjcmV0"
    html = await page_of(tmp_path, Given((invoice("1", usable=False, message=signed),)))
    assert "https://files.example/a.pdf" in html
    assert "c2VjcmV0" not in html


async def test_hostile_texts_leave_the_page_small(tmp_path: Path) -> None:
    """A page whose every text is as long as can be, and must be escaped, has less than two megabytes."""
    long = "\"<&'" * 500
    rows = [
        Given(
            (invoice(f"{n}{long}", usable=False, message=f"{n}{long}", seller=f"{n}{long}", kind="vat_electronic"),),
            staff_id=f"corp:{n}{long}"[:400],
            ref=f"{n}{long}"[:400],
            tenant=f"{n % 250}{long}"[:200],
            file=f"https://files.example/{n}/{long}"[:1500],
        )
        for n in range(1200)
    ]
    html = await page_of(tmp_path, *rows, *[failed(f"E{n}", f"{n}{long}", f"{n}{long}") for n in range(600)])
    assert len(html.encode()) < 2_000_000
