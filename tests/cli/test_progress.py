"""The progress of a command: what a narrow terminal keeps, plain lines, causes of failure as they come."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len
from rich.console import Console

from ekb_async.backlog import Cause, KindProgress, Progress, Wait
from ekb_async.backlog.run.shown.waits import WaitReason
from ekb_async.cli.backlog.running.progress import RunProgress
from ekb_async.cli.backlog.showing.causes import CauseLines
from ekb_async.cli.backlog.showing.waits import wait_text
from ekb_async.cli.language import texts, use_language
from ekb_async.cli.progress import Display, Outlook, _Lines, _Numbers, display
from ekb_async.models.wire.coerce import CHINA


@pytest.fixture(params=["en", "zh"])
def lang(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The language of the command."""
    monkeypatch.setenv("LANGUAGE", "")
    use_language(request.param)
    yield str(request.param)
    use_language("en")


class Kept(Display):
    """A display that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = _Numbers()
        self.said: list[str] = []

    def __exit__(self, *_: object) -> None:
        pass

    def _show(self, numbers: _Numbers) -> None:
        self.numbers = numbers

    def say(self, text: str) -> None:
        self.said.append(text)


def drawn(width: int, numbers: _Numbers, title: str = "backlog") -> list[str]:
    """Return the lines on a terminal of a width."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    lines = _Lines(title)
    lines.numbers = numbers
    with console.capture() as captured:
        console.print(lines, end="")
    return re.sub(r"\x1b\[[0-9;]*m", "", captured.get()).splitlines()


@pytest.mark.parametrize("width", range(24, 130, 7))
@pytest.mark.parametrize("title", ["backlog", "任务库"])
def test_the_count_is_never_cut(width: int, title: str) -> None:
    """The count stays whole on any terminal on which it fits, and no line is wider than the terminal."""
    details = [("识别并验真 0.98/秒（上限 1/秒）", "等待应答 3 次", "剩余 8,763 次调用"), ("x" * 200,)]
    numbers = _Numbers(12_345, 1_000_000, "失败 1,234", "0.98/s", "剩余 2 小时 46 分", details)
    first, *others = drawn(width, numbers, title)
    assert "12,345/1,000,000" in first
    assert len(others) == 2
    assert max(map(cell_len, (first, *others))) <= width - 2


def test_what_goes_first() -> None:
    """A wide terminal shows everything; the narrower it is, the more is left out, the least important first."""
    numbers = _Numbers(12, 100, "3 failed", "0.98/s", "2 min 5 s left", [("OCR 1/s", "3 running", "88 left")])
    wide, detail = drawn(100, numbers)
    assert all(part in wide for part in ("backlog", "━", "12/100", "3 failed", "0.98/s", "2 min 5 s left"))
    assert detail == "  OCR 1/s · 3 running · 88 left"
    middle, detail = drawn(44, numbers)
    assert "0.98/s" not in middle
    assert all(part in middle for part in ("12/100", "3 failed", "2 min 5 s left"))
    narrow, detail = drawn(26, numbers)
    assert ("12/100" in narrow, "left" in narrow, detail) == (True, False, "  OCR 1/s · 3 running")


def progress(**more: object) -> Progress:
    """Return the progress of a run with these fields."""
    counts = {"pending": 8, "running": 2, "done": 1, "failed": 1}
    kinds = {"ocr": KindProgress(left=10, ended=2, allowed=1.0, in_flight=3)}
    given = {"counts": counts, "total": 12, "done": 2, "rate": 0.0, "started_at": datetime.now(UTC), "kinds": kinds}
    return Progress(**{**given, **more})  # type: ignore[arg-type]


def test_a_run_in_words(lang: str) -> None:
    """Rate, limit, calls on the wire and what waits are shown in the language of the command."""
    screen = Kept()
    show = RunProgress(screen, "b.sqlite")
    show(progress(waits=(Wait(reason="file", calls=2), Wait(reason="directory", calls=1))))
    assert screen.numbers.done == 2
    assert screen.numbers.left == {"en": "10 s left", "zh": "剩余 10 秒"}[lang]
    assert (
        screen.numbers.details
        == {
            "en": [
                ("OCR, at most 1/s", "3 calls running", "10 calls left"),
                ("2 calls wait for their files",),
                ("1 download waits for a folder: --files DIR",),
            ],
            "zh": [
                ("识别（上限 1/秒）", "等待应答 3 次", "剩余 10 次调用"),
                ("2 次调用等待文件",),
                ("1 次下载等待指定文件夹：--files DIR",),
            ],
        }[lang]
    )


@pytest.mark.parametrize("reason", WaitReason.__args__)  # type: ignore[attr-defined]
def test_every_wait_has_its_words(lang: str, reason: WaitReason) -> None:
    """Texts about one and about several differ; in Chinese, there is no English sentence."""
    until = datetime(2026, 11, 29, 0, 10, tzinfo=CHINA)
    for number in (1, 1_200):
        text = wait_text(Wait(reason=reason, calls=number, rows=number, text="X1", until=until))
        assert (lang == "en") == text.replace("X1", "").isascii()
    assert wait_text(Wait(reason="vendor", calls=2)) != wait_text(Wait(reason="vendor", text="x"))


def test_causes_are_no_flood(lang: str) -> None:
    """A cause is written when it first appears and with each tenfold number, then one line says that there are more."""
    said: list[str] = []
    lines = CauseLines(said.append, "b.sqlite")
    cause = Cause(error_type="RecognitionError", error="识别失败", hint="", rows=1)
    lines.update([cause])
    assert len(said) == 2
    for rows in range(2, 1_001):
        lines.update([Cause(error_type="RecognitionError", error="识别失败", hint="", rows=rows)])
    assert len(said) == 5
    assert "1,000" in said[-1]
    for number in range(100):
        lines.update([Cause(error_type="ServerError", error=f"{number}", hint="", rows=1)])
    assert len(said) == 5 + 2 * 9 + 1
    assert said[-1].endswith("ekb backlog status b.sqlite")
    assert (
        said[0]
        == {
            "en": "1 row failed: Not recognised (RecognitionError): 识别失败",
            "zh": "失败 1 行：识别失败（RecognitionError）",
        }[lang]
    )


def test_plain_lines(lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal, all parts stand in one line, the last one at the end."""
    with display(texts("backlog")) as shown:
        shown.update(done=1, failed=1, total=3, outlook=Outlook("", 61), details=[("a", "b"), ("c",)])
        shown.say("above")
    assert (
        capsys.readouterr().err.splitlines()
        == {
            "en": ["above", "backlog: 1 of 3, 1 failed, 1 min 1 s left; a, b; c"],
            "zh": ["above", "任务库：1/3，失败 1，剩余 1 分 1 秒；a，b；c"],
        }[lang]
    )
