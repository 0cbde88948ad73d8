"""What `ekb doctor` writes: lines for a person on any terminal, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time

import pytest

from ekb_async.sandbox import Sandbox
from tests.support.command import COMMAND, ekb, ekb_writing, environment, finished, start
from tests.support.terminals import all_of


async def test_a_line_for_each_check() -> None:
    """Outside of a terminal each check is one line, and the advice follows it on a line of its own."""
    async with Sandbox() as box:
        ended = await ekb("doctor", box=box, EKB_APP_SECURITY="wrong")
    lines = ended.output.decode().splitlines()
    assert ended.status == 3
    assert len(lines) == 14
    (fault,) = [number for number, line in enumerate(lines) if line.startswith("✗")]
    assert lines[fault].startswith("✗ keys ")
    assert lines[fault + 1].startswith(" " * 20)
    assert "EKB_APP_KEY" in lines[fault + 1]
    assert "– ocr licence       not checked: see keys" in lines
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "cp1252", "ascii"])
async def test_any_encoding(encoding: str) -> None:
    """Where the encoding lacks the marks, words stand in their place; JSON is UTF-8 everywhere."""
    async with Sandbox() as box:
        box.vendor.set_licence("110407", expires_at=time.time() - 1)
        status, output, messages = await ekb_writing(encoding, "doctor", box=box)
        _, json, _ = await ekb_writing(encoding, "doctor", "--json", box=box)
    text = output.decode(encoding)
    assert status == 3
    assert messages == b""
    assert ("✗ ocr licence" if encoding == "utf-8" else "FAIL ocr licence") in text
    assert "110407" in text
    assert "OCR智能票据识别" in json.decode()


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
async def test_a_narrow_terminal() -> None:
    """On a terminal no line is wider than the terminal, in whose cells a Chinese character takes two."""
    screen, terminal = os.openpty()
    async with Sandbox() as box:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "doctor",
            env=environment(box, TERM="xterm", COLUMNS="48", EKB_APP_SECURITY="wrong"),
            stdout=terminal,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(terminal)
        shown, _ = await asyncio.gather(asyncio.to_thread(all_of, screen), process.communicate())
    lines = re.sub(r"\r|\x1b\[[\d;]*m", "", shown).splitlines()
    assert len(lines) > 14
    # A mark is not ASCII and takes one cell.
    assert max(sum(1 if letter.isascii() else 2 for letter in line) for line in lines) <= 48 + 1


@pytest.mark.process
async def test_interrupted() -> None:
    """Ctrl-C while the vendor is silent ends it at once, with status 130."""
    async with Sandbox(latency={"token": 60}) as box:
        process = await start("doctor", box=box)
        await box.arrived("token")
        process.send_signal(signal.SIGINT)
        ended = await finished(process)
    assert ended.status == 130
    assert "Interrupted" in ended.messages


@pytest.mark.parametrize("options", [["--timeout", "0"], ["--timeout", "soon"], ["unexpected"]])
async def test_wrong_usage(options: list[str]) -> None:
    """An impossible option or an argument is status 2."""
    assert (await ekb("doctor", *options)).status == 2


async def test_help_names_the_statuses() -> None:
    """The help says what each exit status means, and that only `--paid` costs money."""
    ended = await ekb("doctor", "--help")
    words = " ".join(ended.output.decode().split())
    assert "Exit status: 0 all well" in words
    assert "billed" in words
