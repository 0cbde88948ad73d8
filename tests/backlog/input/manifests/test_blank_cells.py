"""Cells of a manifest that contain only blanks, as spreadsheets leave them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ekb_async.backlog import AddReport, Backlog
from ekb_async.errors import ConfigError
from ekb_async.ext.engines.jobs import InvoiceJob, rows_of
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.backlogs import HEADER, session

BLANKS = [" ", "   ", "\u3000", "\u00a0"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("blank", BLANKS)
async def test_a_file_name_of_blanks_is_no_file_name(
    tmp_path: Path, suffix: str, blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `file_name` of blanks is treated as empty, so the call is made with the default name."""
    path = tmp_path / f"m.{suffix}"
    if suffix == "csv":
        text = f"{HEADER}verify,https://f.example/a.png,,corp:staff,{blank},\n"
    else:
        row = {"kind": "verify", "file": "https://f.example/a.png", "staff_id": "corp:staff", "file_name": blank}
        text = json.dumps(row)
    path.write_text(text, encoding="utf-8")
    async with Sandbox(verify_rate=0) as box, session(box) as ekb, Backlog.open(tmp_path / "b.sqlite") as backlog:
        reply, sent = box.vendor.reply, []

        def answer(request: VendorRequest, at: float) -> VendorReply:
            sent.append(request.body)
            return reply(request, at)

        monkeypatch.setattr(box.vendor, "reply", answer)
        assert await backlog.add_manifest(path) == AddReport(added=1, duplicates=0)
        assert (await backlog.run(ekb)).counts["done"] == 1
    assert [b'"a.png"' in body for body in sent if b"f.example" in body] == [True]


@pytest.mark.parametrize("blank", BLANKS)
async def test_rows_and_cells_of_blanks_are_empty(tmp_path: Path, blank: str) -> None:
    """A row of blanks is skipped, and blank cells after the last column are ignored."""
    path = tmp_path / "m.csv"
    rows = [f"url,,c:1:2,{blank},{blank},{blank},{blank}", ",".join([blank] * 6), blank, ",".join([blank] * 9)]
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        assert await backlog.add_manifest(path) == AddReport(added=1, duplicates=0)


@pytest.mark.parametrize("blank", BLANKS)
def test_a_program_that_gives_a_file_name_of_blanks(blank: str) -> None:
    """A `file_name` of blanks is refused when the job is submitted, not when it is sent."""
    job = InvoiceJob(kind="verify", file="https://f.example/a.png", staff_id="corp:staff", file_name=blank)
    with pytest.raises(ConfigError, match="job 1: file_name"):
        list(rows_of([job]))


@pytest.mark.parametrize("blank", BLANKS)
async def test_blanks_around_a_file(tmp_path: Path, blank: str) -> None:
    """They are no part of a path or a URL, with or without a signature, unless a file has such a name."""
    for name in ("a.pdf", f"b.pdf{blank}"):
        (tmp_path / name).write_bytes(b"%PDF-1.4 " + name.encode())
    urls = ("https://f.example/1.png", "https://f.example/2.png?Expires=1&OSSAccessKeyId=x&Signature=y")
    cells = [f"a.pdf{blank}", f"b.pdf{blank}", *(f"{blank}{url}{blank}" for url in urls)]
    text = HEADER + "".join(f"ocr,{cell},,,,{number}\n" for number, cell in enumerate(cells))
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    async with Sandbox(ocr_rate=0) as box, session(box) as ekb, Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(tmp_path / "m.csv", read=False)
        assert [task.file async for task in backlog.results()] == [
            *("a.pdf", f"b.pdf{blank}"),
            *(url.partition("?")[0] for url in urls),
        ]
        assert (await backlog.run(ekb)).counts["done"] == 4
