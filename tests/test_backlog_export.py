"""Tasks as files: JSON Lines with everything, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.invoices import SampleInvoice

PICTURE = b"\x89PNG\r\n\x1a\ntwo invoices"


async def finished_backlog(directory: Path) -> None:
    """A backlog with a file that shows two invoices, one of them not usable, a look-up and a failure."""
    (directory / "两张.png").write_bytes(PICTURE)
    manifest = directory / "m.csv"
    manifest.write_text(
        "kind,file,invoice_id,staff_id,ref\n"
        'verify,两张.png,,corp:staff,"=HYPERLINK(""http://x"")"\n'
        "url,,corp:1:2,,＋86\ndetail,,corp::3,,@home\nurl,,unknown,,-\n",
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


async def export(directory: Path, name: str, state: str | None = None) -> int:
    async with Backlog.open(directory / "b.sqlite") as backlog:
        return await backlog.export(directory / name, state)


async def test_json_lines_have_everything(tmp_path: Path) -> None:
    """One object per task, in order, Chinese as it is."""
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


async def test_csv_has_a_line_per_invoice(tmp_path: Path) -> None:
    """Excel opens it as UTF-8; a file with two invoices has two lines; messages stay in their cell."""
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


async def test_csv_cells_are_no_formulas(tmp_path: Path) -> None:
    """A cell that a spreadsheet would run gets an apostrophe; a number stays one."""
    await finished_backlog(tmp_path)
    await export(tmp_path, "out.csv")
    lines = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines(keepends=True)))
    assert [line["ref"] for line in lines] == [*['\'=HYPERLINK("http://x")'] * 2, "'＋86", "'@home", "'-"]
    assert lines[0]["seller"] == "'@杭州酒店"


async def test_a_manifest_is_not_written_over(tmp_path: Path) -> None:
    """An export never takes the place of a manifest that its rows came from."""
    await finished_backlog(tmp_path)
    names = [name for name in names_in(tmp_path) if name.endswith(".csv")]
    before = [(tmp_path / name).read_bytes() for name in names]
    assert names
    for name in names:
        with pytest.raises(ConfigError, match="choose another name"):
            await export(tmp_path, name)
    assert [(tmp_path / name).read_bytes() for name in names] == before


async def test_one_state_only(tmp_path: Path) -> None:
    """`state` chooses; a state that does not exist is refused."""
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
        ("out.xlsx", r"ekb-async\[xlsx\]"),
        ("out.parquet", r"ekb-async\[parquet\]"),
        ("out.txt", r"ends in \.jsonl or \.csv"),
        ("nowhere/out.csv", "cannot be written"),
        ("d.csv", "this is a directory"),
    ],
)
async def test_a_file_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    """What cannot be written is said before anything is read, and leaves nothing."""
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ConfigError, match=message):
        await export(tmp_path, name)
    assert names_in(tmp_path) == ["b.sqlite", "d.csv"]


async def test_an_older_file_is_replaced_when_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that fails leaves the older file and no rest of itself; one that ends takes its place."""
    await finished_backlog(tmp_path)
    (tmp_path / "out.jsonl").write_text("older")
    before = names_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", _no_space)
        with pytest.raises(ConfigError, match=r"out\.jsonl: the file cannot be written: No space left"):
            await export(tmp_path, "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "older"
    assert names_in(tmp_path) == before
    assert await export(tmp_path, "out.jsonl") == 4
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8").startswith('{"id":1')


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")
