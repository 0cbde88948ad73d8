"""`ekb backlog retry`: what it would make again and pay for, the question, and which rows it takes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import all_tasks, execute, manifest, picture
from tests.support.command import COMMAND, ekb, environment, start
from tests.support.terminals import all_of, until_shown

FAST = ("--ocr-rate", "1000", "--verify-rate", "1000")


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    """A backlog with a done row, two failed billed rows of one call, a third one, and a failed free row."""
    path = tmp_path / "b.sqlite"
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "other.png").write_bytes(b"no image either")
    rows = [f"ocr,{picture(tmp_path, 'a.png')},,,,", "ocr,bad.png,,,,", "ocr,bad.png,,,,again"]
    rows += ["ocr,other.png,,,,", "url,,corp:1:unknown1,,,"]
    async with Sandbox(ocr_rate=0) as box, Backlog.open(path) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        assert (await ekb("backlog", "run", path, *FAST, box=box)).status == 1
    return path


async def pending(db: Path) -> list[int]:
    """Return the numbers of the pending rows."""
    async with Backlog.open(db) as backlog:
        return [task.id for task in await all_tasks(backlog, "pending")]


async def test_it_says_what_is_billed_again(db: Path) -> None:
    """As always without a question, all failed rows are retried, after it was said what that means."""
    done = await ekb("backlog", "retry", db)
    assert (done.status, done.messages.splitlines()) == (
        0,
        [
            "4 rows to retry",
            "  3 calls are made again, 2 of these billed",
            "  2 of them were sent before and are billed again",
            "4 rows are pending again",
        ],
    )
    assert await pending(db) == [2, 3, 4, 5]


async def test_the_same_in_chinese(db: Path) -> None:
    """All of it is in the language of the command."""
    assert (await ekb("backlog", "retry", db, "--lang", "zh")).messages.splitlines() == [
        "4 行将重试",
        "  重新发出 3 次调用，其中计费 2 次",
        "  其中 2 次此前已发出过，将再次计费",
        "4 行已重新设为待处理",
    ]


async def test_rows_by_number(db: Path) -> None:
    """Rows are taken by their numbers, with those that share their call; without a terminal, --yes is needed."""
    refused = await ekb("backlog", "retry", db, "2", "1", "99")
    assert refused.status == 2
    assert "  1 row left, because it has not failed" in refused.messages
    assert "  1 number is no row of this backlog" in refused.messages
    assert refused.messages.splitlines()[-1] == (
        "ekb: standard input is no terminal, so it cannot be asked: give --yes"
    )
    assert await pending(db) == []
    done = await ekb("backlog", "retry", db, "2", "1", "99", "--yes")
    assert (done.status, done.messages.splitlines()[-1]) == (0, "2 rows are pending again")
    assert await pending(db) == [2, 3]
    assert (await ekb("backlog", "retry", db, "0", "--yes")).status == 2


async def test_what_is_free_needs_no_answer(db: Path) -> None:
    """A look-up is retried by its ID without --yes, and by a part of its file or ID in any case."""
    done = await ekb("backlog", "retry", db, "--file", "CORP:1")
    assert (done.status, done.messages.splitlines()[-1]) == (0, "1 row is pending again")
    assert await pending(db) == [5]
    assert (await ekb("backlog", "retry", db, "--file", "OTHER", "-y")).messages.splitlines()[0] == "1 row to retry"
    assert await pending(db) == [4, 5]
    assert (await ekb("backlog", "retry", db, "--file", " ", "-y")).status == 2


async def test_what_may_have_been_billed_is_left(db: Path) -> None:
    """Rows with an unknown outcome are left and counted; --unknown retries only them."""
    async with Backlog.open(db) as backlog:
        await execute(
            backlog, "UPDATE calls SET error_type = 'OutcomeUnknownError', maybe_billed = 1 WHERE row_count = 2"
        )
    lines = (await ekb("backlog", "retry", db, "--cause", "Error")).messages.splitlines()
    assert lines[0] == "2 rows to retry"
    assert "  2 rows left, because their calls may already have been billed; retry them with --unknown" in lines
    assert await pending(db) == [4, 5]
    lines = (await ekb("backlog", "retry", db, "--unknown")).messages.splitlines()
    assert "  1 of them may have been billed already, without a result" in lines
    assert await pending(db) == [2, 3, 4, 5]
    for option in (["2"], ["--tenant", "a"]):
        refused = await ekb("backlog", "retry", db, "--waiting", *option)
        assert (refused.status, "only --cause" in refused.messages) == (2, True)


@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_an_edited_workbook(db: Path, lang: str) -> None:
    """Lines that a person deleted from an exported workbook are not retried."""
    book = db.with_name("out.xlsx")
    assert (await ekb("backlog", "export", db, book, "--lang", lang)).status == 0
    edited = openpyxl.load_workbook(book)
    for sheet in edited.worksheets:
        for row in range(sheet.max_row, 1, -1):
            if any(str(cell.value).endswith("bad.png") for cell in sheet[row]):
                sheet.delete_rows(row)
    edited.save(book)
    done = await ekb("backlog", "retry", db, "--from", book, "--yes")
    assert (done.status, done.messages.splitlines()[-1]) == (0, "2 rows are pending again")
    assert await pending(db) == [4, 5]


async def test_the_sheet_of_problems_counts(db: Path) -> None:
    """Of several sheets with task numbers, the one that lists problems counts, below any title."""
    edited = openpyxl.Workbook()
    first: Any = edited.active
    first.append(["任务号", "文件"])
    for number in range(1, 6):
        first.append([number, "x"])
    problems = edited.create_sheet("问题")
    problems.append(["整理后的清单"])
    problems.append(["文件", "问题", "任务号"])
    problems.append(["other.png", "失败", 4])
    problems.append(["合计", None, None])
    edited.save(book := db.with_name("problems.xlsx"))
    assert (await ekb("backlog", "retry", db, "--from", book, "--yes")).status == 0
    assert await pending(db) == [4]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
async def test_other_lists(db: Path, name: str) -> None:
    """CSV and JSON Lines that were exported are read too, and rows given besides narrow them."""
    path = db.with_name(name)
    assert (await ekb("backlog", "export", db, path, "--state", "failed", "--lang", "zh")).status == 0
    assert (await ekb("backlog", "retry", db, "4", "1", "--from", path, "--yes")).status == 0
    assert await pending(db) == [4]
    assert (await ekb("backlog", "retry", db, "--from", path, "--yes")).status == 0
    assert await pending(db) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "file,number\nx,1\n", "no column is called Task number, 任务号 or id"),
        ("a.csv", "\ufeffid\n1\nx\n", "line 3: this is no task number"),
        ("a.jsonl", '{"id": "1.5"}\n', "line 1: this is no task number"),
        ("a.jsonl", "[]\n", "no column is called"),
        ("a.txt", "1\n", "a list of rows ends in .xlsx, .csv, .jsonl or .ndjson"),
        ("missing.csv", None, "the list of rows cannot be read"),
    ],
)
async def test_a_list_that_is_none(db: Path, name: str, content: str | None, reason: str) -> None:
    """A list without task numbers, or with something else in their column, is refused, and nothing is retried."""
    path = db.with_name(name)
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = await ekb("backlog", "retry", db, "--from", path, "--yes")
    assert done.status == 2
    assert reason in done.messages
    assert await pending(db) == []


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("answer", "numbers"), [(b"n\n", []), (b"y\n", [2, 3, 4, 5])])
async def test_the_question(db: Path, answer: bytes, numbers: list[int]) -> None:
    """On a terminal it asks before billed calls are made again, and does what is answered."""
    screen, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "backlog", "retry", str(db), env=environment(None), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    await asyncio.to_thread(until_shown, screen, "Retry them?")
    os.write(screen, answer)
    shown = await asyncio.to_thread(all_of, screen)
    assert await process.wait() == 0
    assert ("Nothing was changed." in shown) == (not numbers)
    assert await pending(db) == numbers


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
async def test_ctrl_c_at_the_question(db: Path) -> None:
    """Ctrl-C ends the command at once, although it waits for an answer, and nothing is retried."""
    screen, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "backlog", "retry", str(db), env=environment(None), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    await asyncio.to_thread(until_shown, screen, "Retry them?")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        status = await process.wait()
    assert "Traceback" not in await asyncio.to_thread(all_of, screen)
    assert status == 130
    assert await pending(db) == []


@pytest.mark.process
async def test_what_a_killed_run_left_is_said_before(tmp_path: Path) -> None:
    """Calls that a killed run had sent, and that it wanted held, are among those that are said to be billed again."""
    db = tmp_path / "b.sqlite"
    names = [f"{number}.png" for number in range(3)]
    async with Sandbox(ocr_rate=0, latency=60) as box, Backlog.open(db) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,{picture(tmp_path, name)},,,," for name in names)))
        run = await start("backlog", "run", db, *FAST, "--hold-unknown", box=box)
        await box.arrived("ocr", len(names))
        run.kill()
        await run.wait()
    lines = (await ekb("backlog", "retry", db, "--unknown", "--yes")).messages.splitlines()
    assert lines[0] == "3 rows to retry"
    assert lines[-1] == "3 rows are pending again"
    assert "  3 of them may have been billed already, without a result" in lines


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
async def test_rows_that_fail_while_it_asks(db: Path) -> None:
    """Calls that nobody was asked about are not made again: it says the new numbers and asks again."""
    screen, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "backlog", "retry", str(db), env=environment(None), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    await asyncio.to_thread(until_shown, screen, "Retry them?")
    async with Backlog.open(db) as backlog:
        await execute(backlog, "UPDATE calls SET state = 'failed', error_type = 'ServerError' WHERE state = 'done'")
    os.write(screen, b"y\n")
    again = await asyncio.to_thread(until_shown, screen, "Retry them?")
    assert "5 rows to retry" in again
    os.write(screen, b"n\n")
    await asyncio.to_thread(all_of, screen)
    assert await process.wait() == 0
    assert await pending(db) == []
