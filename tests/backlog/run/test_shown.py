"""What a run shows of itself: calls on the wire, what others wait for, causes, and what was verified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

from ekb_async import EkbSession, MachinePace, SessionConfig
from ekb_async.backlog import Backlog, Progress, Summary, Verified
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest, picture, session
from tests.support.ledger_rows import add_to_ledger, fields_row
from tests.support.waiting import DEADLINE

URLS = [f"ocr,https://f.example/{number}.png,,,," for number in range(40)]


async def seen(
    backlog: Backlog, run: Callable[..., Coroutine[Any, Any, Summary]], holds: Callable[[Progress], bool]
) -> Progress:
    """Return the first progress of a run for which something holds, and break the run off."""
    found: asyncio.Future[Progress] = asyncio.get_running_loop().create_future()

    def look(now: Progress) -> None:
        if holds(now) and not found.done():
            found.set_result(now)

    task = asyncio.create_task(run(progress=look))
    try:
        async with asyncio.timeout(DEADLINE):
            return await found
    finally:
        backlog.break_off()
        await asyncio.wait([task])


def reasons(now: Progress) -> dict[str, int]:
    """Return how many calls or rows wait, by reason."""
    return {wait.reason: wait.calls or wait.rows for wait in now.waits}


async def test_on_the_wire_and_claimed_are_two_things(tmp_path: Path, place: Location) -> None:
    """`in_flight` counts what was sent and is not answered; the state `running` counts the rows that are claimed."""
    async with Sandbox(ocr_rate=0, latency=60) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *URLS))
        async with session(box, max_running=3) as ekb:
            now = await seen(
                backlog,
                lambda **more: backlog.run(ekb, **more),
                # The counts may have been read before the calls were claimed.
                lambda now: "answers" in reasons(now) and now.counts["running"] > 0,
            )
    assert (now.in_flight, now.kinds["ocr"].in_flight) == (3, 3)
    assert now.counts["running"] > 3
    assert reasons(now)["answers"] == now.counts["running"] - 3


async def test_look_ups_on_the_wire(tmp_path: Path) -> None:
    """Of look-ups, as many are on the wire as fit into the requests that may be under way."""
    slow = Fault.delay(60, calls="invoice_url")
    async with Sandbox(faults=[slow]) as box, Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,corp:1:{number},,," for number in range(50))))
        async with session(box, batch_size=10, batch_in_flight=2) as ekb:
            now = await seen(backlog, lambda **more: backlog.run(ekb, **more), lambda now: now.in_flight > 0)
    assert now.kinds["url"].in_flight == 20


async def test_calls_that_wait_for_their_file(tmp_path: Path) -> None:
    """While no file is uploaded, all calls that are queued wait for theirs."""
    slow = Fault.delay(60, calls="upload")
    async with Sandbox(ocr_rate=0, faults=[slow]) as box, Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, *(f"ocr,{picture(tmp_path, f'{n}.png')},,,," for n in range(5))))
        async with session(box) as ekb:
            now = await seen(
                backlog, lambda **more: backlog.run(ekb, **more), lambda now: reasons(now).get("file", 0) == 5
            )
    assert now.in_flight == 0


async def test_a_slow_pace_has_its_reason(tmp_path: Path) -> None:
    """Calls that the vendor refuses for their rate slow the pace down, and the progress says so."""
    async with Sandbox(ocr_rate=1) as box, Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, *URLS))
        async with session(box, ocr_rate=50, rate_guard=0.0, max_backoff=5) as ekb:
            now = await seen(backlog, lambda **more: backlog.run(ekb, **more), lambda now: "throttled" in reasons(now))
    assert now.kinds["ocr"].allowed == 50


async def test_a_margin_that_earlier_refusals_have_raised(tmp_path: Path) -> None:
    """A session on a shared pace that has seen no refusal itself does not blame other programs for its margin."""
    config = SessionConfig(ocr_rate=50, rate_guard=0.0, max_backoff=5)
    pacer = MachinePace(tmp_path / "pace")
    async with Sandbox(ocr_rate=1) as box, Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(manifest(tmp_path, *URLS))

        async def slowed_down() -> tuple[Progress, int]:
            async with EkbSession(box.credentials, base_url=box.base_url, config=config, pacer=pacer) as ekb:
                now = await seen(
                    backlog,
                    lambda **more: backlog.run(ekb, **more),
                    lambda now: not {"throttled", "pace"}.isdisjoint(reasons(now)),
                )
                return now, ekb.stats().ocr.throttled

        _, refused = await slowed_down()
        box.vendor.rules.ocr_rate = 0
        now, refused_again = await slowed_down()
    assert (refused > 0, refused_again, "pace" in reasons(now)) == (True, 0, False)


async def test_what_else_rows_wait_for(tmp_path: Path, place: Location) -> None:
    """Rows of a person that is refused, and downloads without a directory, are counted with their reason."""
    rows = [f"verify,https://f.example/{number}.png,,corp:wrong,," for number in range(10)]
    async with Sandbox(staff=set(), verify_rate=0) as box, session(box) as ekb, Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows, "download,,corp:1:2,,,"))
        progress: list[Progress] = []
        summary = await backlog.run(ekb, progress=progress.append)
    waits = {wait.reason: wait for wait in progress[-1].waits}
    assert waits["directory"].calls == 1
    assert (waits["refused_person"].text, waits["refused_person"].rows) == ("corp:wrong", 10 - summary.counts["failed"])
    assert [(cause.error_type, cause.rows) for cause in summary.causes] == [
        ("StaffNotFoundError", summary.counts["failed"])
    ]


async def test_what_was_verified(tmp_path: Path, place: Location) -> None:
    """The summary has the invoices of this run, those of the ledger too, each call once, with their amounts."""
    async with Sandbox(verify_rate=0) as box, session(box) as ekb, Backlog.open(place) as backlog:
        add_to_ledger(box, 0)
        (tmp_path / "checks").mkdir()
        header = "kind,invoice_id,code,number,date,amount,check_code,ref\n"
        await backlog.add_manifest(manifest(tmp_path / "checks", fields_row(0), fields_row(1), header=header))
        one, two = picture(tmp_path, "1.png"), picture(tmp_path, "2.png")
        await backlog.add_manifest(
            manifest(tmp_path, f"verify,{one},,s,,", f"verify,{one},,s,,again", f"verify,{two},,s,,")
        )
        summary = await backlog.run(ekb, ledger_first=True)
        totals = Decimal(0)
        async for task in backlog.results("done"):
            if not task.shared:
                invoices = task.result.get("invoices") or [{"form": task.result}]
                totals += sum(Decimal(each["form"]["total"]) for each in invoices)
        again = await backlog.run(ekb)
    assert summary.saved == 1
    assert summary.verified.invoices == 4
    assert summary.verified.usable <= 4
    # Checks name no currency, since their invoices are in yuan.
    assert summary.verified.amounts == {"CNY": totals}
    assert totals > 0
    assert again.verified == Verified()
