"""What `ekb backlog run` says at its end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ekb_async.backlog import Cause, Summary, Verified, Waiting
from ekb_async.cli.backlog.running.ending import ending_lines
from ekb_async.cli.language import use_language
from ekb_async.cli.location import Location
from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest, picture
from tests.support.command import ekb

TROUBLE = Summary(
    counts={"pending": 9, "running": 0, "done": 1_200, "failed": 40},
    failures={"RecognitionError": 36, "OutcomeUnknownError": 4},
    seconds=1.0,
    refused_staff={"corp:gone": 5},
    waiting=Waiting(rows=4, first=(due := datetime(2026, 11, 29, 0, 12, tzinfo=CHINA)), last=due),
    causes=tuple(Cause(error_type="RecognitionError", error="识别失败", hint="", rows=rows) for rows in (20, 8, 4, 1)),
    verified=Verified(
        invoices=1_100,
        usable=1_090,
        amounts={"CNY": Decimal("1234567.8"), "USD": Decimal(20), "": Decimal(0)},
        usable_amounts={"CNY": Decimal(1_200_000)},
    ),
    maybe_billed=2,
)


@pytest.fixture(params=["en", "zh"])
def lang(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The language of the command."""
    monkeypatch.setenv("LANGUAGE", "")
    use_language(request.param)
    yield str(request.param)
    use_language("en")


def test_a_run_with_every_trouble(lang: str) -> None:
    """Done, usable, amounts by currency, what needs attention and the next commands, in about ten lines."""
    lines = list(ending_lines(Location("b.sqlite"), TROUBLE, has_directory=True))
    assert len(lines) <= 13
    assert (
        lines[:3]
        == {
            "en": [
                "9 pending, 1,200 done, 40 failed",
                "This run verified 1,100 invoices: CNY 1,234,567.80 + USD 20.00; 1,090 usable: CNY 1,200,000.00",
                "Needs attention: 40 rows failed, 10 invoices not usable, "
                "2 calls may have been billed without a result",
            ],
            "zh": [
                "待处理 9 行，已完成 1,200 行，失败 40 行",
                "本次运行验真发票 1,100 张：CNY 1,234,567.80 + USD 20.00；其中可用 1,090 张：CNY 1,200,000.00",
                "需要处理：失败 40 行，不可用发票 10 张，可能已计费但未收到结果的调用 2 次",
            ],
        }[lang]
    )
    text = "\n".join(lines)
    for command in (
        "ekb backlog export b.sqlite failed.xlsx --state failed",
        "ekb backlog retry b.sqlite\n",
        "ekb backlog retry b.sqlite --unknown",
        "ekb backlog report b.sqlite",
        "ekb backlog status b.sqlite",
    ):
        assert command in text
    assert "corp:gone" in text
    assert "2026-11-29 00:12" in text


def test_rows_that_were_cancelled() -> None:
    """The command that would do nothing for them is not advised."""
    counts = {"pending": 0, "running": 0, "done": 0, "failed": 1}
    summary = Summary(counts=counts, failures={"CallCancelledError": 1}, seconds=1.0)
    assert "backlog retry" not in "\n".join(ending_lines(Location("b.sqlite"), summary, has_directory=True))


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "en",
            [
                "1 done",
                "This run verified 1 invoice, usable: CNY ",
                "Show everything on one page with: ekb backlog report ",
            ],
        ),
        ("zh", ["已完成 1 行", "本次运行验真发票 1 张，全部可用：CNY ", "生成报告页面：ekb backlog report "]),
    ],
)
async def test_a_run_without_trouble(tmp_path: Path, language: str, lines: list[str]) -> None:
    """A run that went well says so in three lines."""
    db, rows = tmp_path / "b.sqlite", manifest(tmp_path, f"verify,{picture(tmp_path, 'a.png')},,s,,")
    async with Sandbox(verify_rate=0) as box:
        assert (await ekb("backlog", "add", db, rows)).status == 0
        ran = await ekb("backlog", "run", db, "--lang", language, box=box)
    assert ran.status == 0
    last = ran.messages.splitlines()[-3:]
    assert [line[: len(begin)] for line, begin in zip(last, lines, strict=True)] == lines
