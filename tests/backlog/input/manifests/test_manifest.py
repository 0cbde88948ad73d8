"""Manifests: what is accepted, what is refused, and which rows share a call."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async.backlog import AddReport, Backlog, Task
from ekb_async.errors import ConfigError

HEADER = "kind,file,invoice_id,staff_id,file_name,ref\n"
SIGNED = "https://files.example/1-a.png?Expires=1700000000&OSSAccessKeyId=STS.x&Signature=TOPSECRET%3D"


async def add(directory: Path, name: str, content: str | bytes) -> AddReport:
    """Write a manifest and add it to the directory's backlog."""
    manifest = directory / name
    manifest.write_bytes(content.encode() if isinstance(content, str) else content)
    async with Backlog.open(directory / "backlog.sqlite") as backlog:
        return await backlog.add_manifest(manifest)


async def tasks(directory: Path) -> list[Task]:
    async with Backlog.open(directory / "backlog.sqlite") as backlog:
        return [task async for task in backlog.results()]


async def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, CRLF, quoted line breaks, columns in any order, blank and short rows are accepted."""
    content = '\ufeffref,kind,invoice_id,file\r\n"一\r\n二",url,c:1:2,\r\n,,,\r\n\r\nb,detail,c::3\r\n'.encode()
    assert await add(tmp_path, "m.csv", content) == AddReport(added=2, duplicates=0)
    first, second = await tasks(tmp_path)
    assert (first.ref, first.kind, first.invoice_id, first.line) == ("一\r\n二", "url", "c:1:2", 2)
    assert (second.ref, second.kind, second.invoice_id, second.line) == ("b", "detail", "c::3", 6)


async def test_json_lines(tmp_path: Path) -> None:
    """Each line is an object; null is empty, whole numbers are read as text, blank lines are skipped."""
    content = '{"kind":"url","invoice_id":"c:1:2","ref":17}\n\n{"kind":"detail","invoice_id":"c::3","ref":null}'
    assert await add(tmp_path, "m.ndjson", content) == AddReport(added=2, duplicates=0)
    assert [(task.ref, task.line) for task in await tasks(tmp_path)] == [("17", 1), ("", 3)]


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ("ocr,,,,,", "line 3, column file: ocr needs"),
        ("verify,https://a/b.png,,,,", "line 3, column staff_id: verify needs"),
        ("url,,,,,", "line 3, column invoice_id: url needs"),
        ("url,https://a/b.png,c:1:2,,,", "line 3, column file: url takes no value"),
        ("ocr,https://a/b.png,c:1:2,,,", "line 3, column invoice_id: ocr takes no value"),
        ("OCR,https://a/b.png,,,,", "line 3, column kind: 'OCR' is none of ocr, verify"),
        ("ocr,missing.png,,,,", "line 3, column file: there is no such file"),
        ("ocr,.,,,,", "line 3, column file: this is not a regular file"),
        (f"ocr,{'x' * 300}.png,,,,", "line 3, column file: the file cannot be read"),
        ("ocr,attachment:only-an-id,,,,", "line 3, column file: an attachment is written as"),
        ("ocr,ftp://a/b.png,,,,", "line 3, column file: only http and https"),
        ("ocr,https://,,,,", "line 3, column file: this URL cannot be read"),
        ("ocr,http://[::1/b.png,,,,", "line 3, column file: this URL cannot be read"),
        ("url,,c:\0:2,,,", "line 3, column invoice_id: the value has control characters"),
        ("url,,c:1:2,,,a\0b", "line 3, column ref: the value has control characters"),
        ("url,,c:1:2,,,,more", "line 3, column 7: the header has only 6 columns"),
        (f"url,,c:1:2,,,{'r' * 200_000}", "line 3: field larger than field limit"),
        (f"url,,c:1:2,,,{'r' * 2_000_000}", "line 3: longer than 1 MiB"),
        ('url,,c:1:2,,,"never closed', "line 3: unexpected end of data"),
    ],
)
async def test_a_wrong_row_names_its_place_and_adds_nothing(tmp_path: Path, row: str, place: str) -> None:
    """All rows of a manifest are added, or none; the error names line and column."""
    with pytest.raises(ConfigError, match=r"m\.csv, line 3") as caught:
        await add(tmp_path, "m.csv", f"{HEADER}url,,c:1:1,,,fine\n{row}\n")
    assert place in str(caught.value)
    assert await tasks(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("{not json", "line 2: this is no JSON"),
        ("[" * 100_000, "line 2: this is no JSON"),
        ('["url"]', "line 2: each line is one JSON object"),
        ('{"kind":"url","invoice_id":true}', "line 2, column invoice_id: the value must be a text"),
        ('{"kind":"url","id":"b"}', "line 2, column invoice_id: url needs a value here; unknown columns: id"),
        ('{"invoice_id":"a"}', "line 2, column kind: '' is none of"),
        ('{"kind":"url","invoice_id":"\\u0000"}', "line 2, column invoice_id: the value has control characters"),
    ],
)
async def test_a_wrong_json_line_names_its_place(tmp_path: Path, line: str, place: str) -> None:
    """JSON Lines are checked as strictly as CSV."""
    with pytest.raises(ConfigError) as caught:
        await add(tmp_path, "m.jsonl", f'{{"kind":"url","invoice_id":"a"}}\n{line}\n')
    assert place in str(caught.value)
    assert await tasks(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"", "the manifest is empty"),
        ("m.csv", b"kind,file,kind\n", "line 1, column kind: this column is there twice"),
        ("m.csv", b"kind,file,price,price\n", "line 1, column price: this column is there twice"),
        ("m.csv", b"file,ref\n", "line 1, column kind: this column is missing"),
        ("m.csv", f"{SIGNED},x\n".encode(), "unknown"),
        (
            "m.csv",
            "kind,invoice_id,ref\nurl,a,é\n".encode("latin-1"),
            "line 2: this is neither UTF-8 nor clearly GB18030",
        ),
        ("m.csv", "kind,invoice_id\nurl,a\n".encode("utf-32"), "this is UTF-32"),
        ("m.txt", b"kind\n", "a manifest ends in .csv, .jsonl, .ndjson or .xlsx"),
        ("m", b"kind\n", "a manifest ends in .csv"),
    ],
)
async def test_a_file_that_is_no_manifest(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """The error says what is wrong with the file, and contains no secret."""
    with pytest.raises(ConfigError) as caught:
        await add(tmp_path, name, content)
    assert message in str(caught.value)
    assert "TOPSECRET" not in str(caught.value)


async def test_a_manifest_that_cannot_be_opened(tmp_path: Path) -> None:
    """The errors for a missing file and for a directory differ."""
    (tmp_path / "d.csv").mkdir()
    async with Backlog.open(tmp_path / "backlog.sqlite") as backlog:
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            await backlog.add_manifest(tmp_path / "nowhere.csv")
        with pytest.raises(ConfigError, match="this is a directory"):
            await backlog.add_manifest(tmp_path / "d.csv")


@pytest.mark.parametrize(("name", "content"), [("m.csv", HEADER), ("m.jsonl", "")])
async def test_a_manifest_without_rows(tmp_path: Path, name: str, content: str) -> None:
    """A manifest without rows is accepted."""
    assert await add(tmp_path, name, content) == AddReport(added=0, duplicates=0)


async def test_rows_that_ask_for_the_same_share_a_call(tmp_path: Path) -> None:
    """Per kind, rows with equal bytes, attachment ID, URL apart from its signature, or invoice ID share a call."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"same")
    (tmp_path / "c.png").write_bytes(b"other")
    rows = ["a.png", "b.png", "c.png", "attachment:ID1:k:1", "attachment:ID1:k:2", SIGNED, SIGNED.replace("SECRET", "")]
    content = HEADER + "".join(f"ocr,{file},,,,\n" for file in rows)
    assert await add(tmp_path, "m.csv", content) == AddReport(added=4, duplicates=3)
    more = "verify,a.png,,me,,\nverify,b.png,,you,,\nurl,,c:1:2,,,\ndetail,,c:1:2,,,\nurl,,c:1:2,,,\n"
    assert await add(tmp_path, "more.csv", HEADER + more) == AddReport(added=3, duplicates=2)


async def test_the_same_manifest_twice(tmp_path: Path) -> None:
    """Adding a manifest again adds nothing, and reports that."""
    content = HEADER + "url,,c:1:1,,,x\nurl,,c:1:2,,,y\n"
    assert await add(tmp_path, "m.csv", content) == AddReport(added=2, duplicates=0)
    assert await add(tmp_path, "m.csv", content) == AddReport(added=0, duplicates=2, present=2)
    assert [task.ref for task in await tasks(tmp_path)] == ["x", "y"]


async def test_a_signature_stays_in_its_manifest(tmp_path: Path) -> None:
    """No byte of a URL's signature is in the backlog file or in a task."""
    await add(tmp_path, "m.csv", f"{HEADER}ocr,{SIGNED},,,,\nverify,{SIGNED},,me,,\n")
    await add(tmp_path, "m.jsonl", json.dumps({"kind": "ocr", "file": SIGNED}))
    assert {task.file for task in await tasks(tmp_path)} == {"https://files.example/1-a.png"}
    assert b"TOPSECRET" not in (tmp_path / "backlog.sqlite").read_bytes()


async def test_many_rows_at_once(tmp_path: Path) -> None:
    """A manifest longer than one import part is added completely and in order, or not at all."""
    lines = [f"url,,c:1:{number},,,{number}\n" for number in range(1_234)]
    assert await add(tmp_path, "m.csv", HEADER + "".join(lines)) == AddReport(added=1_234, duplicates=0)
    assert [task.ref for task in await tasks(tmp_path)] == [str(number) for number in range(1_234)]
    with pytest.raises(ConfigError, match="line 1236"):
        await add(tmp_path, "n.csv", HEADER + "".join(lines).replace("c:1", "c:2") + "wrong\n")
    assert len(await tasks(tmp_path)) == 1_234


async def test_a_cancelled_adding_adds_nothing(tmp_path: Path) -> None:
    """Cancelling halfway leaves the backlog unchanged, and the manifest can be added again."""
    manifest = tmp_path / "m.csv"
    manifest.write_text(HEADER + "".join(f"url,,c:1:{number},,,\n" for number in range(5_000)))
    async with Backlog.open(tmp_path / "backlog.sqlite") as backlog:
        adding = asyncio.create_task(backlog.add_manifest(manifest))
        await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert sum((await backlog.counts()).values()) == 0
        assert await backlog.add_manifest(manifest) == AddReport(added=5_000, duplicates=0)


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"), max_size=20)


@settings(max_examples=25, deadline=None)
@given(refs=st.lists(_TEXT, max_size=8), as_json=st.booleans())
def test_references_come_back_as_they_were_written(refs: list[str], *, as_json: bool) -> None:
    """Any text is preserved exactly as a reference, in order, in both formats."""
    text = io.StringIO()
    if as_json:
        text.writelines(json.dumps({"kind": "url", "invoice_id": "c", "ref": ref}) + "\n" for ref in refs)
    else:
        csv.writer(text).writerows([("kind", "invoice_id", "ref"), *(("url", "c", ref) for ref in refs)])

    async def kept() -> list[str]:
        with tempfile.TemporaryDirectory() as directory:
            await add(Path(directory), "m.jsonl" if as_json else "m.csv", text.getvalue().encode("utf-8-sig"))
            return [task.ref for task in await tasks(Path(directory))]

    assert asyncio.run(kept()) == refs


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
async def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    """A manifest whose path is not UTF-8 is refused by name, and adds nothing."""
    with pytest.raises(ConfigError, match="must be UTF-8"):
        await add(tmp_path, os.fsdecode(b"m\xff.csv"), HEADER + "url,,c:1:2,,,\n")
    assert await tasks(tmp_path) == []
