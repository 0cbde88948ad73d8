"""`ekb backlog list`, `estimate` and `remove`: what they print, and what they ask."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import all_tasks, manifest
from tests.support.command import COMMAND, ekb, environment
from tests.support.read_rows import OFD, add_rows, written_row
from tests.support.terminals import all_of

FIRST, SECOND = "25999900000000000017", "25999900000000000028"
SAYS = {"date": "2025-01-02", "total": "1060.00", "buyer": "别的公司"}


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    """A backlog with two files of an invoice, a bad file, and rows of free kinds."""
    place = tmp_path / "b.sqlite"
    async with Backlog.open(place) as backlog:
        await add_rows(
            backlog,
            tmp_path,
            written_row(tmp_path, "甲乙丙丁戊己庚辛壬癸发票.pdf", FIRST, printed=SAYS),
            written_row(tmp_path, "a.ofd", FIRST, form=OFD, printed=SAYS),
            written_row(tmp_path, "b.pdf", SECOND, kind="ocr"),
        )
        (tmp_path / "bad.png").write_bytes(b"no image")
        rows = ("verify,bad.png,,corp:staff,,bad", "url,,corp:1:2,,,u", "url,,corp:1:2,,,again", "detail,,corp:1:2,,,d")
        await backlog.add_manifest(manifest(tmp_path, *rows))
    return place


async def test_list_shows_rows(db: Path) -> None:
    """A row shows what it is, its invoice, and the row whose call it shares; the last line counts all."""
    listed = await ekb("backlog", "list", db)
    lines = listed.output.decode().splitlines()
    assert lines[:5] == [
        "      1 pending verify 甲乙丙丁戊己庚辛壬癸发票.pdf",
        f"        {FIRST}   2025-01-02      1,060.00",
        "      2 pending verify a.ofd",
        f"        {FIRST}   2025-01-02      1,060.00",
        "        shares the call of 1: another file of the same invoice",
    ]
    assert lines[-1] == "7 rows"
    assert "        shares the call of 6: the same file or ID" in lines


async def test_list_selects(db: Path) -> None:
    """Rows are selected by kind, state, a part of the file or ID, reference and warning; the limit is said."""

    async def numbers(*options: str) -> tuple[list[int], int]:
        [found] = (await ekb("backlog", "list", db, "--json", *options)).lines
        return [row["id"] for row in found["rows"]], found["total"]

    assert await numbers("--kind", "ocr") == ([3], 1)
    assert await numbers("--state", "failed") == ([], 0)
    assert await numbers("--file", "A.OF") == ([2], 1)
    assert await numbers("--file", "CORP:1") == ([5, 6, 7], 3)
    assert await numbers("--ref", "again") == ([6], 1)
    assert await numbers("--limit", "2") == ([1, 2], 7)
    assert await numbers("--warnings") == ([], 0)
    assert (await ekb("backlog", "list", db, "--limit", "1")).output.decode().splitlines()[-1] == "1 row of 7"
    assert (await ekb("backlog", "list", db, "--file", "")).status == 2
    [found] = (await ekb("backlog", "list", db, "--json", "--limit", "1")).lines
    assert found["rows"][0]["invoices"] == [{"code": None, "number": FIRST, "date": "2025-01-02", "total": "1060.00"}]
    assert "result" not in found["rows"][0]


async def test_list_shows_answers_and_errors(db: Path) -> None:
    """A row that is done shows the invoice of its answer, a failed one why, without control characters."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        await ekb("backlog", "run", db, "--ocr-rate", "1000", "--verify-rate", "1000", box=box)
    async with Backlog.open(db) as backlog:
        [row, *_] = await all_tasks(backlog, "done")
    number = row.result["invoices"][0]["form"]["number"]
    text = (await ekb("backlog", "list", db, "--state", "done")).output.decode()
    assert number in text
    assert FIRST not in text
    failed = (await ekb("backlog", "list", db, "--state", "failed")).output.decode()
    assert "        failed: Not recognised: 识别失败\n" in failed
    assert failed.endswith("1 row\n")


async def test_list_is_harmless(tmp_path: Path) -> None:
    """Control characters do not reach the terminal, long texts are cut, and signatures are masked."""
    place = tmp_path / "b.sqlite"
    said = {"buyer": "x"}
    row = written_row(tmp_path, "a.pdf", printed=said)._replace(file="a\x1b[31m\u202e" + "b" * 500)
    signed = written_row(tmp_path, "c.pdf")._replace(file="https://f.example/a.pdf?Signature=SECRET")
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, row, signed)
    first, second, _ = (await ekb("backlog", "list", place)).output.decode().splitlines()
    assert "\x1b" not in first
    assert "\u202e" not in first
    assert len(first) < 250
    assert "SECRET" not in second


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
async def test_list_fits_a_narrow_terminal(db: Path) -> None:
    """On a terminal of 40 columns no line is wider, with two columns for a Chinese character."""
    screen, terminal = os.openpty()
    variables = environment(None, COLUMNS="40", PYTHONUTF8="1")
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "backlog", "list", str(db), env=variables, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    shown = await asyncio.to_thread(all_of, screen)
    assert await process.wait() == 0
    lines = shown.splitlines()
    assert lines[:3] == [
        "      1 pending verify 甲乙丙丁戊己庚辛…",
        f"        {FIRST}",
        "        2025-01-02      1,060.00",
    ]
    assert all(sum(1 + (each > "\u2e80") for each in line) <= 40 for line in lines)


async def test_estimate_says_what_is_billed(db: Path) -> None:
    """Without credentials nothing is asked, and the text says so; billed, free and shared calls are named."""
    text = (await ekb("backlog", "estimate", db, "--verify-rate", "0.5")).output.decode()
    assert "           7 rows to do\n" in text
    assert "           3 billed calls: 1 OCR, 2 OCR and verification\n" in text
    assert "           2 free calls: 1 Invoice lines, 1 File URL (look-ups and downloads are not billed)\n" in text
    assert "           1 saved: another file of the same invoice\n" in text
    assert (
        "           2 of the billed calls can be looked up in the ledger first, which is free: run --ledger-first\n"
        in text
    )
    assert "about 5 s at 1 OCR and 0.5 verification calls per second" in text
    assert "Buyers were not compared with the enterprise's own names: no credentials are in the environment" in text


async def test_estimate_checks_buyers(db: Path) -> None:
    """With credentials, the buyers that files state are compared, and rows with another one have a warning."""
    async with Sandbox() as box:
        text = (await ekb("backlog", "estimate", db, box=box)).output.decode()
        assert f"           2 of the rows have a warning: ekb backlog list {db} --warnings\n" in text
        assert "Buyers" not in text
        [found] = (await ekb("backlog", "estimate", db, "--json", box=box)).lines
        assert (found["billed"], found["warnings"], found["buyers"]) == (3, 2, "checked")
        assert {entry.call for entry in box.log} <= {"token", "payers"}
        box.vendor.set_licence("219902", state="expired")
        refused = await ekb("backlog", "estimate", db, box=box)
        assert refused.status == 0
        assert "Buyers were not compared with the enterprise's own names: " in refused.output.decode()
    listed = (await ekb("backlog", "list", db, "--warnings")).output.decode()
    assert "        warning: the buyer is none of the enterprise's own names\n" in listed


async def test_remove_needs_a_terminal_or_yes(db: Path) -> None:
    """Without a terminal, the command says what it would remove and removes it only with --yes."""
    asked = await ekb("backlog", "remove", db, "--kind", "url")
    assert asked.status == 2
    assert "2 rows to remove\n  1 call that no other row shares is removed with them\n" in asked.messages
    assert "--yes" in asked.messages
    removed = await ekb("backlog", "remove", db, "--kind", "url", "--yes")
    assert (removed.status, removed.messages) == (0, "2 rows removed\n")
    assert (await ekb("backlog", "remove", db, "2", "3", "--yes")).messages == "2 rows removed\n"
    assert (await ekb("backlog", "list", db)).output.decode().endswith("3 rows\n")
    assert (await ekb("backlog", "remove", db, "--yes")).status == 2
    assert "Nothing was removed." in (await ekb("backlog", "remove", db, "--state", "done")).messages


async def test_remove_leaves_what_was_paid(db: Path) -> None:
    """The command says which rows are left and why, and --paid removes them too."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        await ekb("backlog", "run", db, "--ocr-rate", "1000", "--verify-rate", "1000", box=box)
    left = await ekb("backlog", "remove", db, "--kind", "ocr", "--yes")
    assert left.messages.splitlines()[0] == "0 rows removed"
    assert "1 row left: its call was sent or answered; remove it with --paid" in left.messages
    assert (await ekb("backlog", "remove", db, "--kind", "ocr", "--paid", "--yes")).messages == "1 row removed\n"


async def test_messages_are_harmless(tmp_path: Path) -> None:
    """Names from the command line do not act on the terminal, and a command that is shown can be pasted."""
    folder = tmp_path / "a\x1b[31m\u202eb"
    folder.mkdir()
    added = await ekb("backlog", "add", tmp_path / "b.sqlite", folder, "--kind", "ocr")
    assert (added.status, "a\ufffd[31m\ufffdb: 0 rows added" in added.messages) == (0, True)
    missing = await ekb("backlog", "list", "no such.sqlite")
    assert "ekb backlog add 'no such.sqlite' SOURCE" in missing.messages
