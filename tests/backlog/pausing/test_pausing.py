"""Pausing, resuming and cancelling calls while nothing works on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ekb_async.backlog import Backlog, CancelReport, PauseReport, ResumeReport, Row
from ekb_async.errors import CallCancelledError, ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, session
from tests.support.fast_times import FAST_BACKLOG

CANCELLED = CallCancelledError.__name__


def checks(*names: str, tenant: str = "", ref: str = "") -> list[Row]:
    return [Row(kind="verify_by_id", invoice_id=f"corp:1:{name}", tenant=tenant, ref=ref) for name in names]


def urls(*names: str, tenant: str = "", ref: str = "") -> list[Row]:
    return [Row(kind="url", invoice_id=f"corp:1:{name}", tenant=tenant, ref=ref) for name in names]


async def held_rows(backlog: Backlog) -> list[str]:
    """Return the IDs of the rows that are held."""
    return [task.invoice_id.removeprefix("corp:1:") for task in await all_tasks(backlog) if task.held]


async def run(backlog: Backlog, box: Sandbox) -> dict[str, int]:
    return (await backlog.run(lambda _: session(box))).counts


async def test_a_paused_tenant_is_left_until_it_is_resumed(place: Location) -> None:
    """A run makes the calls of other tenants, also calls of it that were added later are held; the rest comes later."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box, Backlog.open(place, timing=FAST_BACKLOG) as backlog:
        await backlog.add([*checks("1", "2", tenant="a"), *checks("3", tenant="b"), *urls("4", tenant="a")])
        assert await backlog.pause(tenant="a", reason="wrong keys") == PauseReport(rows=3, calls=3)
        await backlog.add(checks("5", tenant="a"))
        assert await held_rows(backlog) == ["1", "2", "4", "5"]
        summary = await backlog.run(lambda _: session(box))
        assert (summary.counts["done"], summary.counts["pending"], summary.held) == (1, 4, 4)
        (pause,) = await backlog.pauses()
        assert (pause.tenant, pause.kind, pause.ref, pause.reason) == ("a", None, None, "wrong keys")
        (state,) = await backlog.tenant_states()
        assert (state.tenant, state.held, state.pauses) == ("a", 4, (pause,))
        assert [each.held for each in await backlog.tenants()] == [4, 0]
        found = await backlog.estimate()
        assert (found.billed, found.free, found.held, found.waiting, found.seconds) == (0, {}, 4, 0, 0.0)
        assert (await backlog.waiting()).rows == 0
        assert await backlog.retry(waiting=True) == 0
        assert await held_rows(backlog) == ["1", "2", "4", "5"]
        assert await backlog.resume(tenant="a") == ResumeReport(rows=4, calls=4)
        assert await backlog.pauses() == []
        assert await backlog.tenant_states() == []
        assert (await run(backlog, box))["done"] == 5


async def test_a_kind_is_paused_for_one_tenant_or_for_all(place: Location) -> None:
    """Selections combine; resuming less than was paused says which pause still holds the rest."""
    async with Backlog.open(place) as backlog:
        for tenant in ("a", "b"):
            await backlog.add([*checks("1", tenant=tenant), *urls("2", tenant=tenant)])
        assert (await backlog.pause(tenant="a", kind="url")).rows == 1
        assert (await backlog.pause(kind="url", reason="slow")).rows == 1
        left = await backlog.resume(tenant="a")
        assert (left.rows, left.held, [each.reason for each in left.by]) == (0, 1, ["slow"])
        assert await held_rows(backlog) == ["2", "2"]
        assert (await backlog.resume(kind="url")).rows == 2
        assert (await backlog.pause(everything=True)).rows == 4
        assert (await backlog.resume(kind="url")).held == 2
        assert (await backlog.resume(everything=True)).rows == 4
        assert await held_rows(backlog) == []


async def test_pausing_again_changes_the_reason_only(place: Location) -> None:
    async with Backlog.open(place) as backlog:
        await backlog.add(checks("1", tenant="a"))
        await backlog.pause(tenant="a", reason="first")
        (before,) = await backlog.pauses()
        assert await backlog.pause(tenant="a") == PauseReport()
        assert await backlog.pauses() == [before]
        await backlog.pause(tenant="a", reason="second")
        (after,) = await backlog.pauses()
        assert (after.since, after.reason) == (before.since, "second")


async def test_a_ref_is_paused_and_cancelled_where_all_rows_have_it(place: Location) -> None:
    """A call that rows of another reference share is left; calls that are added later with the reference are not."""
    async with Backlog.open(place) as backlog:
        await backlog.add([*checks("1", "2", ref="x"), *checks("2", ref="y"), *checks("3", ref="y")])
        assert await backlog.pause(ref="x", reason="check first") == PauseReport(rows=1, calls=1, shared=1)
        await backlog.add(checks("4", ref="x"))
        assert await held_rows(backlog) == ["1"]
        assert (await backlog.pauses())[0].ref == "x"
        assert await backlog.resume(ref="x") == ResumeReport(rows=1, calls=1)
        expected = CancelReport(rows=2, calls=2, shared=1)
        assert await backlog.to_cancel(ref="x") == expected
        assert await backlog.cancel(ref="x") == expected
        failed = await all_tasks(backlog, "failed")
        assert [task.invoice_id[-1] for task in failed] == ["1", "4"]


async def test_a_held_call_that_gets_a_row_of_another_reference(place: Location) -> None:
    """When its reference is resumed, it can be made, like the others."""
    async with Backlog.open(place) as backlog:
        await backlog.add(urls("1", "2", ref="x"))
        await backlog.pause(ref="x")
        await backlog.add(urls("1", ref="y"))
        assert await backlog.resume(ref="x") == ResumeReport(rows=3, calls=2)
        assert await held_rows(backlog) == []


async def test_a_retried_call_of_a_paused_reference_is_held(place: Location) -> None:
    """So is one that a run gives back: the pause lasts until it is resumed."""
    async with Sandbox() as box, Backlog.open(place) as backlog:
        await backlog.add(urls("unknown", ref="x"))
        assert (await run(backlog, box))["failed"] == 1
        await backlog.pause(ref="x")
        assert await backlog.retry(ref="x", kind="url", tenant="") == 1
        assert await held_rows(backlog) == ["unknown"]


async def test_cancelled_calls_fail_and_stay_so(place: Location) -> None:
    """They cost nothing, say when and why, and a plain retry leaves them; what is held can be cancelled as well."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box, Backlog.open(place) as backlog:
        await backlog.add([*checks("1", "2", tenant="gone"), *checks("3", tenant="a")])
        await backlog.pause(tenant="gone")
        expected = CancelReport(rows=2, calls=2)
        assert await backlog.to_cancel(tenant="gone") == expected
        assert await backlog.cancel(tenant="gone", reason="has left") == expected
        one, two = await all_tasks(backlog, "failed")
        assert one.error_type == two.error_type == CANCELLED
        assert (one.attempts, one.maybe_billed, one.held) == (0, 0, False)
        assert one.error is not None
        assert ": has left" in one.error
        assert "(UTC+8)" in one.error
        assert one.ended_at is not None
        assert (await run(backlog, box))["failed"] == 2
        assert box.vendor.billed["verify_by_id"].total() == 1
        assert await backlog.retry() == await backlog.retry(cause=CANCELLED) == await backlog.retry(unknown=True) == 0
        assert (await backlog.to_retry()).cancelled == 2
        await backlog.resume(tenant="gone")
        assert await backlog.retry(cancelled=True, tenant="a") == 0
        assert (await backlog.to_retry(cancelled=True, tenant="gone")).rows == 2
        assert await backlog.retry(cancelled=True, tenant="gone") == 2
        assert (await run(backlog, box))["done"] == 3


async def test_retry_selects_by_tenant_kind_and_ref(place: Location) -> None:
    """They combine with one another and with what selects rows by their error."""
    async with Sandbox() as box, Backlog.open(place) as backlog:
        await backlog.add([*urls("unknown1", tenant="a", ref="x"), *urls("unknown2", tenant="b", ref="x")])
        assert (await run(backlog, box))["failed"] == 2
        assert (await backlog.to_retry(tenant="a", ref="y")).rows == 0
        assert (await backlog.to_retry(ref="x", cause="InvoiceNotFound")).rows == 2
        assert (await backlog.to_retry(kind="ocr")).rows == 0
        assert await backlog.retry(tenant="b", ref="x", kind="url") == 1
        assert [task.tenant for task in await all_tasks(backlog, "pending")] == ["b"]


async def test_something_must_be_selected(tmp_path: Path) -> None:
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        wrong: list[dict[str, Any]] = [{}, {"kind": "nothing"}, {"ref": ""}, {"everything": True, "tenant": "a"}]
        for selected in wrong:
            with pytest.raises(ConfigError):
                await backlog.pause(**selected)
            with pytest.raises(ConfigError):
                await backlog.resume(**selected)
        with pytest.raises(ConfigError):
            await backlog.cancel()
        with pytest.raises(ConfigError):
            await backlog.retry(cancelled=True, unknown=True)
        with pytest.raises(ConfigError):
            await backlog.retry(waiting=True, tenant="a")


async def test_a_copy_keeps_calls_held(tmp_path: Path, place: Location) -> None:
    """What a person holds is not made because it was copied; it is resumed where it is."""
    async with Backlog.open(place) as backlog, Backlog.open(tmp_path / "copy.sqlite") as other:
        await backlog.add([*checks("1", tenant="a"), *checks("2", tenant="b")])
        await backlog.pause(tenant="a")
        await backlog.copy_to(other)
        assert await held_rows(other) == ["1"]
        assert [state.tenant for state in await other.tenant_states()] == ["a"]
        assert (await other.resume(tenant="a")).rows == 1
        await other.pause(tenant="b")
        await other.copy_to(backlog)
        assert await held_rows(backlog) == ["1", "2"]
        for suffix in (".jsonl", ".csv", ".xlsx"):
            assert await backlog.export(tmp_path / f"out{suffix}") == 2
        assert await backlog.report(tmp_path / "report.html") == 2


async def test_calls_that_come_by_a_copy_are_held_too(tmp_path: Path, place: Location) -> None:
    """Whatever way calls become pending, no run claims those that are paused, and its search holds them."""
    async with (
        Sandbox(ocr_rate=0, verify_rate=0) as box,
        Backlog.open(tmp_path / "source.sqlite") as source,
        Backlog.open(place, timing=FAST_BACKLOG) as backlog,
    ):
        await source.add([*checks("1", tenant="a"), *checks("2", tenant="b"), *urls("3", tenant="b")])
        await backlog.pause(tenant="a")
        await backlog.pause(kind="url")
        await source.copy_to(backlog)
        assert (await run(backlog, box))["done"] == 1
        assert await held_rows(backlog) == ["1", "3"]
        await source.add(checks("4", tenant="b"))
        await backlog.pause(everything=True)
        await source.copy_to(backlog)
        assert (await run(backlog, box))["done"] == 1
        assert await held_rows(backlog) == ["1", "3", "4"]
