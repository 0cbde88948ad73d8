"""The report: one page with the figures of a backlog, as charts and tables, in two languages."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async import errors as errors_module
from ekb_async.backlog import Backlog, Task
from ekb_async.backlog.results.report import Report, aggregate, charts
from ekb_async.backlog.results.report.charts import Bar, Caption
from ekb_async.errors import ApiError, ConfigError, EkbError
from ekb_async.models import InvoiceKind
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=CHINA)
PICTURE = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "br", "link", "img"}


class Document(HTMLParser):
    """The page as a browser parses it: elements must be closed; tables become lists of lines of cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self.caption = ""
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self.caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"th", "td"}:
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self._rows

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "caption" in self.open:
            self.caption += data
        elif {"th", "td"} & set(self.open):
            self._rows[-1][-1] += data


def task(**values: Any) -> Task:
    defaults: dict[str, Any] = dict.fromkeys(Task.__struct_fields__)
    defaults |= {"id": 1, "ref": "", "kind": "verify", "state": "done", "attempts": 1, "maybe_billed": 0}
    defaults |= {"file": "a.png", "invoice_id": "", "manifest": "m.csv", "line": 2, "shared": False, "ended_at": NOW}
    return Task(**(defaults | values))


def invoice(total: str | None = "100.00", **values: Any) -> dict[str, Any]:
    form = {"total": total, "date": values.pop("date", "2026-02-03"), "currency": values.pop("currency", "CNY")}
    return {"kind": "train_ticket", "form": form, "details": form, "usable": True, "message": ""} | values


def verified(*invoices: dict[str, Any], **values: Any) -> Task:
    return task(result={"invoices": list(invoices)}, **values)


def page(tasks: Iterable[Task], lang: str = "en", title: str = "b.sqlite") -> str:
    report = Report(lang)
    report.add(tasks)
    return report.html(title, NOW)


def drawings(html: str) -> dict[str, ET.Element]:
    """Return the charts of a page by name."""
    found = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # noqa: S314 - our own
    return {svg.attrib["aria-labelledby"].split("-title")[0]: svg for svg in found}


@pytest.fixture
async def finished_tasks(tmp_path: Path) -> list[Task]:
    """Return the rows of a real run: two equal files, one of them also read by OCR, one failure, one pending row."""
    shown = (
        SampleInvoice(number="1", kind="train", total=Decimal("1234.50"), date=date(2026, 1, 5)),
        SampleInvoice(number="2", kind="taxi", usable=False, message="发票已被使用<br>请更换", date=date(2026, 2, 5)),
    )
    for name in ("a.png", "copy.png"):
        (tmp_path / name).write_bytes(PICTURE)
    rows = ["verify,a.png,,corp:staff", "verify,copy.png,,corp:staff", "ocr,a.png,,", "url,,unknown,", "url,,corp:1:2,"]
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
        return [each async for each in backlog.results()]


async def test_a_run_is_reported_in_figures(finished_tasks: list[Task]) -> None:
    """Amounts, reasons, failures and calls are those of the run; invoices of equal content count once."""
    tables = Document(page(finished_tasks)).tables
    kinds = Document(page(each for each in finished_tasks if each.kind == "verify")).tables
    assert kinds["By invoice kind"] == [
        ["Invoice kind", "Currency", "Invoices", "Amount", "Usable", "Usable amount"],
        ["Train ticket火车票", "CNY", "1", "1,234.50", "1", "1,234.50"],
        ["Taxi receipt出租车发票", "CNY", "1", "106.00", "0", "0.00"],
        ["Total", "CNY", "2", "1,340.50", "1", "1,234.50"],
    ]
    assert [line[:4] for line in kinds["By month of the invoice date"][1:]] == [
        ["2026-01", "CNY", "1", "1,234.50"],
        ["2026-02", "CNY", "1", "106.00"],
        ["Total", "CNY", "2", "1,340.50"],
    ]
    assert kinds["Not usable, by reason"][1:] == [["发票已被使用 / 请更换", "CNY", "1", "106.00"]]
    assert tables["By kind of call"][1:] == [
        ["OCR and verification (billed)", "2", "2", "0", "0", "1", "1", "0"],
        ["OCR (billed)", "1", "1", "0", "0", "0", "1", "0"],
        ["Invoice file URL", "3", "1", "1", "1", "0", "2", "0"],
    ]
    (cause,) = tables["Failures by cause"][1:]
    assert cause[0].startswith("No such invoiceInvoiceNotFoundError")
    assert cause[1:] == ["Check the invoice ID, or the invoice's code, number, date and amount.", "1"]


async def test_both_languages_say_the_same(finished_tasks: list[Task]) -> None:
    """The Chinese page has the same figures as the English one, and none of its sentences."""
    zh, en = (page(finished_tasks, lang) for lang in ("zh", "en"))
    figures = re.compile(r"<td[^>]*>([\d,.]+)</td>")
    assert figures.findall(zh) == figures.findall(en) != []
    assert '<html lang="zh-CN">' in zh
    text = Document(zh).text
    assert "共 6 行任务：已完成 4 行，失败 1 行，待处理 1 行。" in text
    assert "查无此票" in text
    assert not re.search(r"\b(the|Rows|Check|Invoices|of)\b", text)


async def test_recognised_and_verified_are_not_added(finished_tasks: list[Task]) -> None:
    """Amounts of a file that was recognised and verified are in two sections; those from OCR have no currency."""
    html = page(finished_tasks)
    cards = dict(re.findall(r"<dt>([^<]*)</dt><dd>(?:<bdi>)?([^<]*)", html))
    assert cards["Verified total (CNY)"] == cards["Recognised total (currency not stated)"] == "1,340.50"
    assert "2,681.00" not in html


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_an_empty_backlog_has_a_page(lang: str) -> None:
    """The page of an empty backlog says so, without charts and tables."""
    document = Document(page([], lang))
    assert "svg" not in document.tags
    assert document.tables == {}
    assert ("任务库是空的" if lang == "zh" else "no rows have been added") in document.text


def test_another_language_is_refused() -> None:
    """Only `zh` and `en` are accepted as languages."""
    with pytest.raises(ConfigError, match="lang must be one of zh, en"):
        Report("fr")


def test_currencies_are_never_added() -> None:
    """Each currency has its own line and card; invoices without an amount are counted separately."""
    rows = [verified(invoice("0.10"), invoice("0.20"), invoice("5", currency="USD"), invoice("7", currency=None))]
    document = Document(page([*rows, verified(invoice(None)), verified(invoice("1", currency="=2+2"))]))
    assert [line[-5:] for line in document.tables["By invoice kind"] if "Total" not in line[0]][1:5] == [
        ["CNY", "2", "0.30", "2", "0.30"],
        ["USD", "1", "5.00", "1", "5.00"],
        ["currency not stated", "2", "8.00", "2", "8.00"],
        ["no amount", "1", "–", "1", "–"],
    ]
    assert "Verified total (USD)" in document.text
    assert "The chart has CNY only" in document.text


def test_red_invoices_reduce_totals_and_hang_below_zero() -> None:
    """A negative invoice is subtracted, and its bar is below the zero line."""
    html = page([verified(invoice("-300.00", date="2026-01-01")), verified(invoice("100.00"))])
    assert Document(html).tables["By invoice kind"][-1][:4] == ["Total", "CNY", "2", "-200.00"]
    svg = drawings(html)["verified-month"]
    zero = float(next(line.attrib["y1"] for line in svg.iter("line") if line.attrib["class"] == "zero"))
    below, above = [(float(box.attrib["y"]), float(box.attrib["height"])) for box in svg.iter("rect")]
    assert below[0] == pytest.approx(zero, abs=0.2)
    assert sum(above) == pytest.approx(zero, abs=0.2)
    assert below[1] == pytest.approx(3 * above[1], abs=0.5)


def test_unknown_kinds_and_dates_are_shown() -> None:
    """Invoices of an unknown kind and invoices without a date have a line of their own."""
    tables = Document(page([verified(invoice(kind="from the future", date=None, usable=None))])).tables
    assert tables["By invoice kind"][1][0] == "Unknown kind未知"
    assert tables["By month of the invoice date"][1][0] == "No date"
    assert tables["Not usable, by reason"][1][0] == "No reason given"


def test_an_answer_that_cannot_be_read_is_mentioned() -> None:
    """A done row without a readable result is not counted as an invoice, and the page mentions it."""
    assert (
        "Answers that cannot be read, and are not among the invoices: 1;"
        in Document(page([task(result=None, raw=b"{}")])).text
    )


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_text_from_outside_is_escaped(lang: str) -> None:
    """Texts of invoices, errors and titles are escaped, so that they cannot change the page or load anything."""
    evil = "</style></td><script>alert(1)</script><img src=x onerror=alert(1)>\x00\ud800\u202e\"'&amp;"
    harmless = page([verified(invoice(usable=False, message="m")), failed("E", "t")], lang, "t")
    hostile = page([verified(invoice(usable=False, message=evil)), failed(evil, evil)], lang, evil)
    assert Document(hostile).tags == Document(harmless).tags
    assert "<script>alert(1)</script>" in Document(hostile).text
    assert not {"href", "src", "onerror", "onload"} & {name for name, _ in Document(hostile).attributes}
    hostile.encode("utf-8")


def test_the_page_needs_no_network() -> None:
    """The page's policy forbids to load or run anything, and nothing in the page tries to."""
    html = page([verified(invoice())])
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("content", policy) in Document(html).attributes
    assert not re.search(r"url\(|@import|https?:", html)


def failed(error_type: str, text: str, hint: str = "", **values: Any) -> Task:
    error = f"{error_type}: {text} {hint}".rstrip()
    return task(state="failed", result=None, error_type=error_type, error=error, hint=hint, **values)


def test_failures_that_differ_by_a_name_are_one_cause() -> None:
    """Failures whose texts differ only in file, ID or endpoint have one cause."""
    gone = [failed("ConfigError", f"{n}.pdf: the file is gone", file=f"{n}.pdf") for n in range(30)]
    used = [failed("ApiError", f"400 {n:08} unknown (/api/x).", "Look.") for n in range(3)]
    causes = Document(page([*used, *gone])).tables["Failures by cause"][1:]
    assert [(cause[0], cause[-1]) for cause in causes] == [
        ("The row itself is wrongConfigError: …: the file is gone", "30"),
        ("Another errorApiError: 400 … unknown", "3"),
    ]
    assert causes[1][1] == "Look."


def test_every_error_has_a_name_in_both_languages() -> None:
    """Every error that can fail a row has a name in both languages."""
    classes = {kind for kind in vars(errors_module).values() if isinstance(kind, type) and issubclass(kind, EkbError)}
    # These errors end a run or never reach a row.
    stopping = {"AuthError", "PermissionDeniedError", "SessionClosedError", "QueueFullError", "QueueTimeoutError"}
    stopping |= {"ManifestError", "BacklogBusyError"}
    for kind in classes - {EkbError, ApiError}:
        if kind.__name__ not in stopping:
            html = page([failed(kind.__name__, "x")], "zh")
            assert "其他错误" not in html, kind


def test_shared_rows_are_rows_and_nothing_else() -> None:
    """A row whose call is represented by another row adds no invoices, calls or costs."""
    first = verified(invoice("5.00"), maybe_billed=1, attempts=2)
    tables = Document(page([first, verified(invoice("5.00"), maybe_billed=1, attempts=2, shared=True)])).tables
    assert tables["By invoice kind"][-1][:4] == ["Total", "CNY", "1", "5.00"]
    assert tables["By kind of call"][1][1:] == ["2", "2", "0", "0", "1", "2", "1"]


@pytest.mark.parametrize(
    ("span", "width", "unit"),
    [
        (timedelta(minutes=40), 60, "minute"),
        (timedelta(hours=4), 300, "5 minutes"),
        (timedelta(days=2), 3_600, "hour"),
        (timedelta(days=30), 86_400, "day"),
        (timedelta(days=3_000), 7 * 86_400 * 8, "56 days"),
    ],
)
def test_throughput_fits_its_span(span: timedelta, width: int, unit: str) -> None:
    """There are at most sixty columns for any time span, and no call is lost when they are widened."""
    tasks = [task(kind="url", result={}, ended_at=NOW - span * n / 500) for n in range(501)]
    found = aggregate.Aggregate()
    for each in tasks:
        found.add(each)
    columns = list(found.throughput.columns())
    assert found.throughput.width == width
    assert 1 < len(columns) <= 60
    assert sum(column.done for column in columns) == 501
    assert f"Calls ended per {unit}" in Document(page(tasks)).tables


def test_many_years_are_drawn_by_year() -> None:
    """The table has months; a chart of more than three years has one column per year."""
    html = page([verified(*(invoice("1.00", date=f"{2010 + n // 12}-{n % 12 + 1:02}-01") for n in range(150)))])
    assert len(Document(html).tables["By month of the invoice date"]) == 1 + 150 + 1
    labels = [text.text for text in drawings(html)["verified-year"].iter("text")]
    assert labels[-13:] == [str(year) for year in range(2010, 2023)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows() -> None:
    """Any number of reasons, months and causes becomes a bounded number of groups whose sum is exact."""
    found = aggregate.Aggregate()
    for n in range(20_000):
        reason = "often" if n % 4 == 0 else f"only {n // 100}-{n % 100}"
        day = f"{n % 9000 + 1000}-01-01"
        found.add(verified(invoice("0.01", usable=False, message=reason, date=day)))
        found.add(failed(f"E{n}", "x"))
    refused, months = found.verified.refused, found.verified.by_month
    assert refused.ranked()[0] == ("often", refused.groups["often"])
    assert refused.groups["often"].count == 5_000
    for tally in (refused, months, found.failures):
        assert len(tally.groups) <= 1_000
        assert sum(group.count for group in tally.groups.values()) + tally.rest.count == 20_000
    total = sum((group.sums["CNY"].amount for group in refused.groups.values()), refused.rest.sums["CNY"].amount)
    assert total == Decimal("200.00")


def test_the_less_frequent_are_summed_up() -> None:
    """Twenty reasons are listed; the others share one line."""
    tasks = [verified(*[invoice("1.00", usable=False, message=f"reason {n}")] * (30 - n)) for n in range(25)]
    lines = Document(page(tasks)).tables["Not usable, by reason"][1:]
    assert len(lines) == 21
    assert lines[-1] == ["All others", "CNY", "40", "40.00"]


def test_charts_are_described() -> None:
    """Each chart has its own title and description for screen readers."""
    html = page([verified(invoice(), invoice(usable=False)), task(kind="ocr", result={"invoices": [invoice()]})])
    found = drawings(html)
    assert set(found) == {
        "share",
        *("verified-kind", "verified-month", "recognised-kind", "recognised-month"),
        "throughput-chart",
    }
    for svg in found.values():
        assert svg.attrib["role"] == "img"
        ids = [svg[0].attrib["id"], svg[1].attrib["id"]]
        assert ids == svg.attrib["aria-labelledby"].split()
        assert svg[0].text
        assert svg[1].text


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        ("0", "0", ["0", "1"]),
        ("0", "3", ["0", "1", "2", "3"]),
        ("0", "0.7", ["0", "0.2", "0.4", "0.6", "0.8"]),
        ("-120", "950", ["-500", "0", "500", "1000"]),
        ("-8", "0", ["-8", "-6", "-4", "-2", "0"]),
    ],
)
def test_scales_are_round(low: str, high: str, marks: list[str]) -> None:
    """Marks are round, enclose every bar and zero, and are whole numbers if the values are."""
    assert charts.scale([Bar("", [Decimal(low), Decimal(high)], "")]) == [Decimal(mark) for mark in marks]


@pytest.mark.parametrize("count", [1, 7, 36, 60])
def test_labels_do_not_overlap(count: int) -> None:
    """Only as many columns are labelled as fit, and everything lies inside the drawing."""
    bars = [Bar(f"2026-01-{n:02} 18:00", [n, 2], "") for n in range(count)]
    svg = ET.fromstring(charts.columns(Caption("c", "t", "d"), bars, str))  # noqa: S314 - our own
    labels = [
        (float(t.attrib["x"]), charts.text_width(t.text or "")) for t in svg.iter("text") if ":" in (t.text or "")
    ]
    assert all(a + wide / 2 < b - wide / 2 for (a, wide), (b, _) in pairwise(labels))
    width = float(svg.attrib["viewBox"].split()[2])
    assert all(wide / 2 <= x <= width - wide / 2 for x, wide in labels)
    assert all(0 <= float(box.attrib["x"]) <= width - float(box.attrib["width"]) for box in svg.iter("rect"))


def test_every_kind_has_a_name() -> None:
    """Each invoice kind has an English name, with the printed Chinese name beside it."""
    html = page([verified(*(invoice(kind=kind.value) for kind in InvoiceKind))])
    names = [line[0] for line in Document(html).tables["By invoice kind"][1:-1]]
    assert len(set(names)) == len(InvoiceKind)
    assert all(re.match(r"[A-Z][A-Za-z,() -]+[^\x00-\x7f]", name) for name in names)
