"""`ekb backlog follow`: calls as they end; and the options that select rows by tenant, reference and time."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ekb_async import ConfigError
from ekb_async.backlog import Backlog, Row
from ekb_async.cli.backlog.moments import past_moment
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import session
from tests.support.command import ekb, start
from tests.support.waiting import DEADLINE

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


async def run(backlog: Backlog, box: Sandbox) -> None:
    await backlog.run(lambda _: session(box))


@pytest.mark.process
async def test_calls_are_written_as_they_end(place: Location, quick_box: Sandbox) -> None:
    """Each call that has ended is a line of JSON; its cursor is where the next command goes on."""
    async with Backlog.open(place) as backlog:
        await backlog.add([Row(kind="url", invoice_id="corp:1:1", ref="a", tenant="t")])
        await run(backlog, quick_box)
        following = await start("backlog", "follow", str(place), "--since", "1h", box=None)
        assert following.stdout is not None
        async with asyncio.timeout(DEADLINE):
            first = json.loads(await following.stdout.readline())
            await backlog.add([Row(kind="url", invoice_id="unknown", ref="b", tenant="t")])
            await run(backlog, quick_box)
            second = json.loads(await following.stdout.readline())
        assert (first["refs"], first["state"], first["tenant"]) == (["a"], "done", "t")
        assert first["result"]["id"] == "corp:1:1"
        assert (second["refs"], second["state"], second["error_type"]) == (["b"], "failed", "InvoiceNotFoundError")
        following.send_signal(signal.SIGINT)
        assert await following.wait() == 130
        again = await start("backlog", "follow", str(place), "--after", first["cursor"], "--tenant", "t", box=None)
        assert again.stdout is not None
        async with asyncio.timeout(DEADLINE):
            assert json.loads(await again.stdout.readline()) == second
        again.send_signal(signal.SIGTERM)
        assert await again.wait() == 130


async def test_rows_are_listed_and_exported_by_tenant_reference_and_time(
    tmp_path: Path, place: Location, quick_box: Sandbox
) -> None:
    """`list` and `export` take --tenant, --ref and --since, also together."""
    async with Backlog.open(place) as backlog:
        await backlog.add(
            [Row(kind="url", invoice_id=f"corp:1:{n}", ref=f"r{n}", tenant="ab"[n % 2]) for n in range(4)]
        )
        await run(backlog, quick_box)
        await backlog.add([Row(kind="url", invoice_id="corp:1:9", ref="r9", tenant="a")])
    for options, refs in (
        (("--tenant", "a"), ["r0", "r2", "r9"]),
        (("--tenant", "b", "--ref", "r1"), ["r1"]),
        (("--since", "2h"), ["r0", "r1", "r2", "r3"]),
        (("--since", "2h", "--tenant", "a"), ["r0", "r2"]),
        (("--since", (datetime.now() + timedelta(days=1)).date().isoformat()), []),
    ):
        listed = json.loads((await ekb("backlog", "list", str(place), "--json", *options)).output)
        assert [row["ref"] for row in listed["rows"]] == refs, options
        assert listed["total"] == len(refs)
        target = tmp_path / "some.jsonl"
        assert (await ekb("backlog", "export", str(place), str(target), *options)).status == 0
        assert [json.loads(line)["ref"] for line in target.read_text().splitlines()] == refs
    refused = await ekb("backlog", "list", str(place), "--since", "soon")
    assert (refused.status, "--since takes a time such as 30m" in refused.messages) == (2, True)


def test_times_ago_and_dates() -> None:
    """A time is so long ago, or a date or time, local if it names no zone."""
    assert past_moment("--since", "90s", NOW) == NOW - timedelta(seconds=90)
    assert past_moment("--since", "30m", NOW) == NOW - timedelta(minutes=30)
    assert past_moment("--since", " 2D ", NOW) == NOW - timedelta(days=2)
    assert past_moment("--since", "1w", NOW) == NOW - timedelta(days=7)
    assert past_moment("--since", "2026-11-28T10:00+08:00", NOW) == NOW - timedelta(hours=10)
    assert past_moment("--since", "2026-11-28", NOW) == datetime(2026, 11, 28).astimezone()
    for wrong in ("", "d", "2y", "-1d", "2026-13-01", "999999w", "yesterday"):
        with pytest.raises(ConfigError, match="--since takes a time such as 30m"):
            past_moment("--since", wrong, NOW)
