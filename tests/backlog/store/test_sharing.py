"""Rows whose files show the same invoice share a call."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest

from ekb_async.backlog import Backlog
from tests.support.backlog_stores import Location
from tests.support.read_rows import add_read, groups, read_row

A, B, C = "25999900000000000017", "25999900000000000018", "099002400111-00000017"


async def test_the_best_file_of_an_invoice_is_sent(place: Location) -> None:
    """PDF, then picture, then the others, whatever came first; every row belongs to the one call."""
    async with Backlog.open(place) as backlog:
        rows = [read_row("a.xml", A, form=2), read_row("a.jpg", A, form=1), read_row("a.pdf", A), read_row("b.pdf", B)]
        report = await add_read(backlog, rows)
        assert (report.added, report.duplicates, report.same_invoice) == (2, 2, 2)
        assert await groups(backlog) == {"a.pdf": ["a.xml", "a.jpg", "a.pdf"], "b.pdf": ["b.pdf"]}
        kinds = {task.file: (task.kind, task.shared_by) async for task in backlog.results()}
        assert kinds == {
            "a.xml": ("verify", "invoice"),
            "a.jpg": ("verify", "invoice"),
            "a.pdf": ("verify", None),
            "b.pdf": ("verify", None),
        }


@pytest.mark.parametrize("order", list(itertools.permutations(["pdf", "jpg", "xml"])))
async def test_files_that_come_later_share_the_call(place: Location, order: tuple[str, ...]) -> None:
    """A file of an invoice that the backlog has joins its call, which is made from the best file until it is done."""
    forms = {"pdf": 0, "jpg": 1, "xml": 2}
    async with Backlog.open(place) as backlog:
        for index, suffix in enumerate(order):
            report = await add_read(backlog, [read_row(f"a.{suffix}", A, form=forms[suffix])])
            assert (report.added, report.same_invoice) == (int(index == 0), int(index > 0))
        assert list((await groups(backlog)).keys()) == ["a.pdf"]
        again = await add_read(backlog, [read_row(f"a.{each}", A, form=forms[each]) for each in order])
        assert (again.added, again.duplicates, again.present) == (0, 3, 3)
        assert len([task async for task in backlog.results()]) == 3


async def test_an_unread_copy_of_a_file_shares_as_the_file_does(place: Location) -> None:
    """A file whose content once shared a call goes on sharing it, also if it is added without being read."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.pdf", A), read_row("a.jpg", A, form=1)])
        copy = read_row("copy.jpg", content="a.jpg")._replace(content="", printed="", keys="")
        report = await add_read(backlog, [copy])
        assert report.added == 0
        assert await groups(backlog) == {"a.pdf": ["a.pdf", "a.jpg", "copy.jpg"]}


async def test_contradicting_files_share_no_call(place: Location) -> None:
    """The same number with another date or amount is never taken for the same invoice, and a person is warned."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.pdf", A, total="100")])
        report = await add_read(backlog, [read_row("forged.pdf", A, total="900"), read_row("a.jpg", A, form=1)])
        assert (report.added, report.conflicts, report.same_invoice) == (1, 1, 1)
        assert await groups(backlog) == {"a.pdf": ["a.pdf", "a.jpg"], "forged.pdf": ["forged.pdf"]}
        warned = [task.file async for task in backlog.results() if task.warning]
        assert warned == ["forged.pdf"]
        both = await add_read(
            backlog, [read_row("x.pdf", B, date="2025-03-09"), read_row("y.pdf", B, date="2025-03-08")]
        )
        assert (both.added, both.conflicts) == (2, 2)


async def test_two_names_of_an_invoice_join_three_files(place: Location) -> None:
    """A digital invoice on paper has two names; files that give one of them each are joined by one that gives both."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.jpg", C, form=1), read_row("a.pdf", A), read_row("both.pdf", A, C)])
        assert await groups(backlog) == {"both.pdf": ["a.jpg", "a.pdf", "both.pdf"]}


async def test_tenants_and_kinds_are_apart(place: Location) -> None:
    """Another tenant's file of the invoice, or a file added for another kind of call, has a call of its own."""
    async with Backlog.open(place) as backlog:
        rows = [
            read_row("a.pdf", A),
            read_row("a.jpg", A, form=1, tenant="acme"),
            read_row("b.jpg", A, form=1, tenant="acme"),
            read_row("c.jpg", A, form=1, kind="ocr"),
        ]
        report = await add_read(backlog, rows)
        assert (report.added, report.same_invoice) == (3, 1)


async def test_rows_with_one_reference_and_two_files_are_two_rows(place: Location) -> None:
    """The PDF and the XML of an invoice are both kept, although a person gives them the same reference."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.pdf", A, ref="R1")])
        report = await add_read(backlog, [read_row("a.xml", A, ref="R1", form=2)])
        assert (report.added, report.present) == (0, 0)
        assert await groups(backlog) == {"a.pdf": ["a.pdf", "a.xml"]}


async def test_both_stores_share_alike(tmp_path: Path, database: str) -> None:
    """Whatever is added in whatever order, both stores give the same calls to the same rows."""
    random = Random(17)
    async with Backlog.open(tmp_path / "b.sqlite") as file, Backlog.open(database) as other:
        for history in range(25):
            tenant = f"tenant {history}"
            for _ in range(random.randint(1, 4)):
                rows = [
                    read_row(
                        f"{number}.{form}",
                        *random.choice([[A], [B], [C], [A, C]]),
                        form=form,
                        total=random.choice(["", "", "5"]),
                        tenant=tenant,
                    )
                    for number, form in random.sample(list(itertools.product(range(9), range(3))), random.randint(0, 6))
                ]
                assert await add_read(file, rows) == await add_read(other, rows)
        for history in range(25):
            assert await groups(file, f"tenant {history}") == await groups(other, f"tenant {history}")
