"""The figures of a page: amounts, counts and groups, from real runs and from answers of any kind."""

from __future__ import annotations

import hashlib
import re
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async import errors as errors_module
from ekb_async.backlog import Backlog
from ekb_async.errors import ApiError, EkbError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from ekb_async.sandbox.vendor.invoices.kinds import KINDS
from tests.support.report_pages import (
    NOW,
    Document,
    Given,
    backlog_of,
    cards,
    drawings,
    failed,
    invoice,
    page_of,
    written_page,
)

PICTURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
async def pages_of_a_run(tmp_path: Path) -> dict[str, str]:
    """Return the pages of a run by language: equal files, one also read by OCR, a failure, a pending row."""
    shown = (
        SampleInvoice(number="1", kind="train", total=Decimal("1234.50"), date=date(2026, 1, 5)),
        SampleInvoice(number="2", kind="taxi", usable=False, message="发票已被使用<br>请更换", date=date(2026, 2, 5)),
    )
    for name in ("a.png", "copy.png"):
        (tmp_path / name).write_bytes(PICTURE)
    rows = ["verify,a.png,,corp:staff", "verify,copy.png,,corp:boss", "ocr,a.png,,", "url,,unknown,", "url,,corp:1:2,"]
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(["kind,file,invoice_id,staff_id", *rows]), encoding="utf-8")
    recognises = {hashlib.sha256(PICTURE).hexdigest(): shown}
    async with (
        Sandbox(verify_rate=0, ocr_rate=0, recognises=recognises) as box,
        EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(verify_rate=1000)) as ekb,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest)
        await backlog.run(ekb)
        manifest.write_text("kind,invoice_id\nurl,corp:9:9\n", encoding="utf-8")
        await backlog.add_manifest(manifest)
        return {lang: await written_page(backlog, tmp_path, lang=lang) for lang in ("en", "zh")}


async def test_a_run_is_reported_in_figures(pages_of_a_run: dict[str, str]) -> None:
    """Amounts, reasons, failures and calls are those of the run; invoices of equal content count once."""
    tables = Document(pages_of_a_run["en"]).tables
    assert tables["By invoice kind"] == [
        ["Invoice kind", "Invoice count", "Amount (CNY)", "Usable count", "Usable amount (CNY)"],
        ["Train ticket火车票", "1", "1,234.50", "1", "1,234.50"],
        ["Taxi receipt出租车发票", "1", "106.00", "0", "0.00"],
        ["Sum", "2", "1,340.50", "1", "1,234.50"],
    ]
    assert [line[:3] for line in tables["By month of the invoice date"][1:]] == [
        ["2026-01", "1", "1,234.50"],
        ["2026-02", "1", "106.00"],
        ["Sum", "2", "1,340.50"],
    ]
    assert tables["Not usable, by reason"][1:] == [["发票已被使用 / 请更换", "1", "106.00"]]
    assert [line[:3] for line in tables["By person"][1:]] == [
        ["None stated", "4", "1"],
        ["corp:staff", "1", "0"],
        ["corp:boss", "1", "0"],
    ]
    assert tables["By kind of call"][1:] == [
        ["OCR and verification", "2", "2", "0", "0", "1", "1", "0"],
        ["OCR", "1", "1", "0", "0", "0", "1", "0"],
        ["File URL", "3", "1", "1", "1", "0", "2", "0"],
    ]
    (cause,) = tables["Failures by cause"][1:]
    assert cause[0].startswith("No such invoice")
    assert cause[1:] == ["Check the invoice ID, or the invoice's code, number, date and amount.", "1"]


async def test_both_languages_say_the_same(pages_of_a_run: dict[str, str]) -> None:
    """The Chinese page has the same figures as the English one, and none of its sentences."""
    zh, en = pages_of_a_run["zh"], pages_of_a_run["en"]
    figures = re.compile(r"<td[^>]*><bdi>([\d,.]+)</bdi></td>")
    assert figures.findall(zh) == figures.findall(en) != []
    assert '<html lang="zh-CN">' in zh
    text = Document(zh).text
    assert "共 6 行任务：已完成 4 行，失败 1 行，待处理 1 行。" in text
    assert "查无此票" in text
    assert "查验" not in text
    assert not re.search(r"\b(the|Rows|Invoices|of)\b", text.replace(cause_of(en), ""))


def cause_of(html: str) -> str:
    """Return the hint of the only failure, which another test is about."""
    return Document(html).tables["Failures by cause"][1][1]


async def test_recognised_and_verified_are_not_added(pages_of_a_run: dict[str, str]) -> None:
    """Amounts of a file that was recognised and verified are in two sections."""
    html = pages_of_a_run["en"]
    assert cards(html)["Verified and usable (CNY)"] == "1,234.50"
    assert cards(html)["Recognised only"] == "1,340.50"
    assert "2,681.00" not in html


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_an_empty_backlog_has_a_page(lang: str, tmp_path: Path) -> None:
    """The page of an empty backlog says so, without charts and tables."""
    document = Document(await page_of(tmp_path, lang=lang))
    assert "svg" not in document.tags
    assert document.tables == {}
    assert ("任务库是空的" if lang == "zh" else "no rows have been added") in document.text


async def test_currencies_are_never_added(tmp_path: Path) -> None:
    """Each currency has its own line and card; one that is not stated is yuan, one that cannot be read is apart."""
    rows = [
        Given((invoice("1", total=Decimal("0.10")),)),
        Given((invoice("2", total=Decimal("0.20")),), currency=None),
        Given((invoice("3", total=Decimal(5)),), currency="USD"),
        Given((invoice("4", total=Decimal(7)),), currency="=2+2"),
    ]
    html = await page_of(tmp_path, *rows)
    document = Document(html)
    assert [line[-5:] for line in document.tables["By invoice kind"]][1:] == [
        ["CNY", "2", "0.30", "2", "0.30"],
        ["USD", "1", "5.00", "1", "5.00"],
        ["currency not stated", "1", "7.00", "1", "7.00"],
    ]
    assert cards(html)["Verified and usable (USD)"] == "5.00"


async def test_very_many_currencies_are_counted_together(tmp_path: Path) -> None:
    """Invoices of currencies beyond the first twelve are counted, and their amounts are not added."""
    codes = [f"A{first}{second}" for first in "ABCDEF" for second in "ABCDE"]
    rows = [Given((invoice(code, total=Decimal(1)),), currency=code) for code in codes]
    lines = Document(await page_of(tmp_path, *rows)).tables["By invoice kind"][1:]
    assert lines[-1] == ["other currencies", "19", "–", "19", "–"]
    assert [line[-4:] for line in lines[:-1]] == [["1", "1.00", "1", "1.00"]] * 11


async def test_red_invoices_reduce_totals_and_hang_below_zero(tmp_path: Path) -> None:
    """A negative invoice is subtracted, and its bar is below the zero line."""
    red = invoice("1", total=Decimal(-300), tax=Decimal(0), date=date(2026, 1, 1))
    html = await page_of(tmp_path, Given((red,)), Given((invoice("2", total=Decimal(100), date=date(2026, 2, 1)),)))
    assert Document(html).tables["By invoice kind"][-1][:3] == ["Train ticket火车票", "2", "-200.00"]
    svg = drawings(html)["verified-month"]
    zero = float(next(line.attrib["y1"] for line in svg.iter("line") if line.attrib["class"] == "zero"))
    below, above = [(float(box.attrib["y"]), float(box.attrib["height"])) for box in svg.iter("rect")]
    assert below[0] == pytest.approx(zero, abs=0.2)
    assert sum(above) == pytest.approx(zero, abs=0.2)
    assert below[1] == pytest.approx(3 * above[1], abs=0.5)


async def test_an_invoice_counts_once(tmp_path: Path) -> None:
    """An invoice that two calls returned, alone or among others, adds its amount once."""
    one, two, three = (invoice(f"2400000{n}", code="031001900111", kind="vat_electronic") for n in range(3))
    rows = [Given((one,)), Given((one,)), Given((one, two)), Given((two, three)), Given((one,), kind="ocr")]
    document = Document(await page_of(tmp_path, *rows))
    assert document.tables["By invoice kind"][1][1:3] == ["3", "318.00"]
    assert document.tables["Recognised only, by invoice kind"][1][1:3] == ["1", "106.00"]


async def test_unknown_kinds_and_dates_are_shown(tmp_path: Path) -> None:
    """Invoices of an unknown kind and invoices without a date have a line of their own."""
    master = {"entityId": "system_未来票", "active": True, "form": {}}
    answer = msgspec.json.encode({"items": [{"master": master, "details": [], "ischeck": None}]})
    tables = Document(await page_of(tmp_path, Given(answer=answer))).tables
    assert tables["By invoice kind"][1][:3] == ["Unknown kind未知", "no amount", "1"]
    assert tables["By month of the invoice date"][1][0] == "No date"
    assert tables["Not usable, by reason"][1][0] == "No reason given"


async def test_an_answer_that_cannot_be_read_is_mentioned(tmp_path: Path) -> None:
    """A done row without a readable result is not counted as an invoice, and the page mentions it."""
    text = Document(await page_of(tmp_path, Given(answer=b"{"))).text
    assert "Answers that cannot be read, and are not among the invoices: 1;" in text


async def test_tax_of_usable_invoices(tmp_path: Path) -> None:
    """The tax is added by kind, of usable invoices only, with the part that can be deducted."""
    values = {"kind": "vat_special", "code": "031001900111", "total": Decimal(113), "tax": Decimal(13)}
    usable = [invoice(f"1000000{number}", **values) for number in range(2)]
    refused = invoice("20000000", usable=False, **values)
    lines = Document(await page_of(tmp_path, *(Given((each,)) for each in (*usable, refused)))).tables["Tax"]
    assert lines[0] == ["Invoice kind", "Invoice count", "Amount without tax", "Tax", "Deductible tax"]
    assert lines[1][1:] == ["2", "200.00", "26.00", "26.00"]


async def test_failures_that_differ_by_a_name_are_one_cause(tmp_path: Path) -> None:
    """Failures whose texts differ only in file, ID or endpoint have one cause."""
    names = [f"https://files.example/{n}x.pdf" for n in range(30)]
    gone = [failed("ConfigError", f"{name}: the file is gone", file=name) for name in names]
    used = [failed("ApiError", f"400 {n:08} unknown (/api/x).", "Look.") for n in range(3)]
    causes = Document(await page_of(tmp_path, *used, *gone)).tables["Failures by cause"][1:]
    assert [(cause[0], cause[-1]) for cause in causes] == [
        ("The row itself is wrong…: the file is gone", "30"),
        ("Another error… unknown", "3"),
    ]
    assert causes[1][1] == "Look."


async def test_every_error_has_a_name_in_both_languages(tmp_path: Path) -> None:
    """Every error that can fail a row has a name in both languages."""
    classes = {kind for kind in vars(errors_module).values() if isinstance(kind, type) and issubclass(kind, EkbError)}
    # These errors end a run or never reach a row.
    stopping = {"AuthError", "PermissionDeniedError", "SessionClosedError", "QueueFullError", "QueueTimeoutError"}
    stopping |= {"ManifestError", "BacklogBusyError", "TaskNotFoundError"}
    names = sorted({kind.__name__ for kind in classes - {EkbError, ApiError}} - stopping)
    async with backlog_of(tmp_path, *(failed(name, "x") for name in names)) as backlog:
        for lang, other in (("zh", "其他错误"), ("en", "Another error")):
            assert other not in await written_page(backlog, tmp_path, lang=lang)


async def test_shared_rows_are_rows_and_nothing_else(tmp_path: Path) -> None:
    """A row whose call is represented by another row adds no money, calls or costs."""
    row = Given((invoice("5"),), file="https://files.example/5.png", attempts=2, maybe_billed=1)
    tables = Document(await page_of(tmp_path, row, row._replace(ref="second"))).tables
    assert tables["By invoice kind"][-1][1:3] == ["1", "106.00"]
    assert tables["By kind of call"][1][1:] == ["2", "2", "0", "0", "1", "2", "1"]


@pytest.mark.parametrize(
    ("span", "unit"),
    [
        (timedelta(minutes=40), "minute"),
        (timedelta(hours=4), "5 minutes"),
        (timedelta(days=2), "hour"),
        (timedelta(days=30), "day"),
        (timedelta(days=3_000), "56 days"),
    ],
)
async def test_throughput_fits_its_span(span: timedelta, unit: str, tmp_path: Path) -> None:
    """There are at most sixty columns for any time span, and no call is lost when they are widened."""
    rows = [Given(kind="url", answer=b"{}", ended_at=NOW - span * n / 200) for n in range(201)]
    html = await page_of(tmp_path, *rows)
    lines = Document(html).tables[f"Calls ended per {unit}"][1:]
    assert 1 < len(lines) <= 60
    assert sum(int(line[1]) for line in lines) == 201


async def test_many_years_are_drawn_by_year(tmp_path: Path) -> None:
    """The table has months; a chart of more than three years has one column per year."""
    months = [date(2010 + n // 12, n % 12 + 1, 1) for n in range(150)]
    html = await page_of(tmp_path, Given(tuple(invoice(str(day), date=day) for day in months)))
    assert len(Document(html).tables["By month of the invoice date"]) == 1 + 150 + 1
    labels = [text.text for text in drawings(html)["verified-year"].iter("text")]
    assert labels[-13:] == [str(year) for year in range(2010, 2023)]


async def test_the_less_frequent_are_summed_up(tmp_path: Path) -> None:
    """Twenty reasons are listed; the others share one line."""
    reasons = [f"reason {n}" for n in range(25) for _ in range(30 - n)]
    refused = tuple(invoice(str(n), usable=False, message=reason) for n, reason in enumerate(reasons))
    lines = Document(await page_of(tmp_path, Given(refused))).tables["Not usable, by reason"][1:]
    assert len(lines) == 21
    assert lines[-1] == ["All others", "40", "4,240.00"]


async def test_every_kind_has_a_name(tmp_path: Path) -> None:
    """Each invoice kind has an English name, with the printed Chinese name beside it."""
    html = await page_of(tmp_path, Given(tuple(invoice(kind, kind=kind) for kind in KINDS)))
    names = [line[0] for line in Document(html).tables["By invoice kind"][1:-2]]
    assert len(set(names)) == len(names) > 20
    assert all(re.match(r"[A-Z][A-Za-z,() -]+[^\x00-\x7f]", name) for name in names)
