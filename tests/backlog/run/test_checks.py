"""Checks by ID and by fields in a backlog: paid once, marked before they are sent, reported and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog, Progress
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, checks, session

BY_FIELDS = "verify_by_fields,,031001900204,11112222,2024-01-01,106,,fields"
BY_ID = "verify_by_id,corp:031001900204:11112222,,,,,,id"


async def test_checks_are_made_and_paid_once(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """Each check has the tax authority's data as its result; rows of one invoice share a call, over runs too."""
    rows = (BY_FIELDS, BY_FIELDS.replace("2024-01-01,106", "20240101,106.00"), BY_ID, BY_ID)
    quick_box.vendor.add_invoice("djg8LshfUkfM00:031001900204:11112222", SampleInvoice(number="11112222"))
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(checks(tmp_path, *rows))
        assert (await backlog.run(ekb)).counts["done"] == 4
        await backlog.run(ekb)
        fields, _, by_id, _ = await all_tasks(backlog)
    assert (fields.attempts, fields.result["number"], fields.result["is_verified"]) == (1, "11112222", True)
    assert by_id.result["number"] == "11112222"
    assert fields.raw is not None
    assert b"invoiceVerify" in fields.raw
    billed = quick_box.vendor.billed
    assert (billed["verify_by_fields"].total(), billed["verify_by_id"].total()) == (1, 1)


async def test_what_is_sent_is_what_the_row_has(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """All fields of a row are sent, and those that it leaves out are not."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(
            checks(
                tmp_path,
                "verify_by_fields,,031,11112222,20240101,5.5,123456,",
                "verify_by_fields,,,24312000000123878916,20240102,,,",
            )
        )
        await backlog.run(ekb)
        assert (await backlog.counts())["done"] == 2
    assert set(quick_box.vendor.billed["verify_by_fields"]) == {"031:11112222", ":24312000000123878916"}


async def test_a_refused_check_fails_with_its_reason(tmp_path: Path, place: Location, ekb: EkbSession) -> None:
    """An invoice of an earlier day that does not exist, or differs, fails its row, and only `retry` repeats it."""
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(checks(tmp_path, "verify_by_fields,,1,unknown2,20240101,,,", BY_ID))
        summary = await backlog.run(ekb)
        (failed,) = await all_tasks(backlog, "failed")
        assert summary.failures == {"InvoiceNotFoundError": 1}
        assert (failed.attempts, failed.error_type) == (1, "InvoiceNotFoundError")
        assert await backlog.retry(cause="InvoiceNotFound") == 1


@pytest.mark.parametrize("holds", [False, True])
async def test_a_lost_answer_is_counted_or_held(tmp_path: Path, place: Location, holds: bool) -> None:
    """A check whose answer was lost is repeated and counted, or fails for a person to decide."""
    async with (
        Sandbox(verify_rate=0, faults=[Fault.lost_answer(calls="verify_by_fields", times=1)]) as box,
        session(box, repeat_unknown=not holds) as ekb,
        Backlog.open(place) as backlog,
    ):
        await backlog.add_manifest(checks(tmp_path, BY_FIELDS))
        await backlog.run(ekb)
        (task,) = await all_tasks(backlog)
        assert task.maybe_billed == await backlog.maybe_billed() == 1
        assert (task.state, task.error_type) == (("failed", "OutcomeUnknownError") if holds else ("done", None))
        assert await backlog.retry(unknown=True) == int(holds)


async def test_progress_has_the_rate_of_verification(tmp_path: Path, ekb: EkbSession) -> None:
    """Both kinds are limited by the rate of verification, each on its own."""
    seen: list[Progress] = []
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(checks(tmp_path, BY_FIELDS, BY_ID))
        await backlog.run(ekb, progress=seen.append)
    allowed = {name: kind.allowed for name, kind in seen[-1].kinds.items()}
    assert allowed == dict.fromkeys(("verify_by_fields", "verify_by_id"), ekb.config.verify_rate)


async def test_exports_and_reports_of_checks(tmp_path: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """An export has the invoice of each check, also of one that failed; a report adds up what was verified."""
    quick_box.vendor.add_invoice("djg8LshfUkfM00:031001900204:11112222", SampleInvoice(number="11112222"))
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(checks(tmp_path, BY_FIELDS, "verify_by_fields,,1,unknown2,20240101,,123456,no"))
        await backlog.run(ekb)
        await backlog.export(tmp_path / "out.csv")
        await backlog.export(tmp_path / "zh.csv", kind="verify_by_fields", lang="zh")
        await backlog.report(tmp_path / "r.html", lang="en")
        for name in ("out.xlsx", "out.parquet"):
            assert await backlog.export(tmp_path / name) == 2
    done, failed = csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines())
    assert (done["invoice_number"], done["total"], done["is_verified"]) == ("11112222", "106.0", "true")
    assert (done["seller"] != "", done["tax"]) == (True, "6.0")
    assert (failed["invoice_code"], failed["invoice_number"], failed["invoice_date"]) == ("1", "unknown2", "2024-01-01")
    assert (failed["check_code"], failed["state"]) == ("123456", "failed")
    chinese = (tmp_path / "zh.csv").read_text(encoding="utf-8-sig")
    assert "按票面信息验真" in chinese
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Verification by fields" in page
    assert "106.00" in page
