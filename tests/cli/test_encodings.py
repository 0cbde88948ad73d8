"""The command where the terminal, a redirected file or the arguments are not UTF-8."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path

import msgspec
import pytest

from ekb_async.cli.demo import report
from ekb_async.cli.progress import display
from ekb_async.sandbox import Fault, Sandbox
from tests.support.command import COMMAND, ekb, ekb_writing, environment

ODD = "识别失败 🧾"
NARROW = ["gbk", "cp1252", "ascii"]


@pytest.mark.parametrize("encoding", NARROW)
async def test_every_command_fits_the_encoding_of_its_stream(tmp_path: Path, encoding: str) -> None:
    """Texts for a person are in the stream's encoding, with escapes for missing characters, and never a traceback."""
    manifest, db = tmp_path / "清单🧾.csv", tmp_path / "积压🧾.sqlite"
    manifest.write_text("kind,file,ref\nocr,https://f/1.png,参考🧾\n", encoding="utf-8")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("kind,file\n坏🧾,x\n", encoding="utf-8")
    async with Sandbox(ocr_rate=0, faults=[Fault.answer(400, ODD, calls="ocr")]) as box:
        for status, *arguments in (
            (0, "--help"),
            (0, "backlog", "export", "--help"),
            (0, "backlog", "add", db, manifest),
            (2, "backlog", "add", db, wrong),
            (1, "backlog", "run", db),
            (0, "backlog", "status", db),
            (0, "backlog", "export", db, tmp_path / "结果🧾.csv", "--lang", "zh"),
            (0, "backlog", "report", db, "-o", tmp_path / "报告🧾.html", "--lang", "zh"),
            (2, "backlog", "export", db, tmp_path / "结果.🧾"),
            (0, "backlog", "retry", db, "--cause", "失败"),
            (2, "backlog", "status", tmp_path / "没有🧾.sqlite"),
            (2, "backlog", "没有🧾"),
            (2, "ocr", tmp_path / "没有🧾.png"),
        ):
            ended, output, messages = await ekb_writing(encoding, *arguments, box=box)
            assert ended == status, (arguments, messages)
            assert (output + messages).decode(encoding)
            assert b"Traceback" not in messages
            if arguments[:2] == ["backlog", "status"] and status == 0:
                assert ODD.encode(encoding, errors="backslashreplace") in output


@pytest.mark.slow
@pytest.mark.parametrize("encoding", NARROW)
async def test_lines_for_programs_are_utf8(tmp_path: Path, encoding: str) -> None:
    """JSON on standard output is UTF-8 in every locale."""
    manifest, db = tmp_path / "m.csv", tmp_path / "b.sqlite"
    manifest.write_text("kind,file\nocr,https://f/1.png\n", encoding="utf-8")
    async with Sandbox(ocr_rate=0, faults=[Fault.answer(400, ODD, calls="ocr")]) as box:
        await ekb("backlog", "add", db, manifest)
        await ekb("backlog", "run", db, box=box)
        _, status, _ = await ekb_writing(encoding, "backlog", "status", db, "--json")
        assert msgspec.json.decode(status)["causes"][0]["error"].count(ODD) == 1
        _, output, _ = await ekb_writing(encoding, "ocr", "https://f/酒店🧾.png", box=box)
        line = msgspec.json.decode(output)
        assert (line["input"], line["error"]["message"]) == ("https://f/酒店🧾.png", ODD)
        _, output, _ = await ekb_writing(encoding, "details", "c:发票🧾:1", box=box)
        assert msgspec.json.decode(output)["input"] == "c:发票🧾:1"


NOT_UTF8 = os.fsdecode(b"\xb7\xa2\xc6\xb1")
"""发票 from a shell in GBK, as Python decodes the argument in a UTF-8 locale."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("ocr", f"https://f/{NOT_UTF8}.png"),
        ("ocr", f"attachment:ID01:{NOT_UTF8}"),
        ("verify", "https://f/1.png", "--staff-id", NOT_UTF8),
        ("urls", f"c:{NOT_UTF8}:1"),
        ("details", f"c:{NOT_UTF8}:1"),
    ],
)
async def test_an_argument_that_is_not_utf8(arguments: tuple[str, ...]) -> None:
    """An argument that would be sent and is not UTF-8 is wrong usage, and nothing is sent."""
    async with Sandbox() as box:
        ended = await ekb(*arguments, box=box)
        assert ended.status == 2
        assert "this argument is not UTF-8" in ended.messages
        assert box.log == []


async def test_a_cause_that_is_not_utf8(tmp_path: Path) -> None:
    """A search text that is not UTF-8 is wrong usage; a path may be any bytes."""
    db, manifest = tmp_path / os.fsdecode(b"\xb7\xa2.sqlite"), tmp_path / "m.csv"
    manifest.write_text("kind,invoice_id\nurl,c:1:2\n", encoding="utf-8")
    assert (await ekb("backlog", "add", db, manifest)).status == 0
    ended = await ekb("backlog", "retry", db, "--cause", NOT_UTF8)
    assert (ended.status, "this argument is not UTF-8" in ended.messages) == (2, True)


@pytest.mark.process
async def test_a_locale_without_chinese() -> None:
    """Where Python decodes arguments as ASCII, those in UTF-8 are sent as they are, and help is shown."""
    bare = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

    async def run(*arguments: str) -> tuple[bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            env=environment(box, **bare),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return await process.communicate()

    async with Sandbox(ocr_rate=0) as box:
        (output, messages), (helped, wrong) = await asyncio.gather(run("ocr", "https://f/酒店.png"), run("--help"))
        assert msgspec.json.decode(output)["input"] == "https://f/酒店.png"
        assert '"fileUrl":"https://f/酒店.png"' in box.log[-1].body
        assert b"Traceback" not in messages + wrong
        assert b"Exit status" in helped


class Terminal(io.TextIOWrapper):
    """A terminal of some encoding."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("encoding", ["utf-8", *NARROW])
def test_the_bar_and_the_demo_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str) -> None:
    """A progress bar is drawn without escapes, and the demo's texts are printed."""
    monkeypatch.setenv("TERM", "xterm")
    drawn, said = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(
        sys, "stderr", Terminal(drawn, encoding=encoding, errors="backslashreplace", write_through=True)
    )
    monkeypatch.setattr(sys, "stdout", Terminal(said, encoding=encoding, write_through=True))
    with display("backlog", stays=True) as screen:
        screen.update(done=1, failed=0, total=2)
    report.introduce(tmp_path / "演示🧾")
    assert b"backlog" in drawn.getvalue()
    assert b"\\u" not in drawn.getvalue()
    assert "invoices" in said.getvalue().decode(encoding)
