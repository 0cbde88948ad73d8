"""`ekb backlog pause`, `resume`, `cancel`, and what is shown of tenants whose calls are not made."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from ekb_async.backlog import Backlog, Row
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location as Place
from tests.support.command import ekb, start
from tests.support.postgres import Postgres
from tests.support.tenant_files import WRONG, account, write_accounts
from tests.support.waiting import until

FAST = ("--ocr-rate", "1000", "--verify-rate", "1000")
TIMING = {"EKB_TIMING": '{"say": 0.05, "report": 0.02, "other_runs": 0.1, "dead_after": 0.5, "heartbeat": 0.1}'}


def checks(tenant: str, *names: object) -> list[Row]:
    return [Row(kind="verify_by_id", invoice_id=f"corp:1:{name}", tenant=tenant, ref="x") for name in names]


async def status_lines(db: str) -> list[str]:
    return (await ekb("backlog", "status", db)).output.decode().splitlines()


async def test_pause_resume_and_cancel(place: Place) -> None:
    """Each says how many rows it took; status says since when, why, and how to go on."""
    db = str(place)
    async with Backlog.open(place) as backlog:
        await backlog.add([*checks("a", 1, 2), *checks("b", 3)])
    paused = await ekb("backlog", "pause", db, "--tenant", "a", "--reason", "bad keys")
    assert (paused.status, paused.messages) == (0, "2 rows are held\n")
    lines = await status_lines(db)
    assert f"           2 rows held until they are resumed with: ekb backlog resume {Location(db)}" in lines
    assert any(line.startswith("Paused since ") and line.endswith("tenant a: bad keys") for line in lines)
    assert [line.split() for line in lines[-3:]] == [
        ["pending", "running", "done", "failed", "unconfirmed", "held", "tenant"],
        ["2", "0", "0", "0", "0", "2", "a"],
        ["1", "0", "0", "0", "0", "0", "b"],
    ]
    found = msgspec.json.decode((await ekb("backlog", "status", db, "--json")).output)
    assert [(each["tenant"], each["held"]) for each in found["tenant_states"]] == [("a", 2)]
    assert [(each["tenant"], each["kind"], each["reason"]) for each in found["pauses"]] == [("a", None, "bad keys")]
    assert "           2 rows held" in (await ekb("backlog", "estimate", db)).output.decode()
    resumed = await ekb("backlog", "resume", db, "--kind", "verify_by_id")
    assert resumed.messages.startswith("0 rows can be made again\n  2 rows are still held by other pauses\n  Paused ")
    assert (await ekb("backlog", "resume", db, "--all")).messages == "2 rows can be made again\n"
    for command in ("pause", "resume"):
        assert "--tenant, --kind or --ref, or --all" in (await ekb("backlog", command, db)).messages
    assert (await ekb("backlog", "cancel", db)).messages == "ekb: say which calls, with --tenant, --kind or --ref\n"
    refused = await ekb("backlog", "cancel", db, "--tenant", "a")
    assert (refused.status, "2 rows to cancel" in refused.messages, "--yes" in refused.messages) == (2, True, True)
    cancelled = await ekb("backlog", "cancel", db, "--tenant", "a", "--yes", "--reason", "has left")
    assert (cancelled.status, cancelled.messages) == (0, "2 rows cancelled\n")
    assert any("has left" in line for line in await status_lines(db))
    assert "2 rows left, because they were cancelled" in (await ekb("backlog", "retry", db)).messages
    again = await ekb("backlog", "retry", db, "--cancelled", "--ref", "x", "--kind", "verify_by_id", "--yes")
    assert again.messages.endswith("2 rows are pending again\n")
    for command in ("pause", "resume", "cancel"):
        assert (await ekb("backlog", command, db, "--yes" if command == "cancel" else "--ref=")).status == 2


async def next_line(process: asyncio.subprocess.Process) -> str:
    """Return the next message of a command, without its progress and the remarks of asyncio's debug mode."""
    assert process.stderr is not None
    while (line := (await process.stderr.readline()).decode()).startswith(("Executing <", "backlog: ")):
        pass
    return line


@pytest.mark.process
async def test_a_run_says_which_tenants_it_has_given_up(tmp_path: Path, place: Place) -> None:
    """It says so while it runs, and other programs show it; the list of many tenants stays short."""
    db, wrong = str(place), [f"wrong{number}" for number in range(LIMITS.shown_tenants + 2)]
    async with Backlog.open(place) as backlog:
        await backlog.add([each for tenant in ("right", *wrong) for each in checks(tenant, 1)])
    async with Sandbox(latency=60) as slow, Sandbox() as box:
        accounts = {tenant: account(box, app_security=WRONG) for tenant in wrong}
        file = write_accounts(tmp_path, right=account(slow), **accounts)
        run = await start("backlog", "run", db, "--tenants", file, box=None, **TIMING)
        said = [await next_line(run) for _ in wrong]
        assert sorted(line.split()[1] for line in said) == sorted(wrong)
        assert all("is given up since" in line and "(UTC+8): " in line for line in said)
        async with Backlog.open(place) as backlog:

            async def are_shown() -> bool:
                return len(await backlog.tenant_states()) == len(wrong)

            await until(are_shown)
        lines = await status_lines(db)
        assert sum("is given up since" in line for line in lines) == LIMITS.shown_tenants
        assert "and 2 more like that" in lines
        watched = await ekb("backlog", "watch", db, "--once")
        assert f"{len(wrong)} tenants given up" in watched.messages
        run.kill()
        await run.communicate()


@pytest.mark.process
@pytest.mark.postgres
async def test_a_run_says_that_its_database_is_away(own_postgres: Postgres) -> None:
    """The line comes at once, not with the next line of progress, and another one when the database is back."""
    dsn = own_postgres.dsn_of("postgres")
    async with Backlog.open(dsn) as backlog:
        await backlog.add([Row(kind="ocr", file=f"https://f.example/{number}") for number in range(3)])
    async with Sandbox(ocr_rate=0) as box:
        run = await start("backlog", "run", dsn, "--ocr-rate", "0.5", box=box, **TIMING)
        await until(lambda: _has_sent(box, 1))
        await own_postgres.crash()
        async with asyncio.timeout(30):
            away = await next_line(run)
        assert away.startswith("The backlog cannot be read or written, and nothing is sent until it can be: ")
        assert box.count("ocr") < 3
        await own_postgres.start()
        back = await next_line(run)
        assert back.startswith("The backlog can be read and written again, after ")
        await run.communicate()
        assert run.returncode == 0
    assert box.vendor.billed["ocr"].total() == 3


async def _has_sent(box: Sandbox, calls: int) -> bool:
    return box.count("ocr") >= calls
