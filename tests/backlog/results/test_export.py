"""Exports of tasks: JSON Lines with everything, CSV and Excel for people, Parquet for data analysis."""

from __future__ import annotations

import csv
import gc
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog, Task
from ekb_async.backlog.input.rows.kinds import KINDS
from ekb_async.backlog.results.buyers import OTHER_BUYER
from ekb_async.backlog.results.export import Export
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.store.values.calls import STATES
from ekb_async.errors import ConfigError
from ekb_async.i18n import Texts
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.full_disk import room_for

PICTURE = b"\x89PNG\r\n\x1a\ntwo invoices"
FORMATS = ("jsonl", "csv", "xlsx", "parquet")
HINT = "Check that the file opens and shows an invoice, then retry."
CHINESE = Texts("zh")


async def finished_backlog(directory: Path, more: str = "") -> None:
    """Run a backlog with a file of two invoices, one of them not usable, look-ups, a failure and `more` rows."""
    (directory / "两张.png").write_bytes(PICTURE)
    manifest = directory / "m.csv"
    manifest.write_text(
        "kind,file,invoice_id,staff_id,ref\n"
        'verify,两张.png,,corp:staff,"=HYPERLINK(""http://x"")"\n'
        f"url,,corp:1:2,,＋86\ndetail,,corp::3,,@home\nurl,,unknown,,-\n{more}",
        encoding="utf-8",
    )
    shown = (
        SampleInvoice(number="11112222", code="031001900204", seller="@杭州酒店"),
        SampleInvoice(number="33334444", kind="taxi", usable=False, message="发票已被使用<br>请更换"),
    )
    recognises = {hashlib.sha256(PICTURE).hexdigest(): shown}
    async with Sandbox(verify_rate=0, recognises=recognises) as box:
        config = SessionConfig(verify_rate=1000, rate_guard=0)
        async with (
            EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb,
            Backlog.open(directory / "b.sqlite") as backlog,
        ):
            await backlog.add_manifest(manifest)
            await backlog.run(ekb)


async def export(directory: Path, name: str, state: str | None = None, kind: str | None = None) -> int:
    async with Backlog.open(directory / "b.sqlite") as backlog:
        return await backlog.export(directory / name, state, kind=kind)


async def finished_tasks(directory: Path) -> list[Task]:
    await finished_backlog(directory)
    async with Backlog.open(directory / "b.sqlite") as backlog:
        return [task async for task in backlog.results()]


def written(path: Path, tasks: Sequence[Task], lang: str = "en") -> Path:
    target = Export(path, lang=lang)
    try:
        target.write(tasks)
        target.finish()
    finally:
        target.close()
    return path


def csv_lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True)))


def sheets(path: Path) -> dict[str, Any]:
    import openpyxl  # takes as long to load as the package

    return {sheet.title: sheet for sheet in openpyxl.load_workbook(path)}


def parquet(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path)


def cells(sheet: Any, heading: str) -> list[Any]:
    """Return the cells under a heading."""
    columns = {column[0].value: column[1:] for column in sheet.iter_cols()}
    return list(columns[heading])


async def test_json_lines_have_everything(tmp_path: Path) -> None:
    """Each task is an object, in order, with Chinese unescaped."""
    await finished_backlog(tmp_path)
    assert await export(tmp_path, "out.jsonl") == 4
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    verified, link, lines, unknown = map(json.loads, text.splitlines())
    assert "杭州酒店" in text
    assert [invoice["form"]["number"] for invoice in verified["result"]["invoices"]] == ["11112222", "33334444"]
    assert (link["kind"], link["state"], link["ref"], link["line"]) == ("url", "done", "＋86", 3)
    assert isinstance(lines["result"], list)
    assert verified["raw"]["items"][0]["master"]["id"] == verified["result"]["invoices"][0]["id"]
    assert (unknown["state"], unknown["result"], unknown["error_type"]) == ("failed", None, "InvoiceNotFoundError")
    assert datetime.fromisoformat(unknown["ended_at"]).utcoffset() == timedelta(hours=8)


async def test_csv_has_a_line_per_invoice(tmp_path: Path) -> None:
    """CSV has a byte order mark, one line per invoice of a file, and messages stay in one cell."""
    await finished_backlog(tmp_path)
    assert await export(tmp_path, "out.CSV") == 4
    data = (tmp_path / "out.CSV").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    first, second, link, lines, unknown = csv.DictReader(data.decode("utf-8-sig").splitlines(keepends=True))
    assert (first["file"], first["invoice_number"], first["usable"], first["total"]) == (
        "两张.png",
        "11112222",
        "true",
        "106.00",
    )
    assert (second["file"], second["invoice_number"], second["usable"]) == ("两张.png", "33334444", "false")
    assert second["message"] == "发票已被使用\n请更换"
    assert link["url"].startswith("http")
    assert "?" not in link["url"]
    assert lines["detail_lines"].isdigit()
    assert unknown["error"].startswith("InvoiceNotFoundError")


async def test_recognition_and_verification_share_columns(tmp_path: Path) -> None:
    """Values read by OCR are under the headings of verified invoices; they have no currency."""
    await finished_backlog(tmp_path, more="ocr,两张.png,,,OCR\n")
    await export(tmp_path, "out.csv", kind="verify")
    await export(tmp_path, "ocr.csv", kind="ocr")
    verified, recognised = csv_lines(tmp_path / "out.csv")[0], csv_lines(tmp_path / "ocr.csv")[0]
    same = ("file", "invoice_kind", "invoice_number", "total", "amount_excluding_tax", "tax", "seller_tax_id", "shared")
    assert [recognised[name] for name in same] == [verified[name] for name in same]
    assert (verified["amount_excluding_tax"], verified["tax"], verified["currency"]) == ("100.00", "6.00", "CNY")
    assert (recognised["currency"], recognised["usable"]) == ("", "")


async def test_csv_cells_are_no_formulas(tmp_path: Path) -> None:
    """A cell that a spreadsheet would run gets an apostrophe; a number does not."""
    await finished_backlog(tmp_path)
    await export(tmp_path, "out.csv")
    lines = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines(keepends=True)))
    assert [line["ref"] for line in lines] == [*['\'=HYPERLINK("http://x")'] * 2, "'＋86", "'@home", "'-"]
    assert lines[0]["seller"] == "'@杭州酒店"


async def test_csv_cells_keep_what_a_spreadsheet_would_run_as_text(tmp_path: Path) -> None:
    """Formulas after blanks and after characters that a spreadsheet skips get an apostrophe too."""
    task = (await finished_tasks(tmp_path))[1]
    hostile = ("=1+1", " =1+1", "\t=1+1", "\r=1+1", "\n=1+1", "＝1+1", "－1+1", "-1+1", "+1+1")
    tasks = [msgspec.structs.replace(task, ref=ref) for ref in hostile]
    text = written(tmp_path / "out.csv", tasks).read_bytes().decode("utf-8-sig")
    assert [line[0] for line in csv.reader(text.splitlines(keepends=True))][1:] == [f"'{ref}" for ref in hostile]


async def test_csv_in_chinese(tmp_path: Path) -> None:
    """Everything is Chinese but the texts of the vendor and of the user, which are unchanged."""
    first, second, link, *_, unknown = csv_lines(
        written(tmp_path / "out.csv", await finished_tasks(tmp_path), lang="zh")
    )
    assert (first["任务类型"], first["状态"], first["是否可用"]) == ("识别并验真", "已完成", "是")
    assert (first["发票号码"], first["价税合计"], first["币种"]) == ("11112222", "106.00", "CNY")
    assert (second["发票种类"], second["是否可用"], second["验真提示"]) == (
        "出租车发票",
        "否",
        "发票已被使用\n请更换",
    )
    assert (link["任务类型"], unknown["状态"]) == ("文件链接", "失败")


async def troubled_tasks(directory: Path) -> list[Task]:
    """Return a failed task and one with a warning, whose sentences the catalogue has."""
    _, link, *_, failed = await finished_tasks(directory)
    error = f"RecognitionError: 400 识别失败 (/x). {HINT}"
    return [
        msgspec.structs.replace(failed, kind="ocr", error_type="RecognitionError", error=error, hint=HINT),
        msgspec.structs.replace(link, warning=OTHER_BUYER),
    ]


async def test_a_table_in_chinese_has_chinese_sentences(tmp_path: Path) -> None:
    """Errors have the name of their cause instead of a class; hints and warnings are translated."""
    tasks = await troubled_tasks(tmp_path)
    failed, warned = csv_lines(written(tmp_path / "out.csv", tasks, lang="zh"))
    assert (failed["任务类型"], failed["状态"]) == ("识别", "失败")
    assert failed["错误信息"] == Names("zh").reason(tasks[0]) != Names("en").reason(tasks[0])
    assert failed["错误类型"] == Names("zh").cause("RecognitionError")
    assert failed["处理建议"] == CHINESE.rendered(HINT) != HINT
    assert warned["风险提示"] == CHINESE.rendered(OTHER_BUYER) != OTHER_BUYER
    assert (warned["结果来源"], warned["错误类型"], warned["错误信息"], warned["处理建议"]) == ("接口调用", "", "", "")


def test_every_kind_and_state_has_a_chinese_name() -> None:
    """Every kind and state has a Chinese name, so that no table is half in English."""
    names = Names("zh")
    for name in (*map(names.call, KINDS), *map(names.state, STATES)):
        assert not re.search("[A-Za-z]{3}", name)


async def test_json_lines_in_chinese(tmp_path: Path) -> None:
    """Sentences are Chinese; all else is the same in both languages, because programs read it."""
    tasks = [*await finished_tasks(tmp_path), *await troubled_tasks(tmp_path)]
    english, chinese = (
        [json.loads(line) for line in written(tmp_path / f"{lang}.jsonl", tasks, lang).read_text("utf-8").splitlines()]
        for lang in ("en", "zh")
    )
    *_, failed, warned = chinese
    assert failed["hint"] == CHINESE.rendered(HINT) != HINT
    assert failed["error"] == f"RecognitionError: {CHINESE.rendered('400 识别失败 (/x).')} {failed['hint']}"
    assert warned["warning"] == CHINESE.rendered(OTHER_BUYER) != OTHER_BUYER
    assert len(chinese) == len(english) == len(tasks)
    for ours, theirs in zip(chinese, english, strict=True):
        assert list(ours) == list(theirs)
        assert {name for name in ours if ours[name] != theirs[name]} <= {"error", "hint", "warning"}


async def test_parquet_is_typed(tmp_path: Path) -> None:
    """Amounts are decimals, dates are dates, times are instants, and missing values are null."""
    await finished_backlog(tmp_path)
    assert await export(tmp_path, "out.parquet") == 4
    table = parquet(tmp_path / "out.parquet").read()
    first, second, link, lines, unknown = table.to_pylist()
    assert (first["invoice_number"], first["total"], first["tax"]) == ("11112222", Decimal(106), Decimal(6))
    assert (first["invoice_date"], first["usable"], second["usable"]) == (date(2024, 1, 1), True, False)
    assert (link["total"], link["state"], lines["detail_lines"]) == (None, "done", 2)
    assert unknown["ended_at"].utcoffset() == timedelta(hours=8)
    assert first["id"] == second["id"] != link["id"]
    assert str(table.schema.field("total").type) == "decimal128(38, 6)"


async def test_parquet_in_chinese(tmp_path: Path) -> None:
    """Column names and texts are Chinese; flags stay booleans."""
    file = parquet(written(tmp_path / "out.parquet", await finished_tasks(tmp_path), lang="zh"))
    first, *_ = file.read().to_pylist()
    assert (first["发票号码"], first["状态"], first["是否可用"]) == ("11112222", "已完成", True)


async def test_parquet_is_written_in_groups(tmp_path: Path) -> None:
    """Rows are written in several groups, and none is lost between two groups."""
    link = (await finished_tasks(tmp_path))[1]
    target = Export(tmp_path / "out.parquet")
    try:
        for page in range(10):
            target.write([msgspec.structs.replace(link, id=page * 1000 + each) for each in range(1000)])
        target.finish()
    finally:
        target.close()
    read = parquet(tmp_path / "out.parquet")
    assert read.num_row_groups > 1
    assert read.read().column("id").to_pylist() == list(range(10_000))


async def test_tables_have_the_same_columns(tmp_path: Path) -> None:
    """All table formats have the same columns, also without rows; a workbook also says why an invoice is not usable."""
    for lang in ("en", "zh"):
        lines = written(tmp_path / "out.csv", [], lang).read_text(encoding="utf-8-sig").splitlines()
        sheet = list(sheets(written(tmp_path / "out.xlsx", [], lang)).values())[1]
        names = lines[0].split(",")
        assert parquet(written(tmp_path / "out.parquet", [], lang)).read().column_names == names
        assert len(lines) == sheet.max_row == 1
        assert sheet.max_column == len(names) + 1 == len(set(names)) + 1


async def test_a_result_that_cannot_be_read_is_a_row_without_one(tmp_path: Path) -> None:
    """A row whose answer cannot be read is exported without a result."""
    tasks = await finished_tasks(tmp_path)
    odd = [msgspec.structs.replace(task, raw=b"no JSON") for task in tasks[:3]]
    odd += [msgspec.structs.replace(tasks[1], raw=answer) for answer in (b"[]", b'"text"', b'{"url": 1}')]
    download = b'{"path": "files/hotel.pdf", "size": 10}'
    odd.append(msgspec.structs.replace(tasks[1], kind="download", raw=download))
    for name in FORMATS:
        written(tmp_path / f"out.{name}", odd)
    lines = csv_lines(tmp_path / "out.csv")
    assert [line["url"] + line["invoice_number"] + line["detail_lines"] for line in lines] == [""] * 7
    assert [line["path"] for line in lines] == [*[""] * 6, "files/hotel.pdf"]


@pytest.mark.parametrize("name", FORMATS)
async def test_one_kind_only(tmp_path: Path, name: str) -> None:
    """`state` and `kind` filter together, in every format."""
    await finished_backlog(tmp_path)
    assert await export(tmp_path, f"out.{name}", kind="url") == 2
    assert await export(tmp_path, f"out.{name}", "failed", "url") == 1
    assert await export(tmp_path, f"out.{name}", "failed", "verify") == 0


async def test_a_manifest_is_not_written_over(tmp_path: Path) -> None:
    """An export never replaces a manifest that its rows came from."""
    await finished_backlog(tmp_path)
    names = [name for name in names_in(tmp_path) if name.endswith(".csv")]
    before = [(tmp_path / name).read_bytes() for name in names]
    assert names
    for name in names:
        with pytest.raises(ConfigError, match="choose another name"):
            await export(tmp_path, name)
    assert [(tmp_path / name).read_bytes() for name in names] == before


async def test_one_state_only(tmp_path: Path) -> None:
    """`state` filters tasks; an unknown state is refused."""
    await finished_backlog(tmp_path)
    assert await export(tmp_path, "failed.jsonl", "failed") == 1
    assert await export(tmp_path, "pending.csv", "pending") == 0
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="state must be one of"):
            await backlog.export(tmp_path / "x.csv", "gone")
        with pytest.raises(ConfigError, match="state must be one of"):
            await anext(backlog.results("gone"))
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.txt", r"ends in \.jsonl, \.csv, \.xlsx or \.parquet"),
        ("nowhere/out.csv", "cannot be written"),
        ("d.csv", "this is a directory"),
    ],
)
async def test_a_file_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    """A target that cannot be written is refused before anything is read, and nothing is left behind."""
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ConfigError, match=message):
        await export(tmp_path, name)
    assert names_in(tmp_path) == ["b.sqlite", "d.csv"]


def test_an_unknown_language(tmp_path: Path) -> None:
    """An unknown language is refused before anything is written."""
    with pytest.raises(ConfigError, match="lang must be one of en, zh, not 'fr'"):
        Export(tmp_path / "out.csv", lang="fr")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(("suffix", "library"), [("xlsx", "xlsxwriter"), ("parquet", "pyarrow")])
async def test_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, library: str) -> None:
    """The error names the extra to install; other formats work without it."""
    await finished_backlog(tmp_path)
    before = names_in(tmp_path)
    rooms = tuple(f"ekb_async.backlog.results.export.{name}" for name in ("workbook", "parquet"))
    for module in [name for name in sys.modules if name.startswith(rooms)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf'pip install "ekb-async\[{suffix}\]"'):
        await export(tmp_path, f"out.{suffix}")
    assert names_in(tmp_path) == before
    assert await export(tmp_path, "out.csv") == 4


@pytest.mark.parametrize("room", [0, 3, 1000])
@pytest.mark.parametrize("name", FORMATS)
async def test_an_older_file_stays_when_the_disk_is_full(tmp_path: Path, name: str, room: int) -> None:
    """An export that fails on a full disk, at any point, leaves the older file and no temporary files."""
    tasks = await finished_tasks(tmp_path)
    out = tmp_path / f"out.{name}"
    out.write_text("older")
    before = names_in(tmp_path)
    with room_for(room), pytest.raises(ConfigError, match=rf"out\.{name}: the file cannot be written: File too large"):
        written(out, tasks)
    gc.collect()  # would warn about files that a library leaves open
    assert out.read_text() == "older"
    assert names_in(tmp_path) == before
    assert written(out, tasks).read_bytes() != b"older"
    assert names_in(tmp_path) == before


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
