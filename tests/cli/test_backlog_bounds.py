"""`ekb backlog run` with bounds: it says what it did not pay for, why it has ended, and how to go on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from ekb_async.cli.backlog.running.bounds import moment
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.command import ekb
from tests.support.ledger_rows import add_to_ledger, five_checks

FAST = ("--verify-rate", "1000")


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    """A backlog with five checks."""
    return await five_checks(tmp_path)


async def test_a_number_of_calls(db: Path) -> None:
    """A run that has sent all calls that it may says so, with the command that goes on; it has not failed."""
    async with Sandbox(verify_rate=0) as box:
        add_to_ledger(box, 0)
        options = (*FAST, "--ledger-first", "--max-calls", "2")
        first = await ekb("backlog", "run", db, *options, box=box)
        assert first.status == 0
        assert "2 pending, 3 done" in first.messages
        assert "1 call was answered by the ledger and not paid for" in first.messages
        assert "Stopped after 2 calls that may be billed (--max-calls)." in first.messages
        assert first.messages.splitlines()[-1] == f"Go on with: ekb backlog run {db} {' '.join(options)}"
        assert "--files" not in first.messages
        last = await ekb("backlog", "run", db, *options, box=box)
        assert "5 done" in last.messages
        assert "Stopped" not in last.messages
        assert box.count("verify_by_fields") == 4


async def test_no_calls_at_all(db: Path) -> None:
    """Without any billed call, the command that goes on allows them again."""
    async with Sandbox(verify_rate=0) as box:
        ran = await ekb("backlog", "run", db, *FAST, "--max-calls", "0", box=box)
        assert box.count("verify_by_fields") == 0
    assert ran.messages.splitlines()[-1] == f"Go on with: ekb backlog run {db} {' '.join(FAST)}"


async def test_a_time_that_has_passed(db: Path) -> None:
    """A date and time that has passed is refused with a sentence, in both languages, and nothing is sent."""
    async with Sandbox(verify_rate=0) as box:
        for lang, sentence in (
            ("en", "--until 2020-01-01 18:00 has passed, so nothing would be done"),
            ("zh", "--until 2020-01-01 18:00 已经过去，运行不会做任何事"),
        ):
            ran = await ekb("backlog", "run", db, *FAST, "--until", "2020-01-01T18:00", "--lang", lang, box=box)
            assert (ran.status, ran.messages) == (2, f"ekb: {sentence}\n")
        assert box.log == []


@pytest.mark.parametrize("options", [("--until", "tonight"), ("--until", "25:00"), ("--max-calls", "-1")])
async def test_wrong_bounds_are_refused(db: Path, options: tuple[str, str]) -> None:
    """A wrong bound is an error of usage, and nothing is sent."""
    async with Sandbox(verify_rate=0) as box:
        ran = await ekb("backlog", "run", db, *options, box=box)
        assert (ran.status, box.log) == (2, [])
    assert options[0] in ran.messages


def test_times_are_local_and_the_next_ones() -> None:
    """A time of today that has passed is that of tomorrow; a date, or a time zone, is taken as it is."""
    now = datetime(2026, 11, 28, 17, 30).astimezone()
    assert moment("18:00", now) == datetime(2026, 11, 28, 18).astimezone()
    assert moment("17:30", now) == datetime(2026, 11, 29, 17, 30).astimezone()
    assert moment("2026-12-01T09:00", now) == datetime(2026, 12, 1, 9).astimezone()
    assert moment("2026-12-01T09:00+08:00", now) == datetime.fromisoformat("2026-12-01T09:00+08:00")
    for wrong in ("2026-11-01T09:00", "18", "", "2026-11-28", "2026-11-28T", "six"):
        with pytest.raises(ConfigError, match="--until"):
            moment(wrong, now)
