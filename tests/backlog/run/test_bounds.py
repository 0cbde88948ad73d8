"""Bounds of a run: the number of billed calls that it sends, and the moment at which it ends."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog, BacklogTiming, Progress
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Fault, Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import HEADER, all_tasks, checks, manifest, session
from tests.support.ledger_rows import add_to_ledger, fields_row
from tests.support.waiting import until

KINDS = ("ocr", "verify", "verify_by_id", "verify_by_fields")
LOOK_UPS = ("url,,corp:1:2,,,", "detail,,corp:1:3,,,")


class Clock:
    """A clock that a test sets ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def rows(count: int, kind: str = "verify") -> list[str]:
    return [f"{kind},https://f.example/{number}.png,,corp:staff,,{number}" for number in range(count)]


def sent(box: Sandbox) -> int:
    """Return how many requests for billed calls have arrived."""
    return sum(box.count(kind) for kind in KINDS)


async def in_progress(box: Sandbox, count: int = 1) -> bool:
    return sent(box) >= count


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


# The number of calls


@pytest.mark.parametrize("most", [0, 1, 7, 40])
async def test_at_most_so_many_calls_are_sent(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, most: int
) -> None:
    """Exactly as many billed calls as allowed are sent; free calls are all made, and the next run goes on."""
    async with Backlog.open(place) as backlog:
        wanted = [*rows(20), *rows(20, "ocr"), *LOOK_UPS]
        await backlog.add_manifest(manifest(tmp_path, *wanted))
        summary = await backlog.run(ekb, max_calls=most)
        assert sent(quick_box) == most
        assert summary.counts == {"pending": 40 - most, "running": 0, "done": most + 2, "failed": 0}
        assert summary.stopped == ("max_calls" if most < 40 else "")
        assert (await backlog.run(ekb)).counts["done"] == 42
        assert sent(quick_box) == 40


async def test_tenants_share_the_bound(tmp_path: Path, place: Location) -> None:
    """The bound is one for all tenants of a run."""
    async with Sandbox(verify_rate=0) as one, Sandbox(verify_rate=0) as other:
        boxes = {"a": one, "b": other}
        wanted = [f"{row},{tenant}" for tenant in boxes for row in rows(30)]
        async with Backlog.open(place) as backlog:
            await backlog.add_manifest(manifest(tmp_path, *wanted, header=HEADER.replace("ref", "ref,tenant")))
            summary = await backlog.run(lambda tenant: session(boxes[tenant]), max_calls=13)
        assert (sent(one) + sent(other), summary.counts["done"], summary.stopped) == (13, 13, "max_calls")


@pytest.mark.parametrize("seed", range(4))
async def test_repeated_calls_count(tmp_path: Path, place: Location, seed: int) -> None:
    """Each attempt that may be billed counts, also with many in flight; those refused for the rate do not."""
    chance = random.Random(seed)
    faults = [
        Fault.lost_answer(calls="verify", rate=0.2),
        Fault.answer(400, "第三方出现问题请稍后再试", calls="verify", rate=0.2, carried_out=True),
        Fault.answer(429, "请求过于频繁", calls="verify", rate=0.3),
    ]
    most = chance.randrange(20, 60)
    async with (
        Sandbox(verify_rate=0, faults=faults, seed=seed) as box,
        session(box, max_running=32) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(200)))
        summary = await backlog.run(ekb, max_calls=most)
        over_rate = ekb.stats().verify.throttled
        attempts = sum(task.attempts for task in await all_tasks(backlog))
        assert summary.stopped == "max_calls"
        assert sent(box) - over_rate == most
        assert attempts == most
        assert (await backlog.accounting()).calls == most
        assert summary.counts["running"] == 0


async def test_calls_that_are_not_sent_leave_their_place(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """Rows whose file is missing, or whose person does not exist, use up nothing."""
    (tmp_path / "gone.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    async with Backlog.open(place) as backlog:
        # All of one kind: kinds are made at the same time, and the rows of one could take all places first.
        wanted = ["verify,gone.png,,corp:staff,,gone"]
        wanted += [f"verify,https://f.example/x{number}.png,,code:{number},,x" for number in range(5)]
        await backlog.add_manifest(manifest(tmp_path, *wanted, *rows(5)))
        (tmp_path / "gone.png").unlink()
        summary = await backlog.run(ekb, max_calls=3)
    assert (summary.counts["done"], summary.counts["failed"], summary.stopped) == (3, 6, "max_calls")


async def test_the_ledger_is_asked_for_all_calls(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """What the ledger answers uses up nothing, and it is still asked when nothing more may be sent."""
    add_to_ledger(quick_box, *range(0, 300, 2))
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(checks(tmp_path, *map(fields_row, range(300))))
        summary = await backlog.run(ekb, max_calls=0, ledger_first=True)
        assert (summary.counts["done"], summary.saved, summary.stopped) == (150, 150, "max_calls")
        assert summary.counts["pending"] == 150
        summary = await backlog.run(ekb, max_calls=10, ledger_first=True)
        assert (summary.counts["done"], summary.saved, summary.stopped) == (160, 0, "max_calls")
    assert sent(quick_box) == 10


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "7"])
async def test_a_wrong_number_is_refused(tmp_path: Path, ekb: EkbSession, wrong: Any) -> None:
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="max_calls"):
            await backlog.run(ekb, max_calls=wrong)


# The end


async def test_a_run_ends_at_a_time_and_records_what_is_in_flight(tmp_path: Path, place: Location) -> None:
    """Calls in flight end and are recorded, nothing more is sent, and the rest is pending."""
    clock = Clock()
    async with (
        Sandbox(ocr_rate=0, faults=[Fault.delay(0.2, calls="ocr")]) as box,
        session(box, max_running=4, close_timeout=0.01) as ekb,
        Backlog.open(place, clock=clock) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(50, "ocr")))
        run = asyncio.create_task(backlog.run(ekb, until=in_seconds(3600)))
        await until(partial(in_progress, box, 4))
        clock.ahead = 7200.0
        summary = await run
        assert (summary.stopped, summary.counts["running"], summary.counts["failed"]) == ("until", 0, 0)
        assert summary.counts["done"] == sent(box) == 4
        assert {task.maybe_billed for task in await all_tasks(backlog)} == {0}


async def test_calls_that_wait_for_a_slot_are_taken_back(tmp_path: Path, place: Location) -> None:
    """A call that has a slot in the future is not sent after the end."""
    async with (
        Sandbox(verify_rate=0) as box,
        session(box, verify_rate=0.1) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(5)))
        end = in_seconds(0.5)
        summary = await backlog.run(ekb, until=end)
        assert datetime.now(UTC) < end + timedelta(seconds=8)
        assert (summary.stopped, summary.counts["done"]) == ("until", sent(box))
        assert sent(box) <= 1


async def test_a_time_in_the_past_pays_nothing(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """The run returns at once, and makes no free calls either."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(5), *LOOK_UPS))
        summary = await backlog.run(ekb, until=datetime(2020, 1, 1, tzinfo=UTC), ledger_first=True)
        assert (summary.stopped, summary.counts["pending"]) == ("until", 7)
    assert quick_box.log == []


async def test_the_clock_of_the_backlog_decides(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A clock that jumps ahead ends the run before the next call is sent."""
    clock = Clock()

    def jump(now: Progress) -> None:
        if now.done >= 3:
            clock.ahead = 7200.0

    async with Backlog.open(place, clock=clock) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(2000)))
        summary = await backlog.run(ekb, jump, until=in_seconds(3600))
        assert summary.stopped == "until"
        assert 3 <= summary.counts["done"] == sent(quick_box) < 2000


async def test_an_outage_is_left_at_the_end(tmp_path: Path, place: Location) -> None:
    """A run that waits for the end of an outage ends at its time."""
    timing = BacklogTiming(first_pause=3600.0, longest_pause=3600.0, report=0.02, other_runs=0.1)
    faults = [Fault.answer(500, "系统异常", calls=["verify", "ledger"])]
    async with (
        Sandbox(verify_rate=0, faults=faults) as box,
        session(box, max_tries=1) as ekb,
        Backlog.open(place, timing=timing) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(30)))
        summary = await backlog.run(ekb, until=in_seconds(0.5))
        assert (summary.stopped, summary.counts["pending"]) == ("until", 30)


async def test_a_run_that_waits_for_another_ends(tmp_path: Path, place: Location) -> None:
    """A run that waits for the calls of another run ends at its time, and so does one that may send no more."""
    faults = [Fault.delay(30, calls="verify")]
    async with (
        Sandbox(verify_rate=0, faults=faults) as box,
        session(box, close_timeout=0.1) as ekb,
        session(box) as another,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(1)))
        other = asyncio.create_task(backlog.run(ekb))
        await until(partial(in_progress, box))
        assert (await backlog.run(another, until=in_seconds(0.2))).stopped == "until"
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other


async def test_a_time_without_a_zone_is_refused(tmp_path: Path, ekb: EkbSession) -> None:
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        for wrong in (datetime(2030, 1, 1), "18:00"):
            with pytest.raises(ConfigError, match="until"):
                await backlog.run(ekb, until=wrong)  # type: ignore[arg-type]
