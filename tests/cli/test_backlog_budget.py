"""`ekb backlog budget`, and what `status`, `run` and `watch` say of budgets and of the age of calls."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Sandbox
from tests.support.command import Finished, ekb
from tests.support.ledger_rows import five_checks

FAST = ("--verify-rate", "1000")


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    """A backlog with five checks."""
    return await five_checks(tmp_path)


def next_day() -> datetime:
    return datetime.now(CHINA).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def next_month() -> datetime:
    return (next_day().replace(day=1) + timedelta(days=31)).replace(day=1)


def text(finished: Finished) -> str:
    return finished.output.decode()


async def test_limits_are_shown_and_changed(db: Path) -> None:
    """Limits that are given are set, others stay, and `--remove` removes those that are not given."""
    assert text(await ekb("backlog", "budget", db)).splitlines() == [
        f"Nothing limits the billed calls. Limit them with: ekb backlog budget {db} --per-day N",
        "0 billed calls were sent in the last 31 days",
    ]
    await ekb("backlog", "budget", db, "--per-day", "3", "--per-month", "9")
    shown = await ekb("backlog", "budget", db, "--tenant", "a", "--per-day", "2")
    day, month = f"{next_day():%Y-%m-%d} 00:00 (UTC+8)", f"{next_month():%Y-%m-%d} 00:00 (UTC+8)"
    assert text(shown).splitlines()[:3] == [
        f"0 of 3 billed calls today, until {day}: all tenants together",
        f"0 of 9 billed calls this month, until {month}: all tenants together",
        f"0 of 2 billed calls today, until {day}: a",
    ]
    shown = await ekb("backlog", "budget", db, "--per-month", "8", "--remove")
    assert [line.split(",")[0] for line in text(shown).splitlines()[:2]] == [
        "0 of 8 billed calls this month",
        "0 of 2 billed calls today",
    ]


async def test_what_waits_is_said(db: Path) -> None:
    """A run whose budget is spent ends well and says when the rest goes on; so do `status`, `watch` and JSON."""
    await ekb("backlog", "budget", db, "--per-day", "2")
    midnight = f"{next_day():%Y-%m-%d} 00:00"
    async with Sandbox(verify_rate=0) as box:
        ran = await ekb("backlog", "run", db, *FAST, box=box)
        assert box.count("verify_by_fields") == 2
    assert ran.status == 0
    waiting = f"3 rows waiting until {midnight} (UTC+8): a budget of billed calls is spent"
    assert waiting in ran.messages
    assert "--files" not in ran.messages
    status = text(await ekb("backlog", "status", db))
    assert waiting in status
    assert f"2 of 2 billed calls today, until {midnight} (UTC+8): all tenants together" in status
    watched = await ekb("backlog", "watch", db, "--once")
    assert f"3 rows wait until {midnight} (UTC+8): a budget of billed calls is spent" in watched.messages
    found = msgspec.json.decode((await ekb("backlog", "status", db, "--json")).output)
    anew = next_day().isoformat()
    assert found["over_budget"] == {"rows": 3, "first": anew, "last": anew}
    assert found["budgets"] == [{"tenant": None, "period": "day", "calls": 2, "spent": 2, "begins_anew": anew}]
    found = msgspec.json.decode((await ekb("backlog", "budget", db, "--json")).output)
    assert found["spent"] == {datetime.now(CHINA).date().isoformat(): 2}


async def test_the_oldest_pending_call(db: Path, tmp_path: Path) -> None:
    """The status says since when the oldest pending call waits, in all and by tenant."""
    before = datetime.now(CHINA) - timedelta(seconds=60)
    status = await ekb("backlog", "status", db)
    assert "Oldest pending call: added " in text(status)
    found = msgspec.json.decode((await ekb("backlog", "status", db, "--json")).output)
    assert before < datetime.fromisoformat(found["oldest"]) <= datetime.now(CHINA)
    assert [each["oldest"] for each in found["tenants"]] == [found["oldest"]]
    async with Sandbox(verify_rate=0) as box:
        await ekb("backlog", "run", db, *FAST, box=box)
    found = msgspec.json.decode((await ekb("backlog", "status", db, "--json")).output)
    assert (found["oldest"], found["tenants"][0]["oldest"]) == (None, None)
