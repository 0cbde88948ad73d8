"""Outages: they pause a run, and rows do not fail because of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ekb_async.backlog import Backlog, BacklogTiming, Progress
from ekb_async.errors import EkbConnectionError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest, session
from tests.support.waiting import until
from tests.support.watched_log import WatchedLog


def rows(count: int) -> list[str]:
    return [f"ocr,https://f.example/{number}.png,,,," for number in range(count)]


@pytest.mark.slow
async def test_rows_wait_for_the_end_of_an_outage(tmp_path: Path, place: Location) -> None:
    """While the vendor cannot be reached the run pauses and reports why; then it goes on, and no row has failed."""
    trouble = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.trouble:
            trouble.set()

    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(Sandbox(ocr_rate=0, latency=0.02))
        ekb = await stack.enter_async_context(session(box, max_tries=1, max_running=2, close_timeout=1))
        backlog = await stack.enter_async_context(Backlog.open(place))
        await backlog.add_manifest(manifest(tmp_path, *rows(300)))
        box.log = log = WatchedLog()
        run = asyncio.create_task(backlog.run(ekb, progress=watch))
        await log.arrival("ocr", 5).wait()
        port = urlsplit(box.base_url).port
        await box.__aexit__(None, None, None)
        await trouble.wait()
        assert (await backlog.counts())["failed"] <= 2
        async with Sandbox(ocr_rate=0, port=port or 0):
            summary = await run
        assert summary.counts["done"] + summary.counts["failed"] == 300
        assert summary.counts["failed"] <= 2


async def test_a_vendor_that_was_never_reached_is_a_wrong_address(tmp_path: Path, place: Location) -> None:
    """A run that never reaches the vendor ends at once with the error, and every row stays pending."""
    async with Sandbox() as box:
        ekb = session(box, max_tries=1)
    async with ekb, Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows(3)))
        with pytest.raises(EkbConnectionError):
            await backlog.run(ekb)
        assert await backlog.counts() == {"pending": 3, "running": 0, "done": 0, "failed": 0}


async def test_servers_that_fail_again_and_again_are_an_outage(tmp_path: Path, place: Location) -> None:
    """A single server error fails its row; several in a row are an outage, and the run waits for answers."""
    fault = Fault.answer(503, calls="ocr", times=6)
    async with (
        Sandbox(ocr_rate=0, faults=[fault]) as box,
        session(box, max_tries=1, max_running=1) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, "url,,corp:1:2,,,", *rows(40)))
        summary = await backlog.run(ekb)
    assert summary.counts == {"pending": 0, "running": 0, "done": 41, "failed": 0}


@pytest.mark.slow
async def test_unanswered_calls_are_not_paid_for_one_by_one(tmp_path: Path, place: Location) -> None:
    """When several answers in a row are lost, the run probes with single calls instead of paying for every row."""
    trouble = asyncio.Event()
    async with (
        Sandbox(ocr_rate=0, faults=[Fault.lost_answer(calls="ocr")]) as box,
        session(box, max_tries=2, max_running=2) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(300)))
        run = asyncio.create_task(backlog.run(ekb, progress=lambda now: trouble.set() if now.trouble else None))
        await trouble.wait()
        box.faults.clear()
        summary = await run
        assert summary.counts["failed"] <= 10
        assert summary.counts["done"] == 300 - summary.counts["failed"]
        in_vain = box.vendor.billed["ocr"].total() - summary.counts["done"]
        assert in_vain == await backlog.maybe_billed() <= 30


async def test_rows_that_no_server_can_take_fail_for_themselves(
    tmp_path: Path, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that always cause a server error do not block the rows after them, and fail in the end."""
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box, max_tries=1, max_running=1) as ekb,
        Backlog.open(place) as backlog,
    ):
        reply = box.vendor.reply

        def answer(request: VendorRequest, at: float) -> VendorReply:
            if b"poison" in request.body:
                return VendorReply(500, b"{}", {})
            return reply(request, at)

        monkeypatch.setattr(box.vendor, "reply", answer)
        poison = [f"ocr,https://f.example/poison{number}.png,,,," for number in range(20)]
        await backlog.add_manifest(manifest(tmp_path, *poison, *rows(30)))
        summary = await backlog.run(ekb)
        assert summary.counts == {"pending": 0, "running": 0, "done": 30, "failed": 20}
        assert summary.failures == {"ServerError": 20}
        # An empty object may come from a gateway although the vendor processed the call.
        assert await backlog.maybe_billed() == 20


async def test_an_outage_of_one_kind_stops_that_kind_only(tmp_path: Path, place: Location) -> None:
    """While OCR is down, verification goes on and all OCR rows wait."""
    verified = asyncio.Event()
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, faults=[Fault.answer(503, calls="ocr")]) as box,
        session(box, max_tries=1, max_running=2) as ekb,
        Backlog.open(place) as backlog,
    ):
        others = [f"verify,https://f.example/{number}.png,,corp:staff,," for number in range(50)]
        await backlog.add_manifest(manifest(tmp_path, *rows(50), *others))

        def watch(now: Progress) -> None:
            if now.kinds["verify"].left == 0 and now.trouble:
                verified.set()

        run = asyncio.create_task(backlog.run(ekb, progress=watch))
        await verified.wait()
        assert (await backlog.counts())["failed"] == 0
        box.faults.clear()
        assert (await run).counts["done"] == 100


async def test_files_that_show_no_invoice_are_no_outage(tmp_path: Path, place: Location) -> None:
    """Files that the OCR provider refuses fail their rows, however many; there are no tries beyond the session's."""
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(b"no image %d" % number)
    troubles: set[str] = set()
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box, max_tries=1) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,{number}.png,,,," for number in range(12))))
        summary = await backlog.run(ekb, progress=lambda now: troubles.add(now.trouble))
        assert summary.failures == {"ProviderError": 12}
        assert box.count("ocr") == 12
    assert troubles == {""}


async def test_tries_of_the_session_count(tmp_path: Path, place: Location, caplog: pytest.LogCaptureFixture) -> None:
    """Three failed tries in a row are an outage, and a probe is one try, although the session would make five."""
    timing = BacklogTiming(first_pause=0.05, longest_pause=3600.0, report=0.02, other_runs=0.1)
    async with (
        Sandbox(ocr_rate=0, faults=[Fault.answer(500, "内部错误", calls="ocr")]) as box,
        session(box, max_tries=5, max_running=1, close_timeout=0) as ekb,
        Backlog.open(place, timing=timing) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(40)))
        run = asyncio.create_task(backlog.run(ekb))

        async def has_paused() -> bool:
            return sum(" pause for " in line for line in caplog.messages) == 4

        await until(has_paused)
        assert box.count("ocr") == 3 + 3
        box.faults.clear()
        assert (await run).counts == {"pending": 0, "running": 0, "done": 40, "failed": 0}


async def test_lost_answers_are_paid_for_once_per_pause(
    tmp_path: Path, place: Location, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls whose answers are lost are repeated after the outage, and in it paid for by single tries."""
    timing = BacklogTiming(first_pause=0.05, longest_pause=3600.0, report=0.02, other_runs=0.1)
    async with (
        Sandbox(ocr_rate=0, faults=[Fault.lost_answer(calls="ocr")]) as box,
        session(box, max_tries=5, max_running=1, close_timeout=0) as ekb,
        Backlog.open(place, timing=timing) as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows(40)))
        run = asyncio.create_task(backlog.run(ekb))

        async def has_paused() -> bool:
            return sum(" pause for " in line for line in caplog.messages) == 3

        await until(has_paused)
        assert box.vendor.billed["ocr"].total() == 3 + 2
        box.faults.clear()
        assert (await run).counts == {"pending": 0, "running": 0, "done": 40, "failed": 0}
        assert box.vendor.billed["ocr"].total() == 40 + 5
        assert await backlog.maybe_billed() == 5


async def test_a_row_that_no_server_can_take_is_not_tried_for_ever(
    tmp_path: Path, place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that causes outages fails after some tries, although each outage is ended by a row that is added then."""
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box, max_running=1) as ekb,
        Backlog.open(place) as backlog,
        Backlog.open(place) as other,
    ):
        reply = box.vendor.reply
        tries = 0

        def answer(request: VendorRequest, at: float) -> VendorReply:
            nonlocal tries
            if b"poison" in request.body:
                tries += 1
                return VendorReply(500, b'{"errorCode":500,"errorMessage":"no"}', {})
            return reply(request, at)

        monkeypatch.setattr(box.vendor, "reply", answer)
        poison, *others = rows(20)
        await backlog.add_manifest(manifest(tmp_path, poison.replace("0.png", "poison.png")))
        run = asyncio.create_task(backlog.run(ekb))
        for row in others:
            before = tries

            async def is_tried(before: int = before) -> bool:
                return tries > before or run.done()

            await until(is_tried)
            await other.add_manifest(manifest(tmp_path, row))
            if run.done():
                break
        assert (await run).counts["failed"] == 1
    assert tries <= 24  # some more than usual where rows are added late
