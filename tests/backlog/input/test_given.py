"""Rows are given to a backlog as objects."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ekb_async.backlog import Backlog, Row
from ekb_async.errors import ConfigError, ManifestError
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, picture


async def test_rows_of_each_kind_are_added(place: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects say what the columns of a manifest say; the same rows again add nothing."""
    monkeypatch.chdir(tmp_path)
    picture(tmp_path, "a.png")
    rows = [
        Row(kind="verify", file="a.png", staff_id="Alice@Company.cn", ref="R1", own={"部门": "财务"}),
        Row(kind="ocr", file=tmp_path / "a.png"),
        Row(kind="url", invoice_id="c:1:2"),
        Row(
            kind="四要素验真",
            number="25999900000000000017",
            date=datetime.date(2025, 3, 9),
            amount=Decimal("1000.5"),
        ),
    ]
    async with Backlog.open(place) as backlog:
        assert (await backlog.add(rows)).added == 4
        tasks = await all_tasks(backlog)
        assert [(task.kind, task.ref, task.staff_id, task.own) for task in tasks[:2]] == [
            ("verify", "R1", "email:alice@company.cn", {"部门": "财务"}),
            ("ocr", "", "", {}),
        ]
        assert [task.file for task in tasks] == [str(tmp_path / "a.png")] * 2 + ["", ""]
        assert tasks[3].fields is not None
        assert (tasks[3].fields["date"], tasks[3].fields["amount"]) == ("20250309", "1000.50")
        monkeypatch.chdir("/")
        again = await backlog.add([rows[1], rows[2]])
        assert (again.added, again.present) == (0, 2)


async def test_an_endless_number_of_rows_is_not_held(place: Location) -> None:
    """Rows come from a generator, also an asynchronous one, part by part."""

    def many() -> Iterator[Row]:
        return (Row(kind="url", invoice_id=f"c:1:{number}") for number in range(1200))

    async def later() -> AsyncIterator[Row]:
        for row in many():
            yield row

    async with Backlog.open(place) as backlog:
        assert (await backlog.add(many())).added == 1200
        assert (await backlog.add(later())).present == 1200
        assert (await backlog.add([])).added == 0


async def test_all_wrong_rows_are_named_and_nothing_is_added(place: Location) -> None:
    """Number and field of each malformed row, the first fifty at most."""
    wrong: list[Any] = [
        Row(kind="url", invoice_id="c:1:2"),
        Row(kind="nothing"),
        "url",
        Row(kind="ocr", file="missing.png"),
        Row(kind="ocr", file=3),  # type: ignore[arg-type]
        Row(kind="verify_by_fields", number="25999900000000000017", date="2025-03-09", amount=True),
        Row(kind="ocr", file="https://files.example/a.pdf?Expires=9&Signature=s3cret"),
        Row(kind="url", invoice_id="c:1:3", own={"kind": "x"}),
    ]
    async with Backlog.open(place) as backlog:
        with pytest.raises(ManifestError) as raised:
            await backlog.add(wrong)
        assert [(each.line, each.column) for each in raised.value.problems] == [
            (2, "kind"),
            (3, None),
            (4, "file"),
            (5, "file"),
            (6, "amount"),
            (7, "file"),
            (8, "kind"),
        ]
        assert "s3cret" not in str(raised.value)
        with pytest.raises(ManifestError) as raised:
            await backlog.add(Row(kind="nothing") for _ in range(10_000))
        assert len(raised.value.problems) == 50
        assert await all_tasks(backlog) == []
        with pytest.raises(ConfigError):
            await backlog.add("rows")  # type: ignore[arg-type]


async def test_an_error_of_the_iterable_adds_nothing(place: Location, tmp_path: Path) -> None:
    """The error is raised as it is, and other rows can be added afterwards."""

    async def broken() -> AsyncIterator[Row]:
        yield Row(kind="url", invoice_id="c:1:2")
        raise LookupError

    async with Backlog.open(place) as backlog:
        with pytest.raises(LookupError):
            await backlog.add(broken())
        assert (await backlog.add_manifest(manifest(tmp_path, "url,,c:1:2,,,"))).added == 1


async def test_own_columns_are_kept_under_the_name_that_is_exported(place: Location, tmp_path: Path) -> None:
    """A name is trimmed and loses the signature of a URL, as in a manifest, and so do its values."""
    signed = "https://files.example/a?Expires=9&Signature=s3cret"
    async with Backlog.open(place) as backlog:
        await backlog.add([Row(kind="url", invoice_id="c:1:2", own={" 部门 ": "财务", signed: signed})])
        [task] = await all_tasks(backlog)
        await backlog.export(tmp_path / "out.csv")
    assert task.own == {"部门": "财务", "https://files.example/a": "https://files.example/a"}
    exported = (tmp_path / "out.csv").read_text("utf-8-sig")
    assert ("财务" in exported, "s3cret" in exported) == (True, False)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (Row(kind="url", invoice_id="c:1:2", ref="\ud800"), "ref"),
        (Row(kind="url", invoice_id="c:1:2", own={"a": "\udc80"}), "a"),
        (Row(kind="url", invoice_id="c:1:2", own={" ": "x"}), "own"),
        (Row(kind="verify_by_fields", number="25999900000000000017", date="20250309", amount=10**5000), "amount"),
    ],
)
async def test_values_that_cannot_be_stored_are_named(place: Location, row: Row, column: str) -> None:
    """Text that is not UTF-8, a column without a name, and numbers beyond all bounds are wrong rows."""
    async with Backlog.open(place) as backlog:
        with pytest.raises(ManifestError) as raised:
            await backlog.add([row])
        assert [each.column for each in raised.value.problems] == [column]


async def test_other_tasks_run_while_an_iterable_is_slow(place: Location) -> None:
    """The event loop has its turn between the rows of an iterable that takes its time."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def slow() -> Iterator[Row]:
        for number in range(8):
            time.sleep(0.03)
            turns_at.append(turns)
            yield Row(kind="url", invoice_id=f"c:1:{number}")

    turns_at: list[int] = []
    async with Backlog.open(place) as backlog:
        counting = asyncio.create_task(count())
        assert (await backlog.add(slow())).added == 8
        counting.cancel()
    assert len(set(turns_at)) > 1
