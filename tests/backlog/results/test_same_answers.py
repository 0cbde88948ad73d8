"""Rows whose answers have the same invoice, whatever files they were made from."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlog_stores import Location
from tests.support.backlogs import execute, manifest, session
from tests.support.same_answers import files_showing, marks

OLD = SampleInvoice(number="00000017", code="099002400111")
OTHER = SampleInvoice(number="00000018", code="099002400111")
TAXI = SampleInvoice(number="00000017", code="199002400111", kind="taxi")


async def test_rows_with_the_same_invoice_name_the_first(tmp_path: Path, place: Location) -> None:
    """Rows whose answers have an invoice in common name the first of them, which names itself; others name none."""
    shown = files_showing(tmp_path, a=(OLD,), b=(OTHER, OLD), c=(OTHER,), d=(TAXI,), e=(OLD,), f=(TAXI,))
    first, later = [f"verify,{name}.pdf,,corp:staff,,{name}" for name in "abcde"], "verify,f.pdf,,corp:staff,,f"
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, recognises=shown) as box,
        Backlog.open(place) as backlog,
        session(box) as ekb,
    ):
        await backlog.add_manifest(manifest(tmp_path, *first, "ocr,e.pdf,,,,recognised"))
        await backlog.run(ekb)
        assert await marks(backlog) == {"a": "a", "b": "a", "c": "b", "d": None, "e": "a", "recognised": None}
        await backlog.add_manifest(manifest(tmp_path, later, name="later.csv"))
        await backlog.run(ekb)
        expected = {"a": "a", "b": "a", "c": "b", "d": "d", "e": "a", "recognised": None, "f": "d"}
        assert await marks(backlog) == expected


async def test_an_answer_with_the_invoices_of_two_others_marks_both(tmp_path: Path, place: Location) -> None:
    """Each of the two is the first with its invoice, and names itself."""
    shown = files_showing(tmp_path, a=(OLD,), b=(OTHER,), c=(OLD, OTHER))
    rows = [f"verify,{name}.pdf,,corp:staff,,{name}" for name in "abc"]
    async with (
        Sandbox(verify_rate=0, recognises=shown) as box,
        Backlog.open(place) as backlog,
        session(box) as ekb,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows))
        await backlog.run(ekb)
        assert await marks(backlog) == {"a": "a", "b": "b", "c": "a"}


async def test_a_tenants_invoices_are_its_own(tmp_path: Path, place: Location) -> None:
    """Answers of two tenants are never compared; a check by fields is, with a check of a file."""
    shown = files_showing(tmp_path, a=(OLD,), b=(OLD,))
    rows = "".join(
        f'{{"kind": "verify", "file": "{name}.pdf", "staff_id": "s", "ref": "{name}", "tenant": "{tenant}"}}\n'
        for name, tenant in (("a", "甲"), ("b", "乙"))
    )
    fields = f'"kind": "verify_by_fields", "number": "{OLD.number}", "code": "{OLD.code}", "date": "{OLD.date}"'
    (tmp_path / "m.jsonl").write_text(
        f'{rows}{{{fields}, "amount": "100.00", "ref": "c", "tenant": "甲"}}\n', encoding="utf-8"
    )
    async with Sandbox(verify_rate=0, recognises=shown) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(tmp_path / "m.jsonl")
        summary = await backlog.run(lambda _: session(box))
        assert summary.counts["done"] == 3
        found = await marks(backlog)
        assert found.pop("b") is None
        assert len(set(found.values())) == 1
        assert found["a"] in {"a", "c"}


async def test_programs_index_at_the_same_time(tmp_path: Path, place: Location) -> None:
    """Any number of programs may show results at the same time, and all show the same."""
    shown = files_showing(tmp_path, **{f"f{n}": (OLD if n % 2 else OTHER,) for n in range(40)})
    rows = [f"verify,f{n}.pdf,,corp:staff,,f{n}" for n in range(40)]
    async with Sandbox(verify_rate=0, recognises=shown) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        await backlog.run(ekb)
        async with Backlog.open(place) as second, Backlog.open(place) as third:
            found = await asyncio.gather(*(marks(each) for each in (backlog, second, third, second)))
        assert found[0] == found[1] == found[2] == found[3]
        assert set(found[0].values()) == {"f0", "f1"}


async def test_more_answers_than_a_page(tmp_path: Path, place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are indexed page by page, and invoices are found across pages."""
    limits = msgspec.structs.replace(LIMITS, answers_per_indexed_page=3)
    monkeypatch.setattr("ekb_async.backlog.store.reading.answered.LIMITS", limits)
    shown = files_showing(
        tmp_path, **{f"f{n}": (OLD if n in {1, 8} else SampleInvoice(number=f"2{n:07}"),) for n in range(10)}
    )
    rows = [f"verify,f{n}.pdf,,corp:staff,,f{n}" for n in range(10)]
    async with Sandbox(verify_rate=0, recognises=shown) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        await backlog.run(ekb)
        found = {ref: same for ref, same in (await marks(backlog)).items() if same}
        assert found.keys() == {"f1", "f8"}
        assert len(set(found.values())) == 1


async def test_an_answer_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    """An answer that is no JSON names no invoice, and is not read a second time."""
    shown = files_showing(tmp_path, a=(OLD,), b=(OLD,), c=(OLD,))
    rows = [f"verify,{name}.pdf,,corp:staff,,{name}" for name in "abc"]
    place = tmp_path / "b.sqlite"
    async with Sandbox(verify_rate=0, recognises=shown) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        await backlog.run(ekb)
        await execute(backlog, "UPDATE calls SET result = x'7b' WHERE id = 1")
        assert await marks(backlog) == {"a": None, "b": "b", "c": "b"}
        # Were it read again, it would be compared now.
        await execute(backlog, "UPDATE calls SET result = (SELECT result FROM calls WHERE id = 2) WHERE id = 1")
        assert (await marks(backlog))["a"] is None


async def test_a_read_only_backlog_is_shown_with_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of a backlog that cannot be written are shown as they are."""
    shown = files_showing(tmp_path, a=(OLD,), b=(OLD,))
    place = tmp_path / "b.sqlite"
    async with Sandbox(verify_rate=0, recognises=shown) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await backlog.add_manifest(manifest(tmp_path, *(f"verify,{name}.pdf,,corp:staff,,{name}" for name in "ab")))
        await backlog.run(ekb)
    monkeypatch.setattr(os, "access", lambda *_: False)
    async with Backlog.open(place) as backlog:
        assert await marks(backlog) == {"a": None, "b": None}
