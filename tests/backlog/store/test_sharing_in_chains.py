"""Rows that are joined by other rows, by files that were not read, and by copies."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.input.rows.row import ManifestRow
from tests.support.backlog_stores import Location
from tests.support.read_rows import add_read, groups, read_row

A, B, C = "25999900000000000017", "25999900000000000018", "099002400111-00000017"


async def check_counts(backlog: Backlog) -> None:
    """Check that the rows of all calls are the rows of the backlog."""
    load = await backlog._store.load()
    assert sum(each.rows for each in load) == len([task async for task in backlog.results()])
    assert all(each.rows >= each.calls for each in load)


def unread(row: ManifestRow) -> ManifestRow:
    """Return a row as it is if its file is not read."""
    return row._replace(content="", printed="", keys="", form=0, kind="verify", identity=row.content, date="")


def are_apart(found: dict[str, list[str]], one: str, other: str) -> bool:
    return not any({one, other} <= set(files) for files in found.values())


async def test_files_that_contradict_one_another_do_not_join_a_known_one(place: Location) -> None:
    """The known file states no total, so each of the two could be the same invoice, but not both."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.jpg", A, form=1)])
        await add_read(backlog, [read_row("x.pdf", A, total="5"), read_row("y.pdf", A, total="6")])
        assert are_apart(await groups(backlog), "x.pdf", "y.pdf")


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_file_with_two_names_joins_no_contradiction(
    place: Location, order: tuple[int, ...], at_once: bool
) -> None:
    """Files that differ in their total are apart, also if a third one has the names of both."""
    rows = [read_row("x.pdf", A, total="5"), read_row("both.pdf", A, C), read_row("y.pdf", C, total="6")]
    async with Backlog.open(place) as backlog:
        for part in [[rows[each] for each in order]] if at_once else [[rows[each]] for each in order]:
            await add_read(backlog, part)
        assert are_apart(await groups(backlog), "x.pdf", "y.pdf")


async def test_a_chain_ends_at_the_call_that_is_known(place: Location) -> None:
    """A file joins the call of an invoice through another new file that has both of its names."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.pdf", A)])
        await add_read(backlog, [read_row("both.pdf", A, C), read_row("c.pdf", C)])
        assert len(await groups(backlog)) == 1


async def test_a_file_of_two_checks_that_was_not_read_before(place: Location) -> None:
    """Its call becomes one of the checks, and the other one is new."""
    async with Backlog.open(place) as backlog:
        one, two = read_row("t.xml", A, form=2), read_row("t.xml", B, form=2)
        await add_read(backlog, [unread(one)])
        assert (await add_read(backlog, [one, two])).added == 1
        await check_counts(backlog)


async def test_a_copy_of_a_file_of_two_checks_has_both(place: Location) -> None:
    """Each invoice of the copy joins its own call, although the file is one."""
    async with Backlog.open(place) as backlog:
        one, two = read_row("t.xml", A, form=2), read_row("t.xml", B, form=2)
        await add_read(backlog, [one, two])
        copies = [each._replace(file="copy.xml", ref="copy") for each in (one, two)]
        assert (await add_read(backlog, copies)).added == 0
        assert await groups(backlog) == {"copy.xml": ["t.xml", "t.xml", "copy.xml", "copy.xml"]}
        shared = [task.shared_with async for task in backlog.results() if task.shared_with]
        assert len(set(shared)) == 2


async def test_everything_that_files_say_is_known(place: Location) -> None:
    """Several files of an invoice that come together may state more than the first of them does."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.jpg", A, form=1), read_row("a.pdf", A, total="5")])
        report = await add_read(backlog, [read_row("forged.pdf", A, total="6")])
        assert (report.added, report.conflicts) == (1, 1)


async def test_a_file_that_ocr_does_not_take_is_not_sent_after_a_move(place: Location) -> None:
    """What is known of a file stays if it is added again without being read."""
    async with Backlog.open(place) as backlog:
        row = read_row("t.xml", A, form=2, ref="1")
        row = row._replace(kind="verify", identity=row.content, date="")
        await add_read(backlog, [row])
        await add_read(backlog, [unread(row)._replace(file="moved/t.xml")])
        assert await backlog._store.copies(1) == []


async def test_a_check_that_is_not_made_yet_becomes_a_call_on_the_file(place: Location) -> None:
    """An XML file is checked by its fields only if it is alone: a PDF that comes later is sent instead."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.xml", A, form=2, total="5"), read_row("b.xml", B, form=2)])
        report = await add_read(backlog, [read_row("a.pdf", A, total="5"), read_row("a.jpg", A, form=1)])
        assert (report.added, report.same_invoice) == (0, 2)
        assert await groups(backlog) == {"a.pdf": ["a.xml", "a.pdf", "a.jpg"], "b.xml": ["b.xml"]}
        assert [task.kind async for task in backlog.results()] == ["verify", "verify_by_fields", "verify", "verify"]
        again = await add_read(backlog, [read_row("a.xml", A, form=2, total="5")])
        assert (again.added, again.present) == (0, 1)
        await check_counts(backlog)


async def test_a_contradicting_file_does_not_take_over_a_check(place: Location) -> None:
    """A PDF with another total is another call, and the check stays."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("a.xml", A, form=2, total="5")])
        report = await add_read(backlog, [read_row("forged.pdf", A, total="9")])
        assert (report.added, report.conflicts) == (1, 1)
        assert [task.kind async for task in backlog.results()] == ["verify_by_fields", "verify"]


async def test_a_file_that_contradicts_the_other_name_does_not_take_over_a_check(place: Location) -> None:
    """What is known of an invoice under its other name counts as well."""
    async with Backlog.open(place) as backlog:
        await add_read(backlog, [read_row("both.xml", A, C, form=2)])
        await add_read(backlog, [read_row("c.ofd", C, form=2, total="6")])
        report = await add_read(backlog, [read_row("a.pdf", A, total="5")])
        assert (report.added, report.conflicts) == (1, 1)
        assert are_apart(await groups(backlog), "a.pdf", "c.ofd")


@pytest.fixture(params=["file", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Return where a backlog is copied to."""
    if request.param == "file":
        return tmp_path / "target.sqlite"
    dsn: str = request.getfixturevalue("empty_database")
    return dsn


_JPG = read_row("a.jpg", A, form=1)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([[_JPG]], id="read"),
        pytest.param([[unread(_JPG)]], id="unread"),
        pytest.param([[unread(_JPG)._replace(ref="1")], [_JPG._replace(ref="2")]], id="unread, then read"),
        pytest.param(
            [[_JPG._replace(ref="2")], [unread(_JPG)._replace(ref="1", file="b.jpg")]], id="read, then unread"
        ),
    ],
)
async def test_a_copy_joins_the_call_of_the_invoice(
    tmp_path: Path, target: Location, parts: list[list[ManifestRow]]
) -> None:
    """The target has another file of the invoice, and this one; each row is counted once, also copied again."""
    async with Backlog.open(tmp_path / "source.sqlite") as source, Backlog.open(target) as other:
        await add_read(other, [read_row("a.pdf", A), _JPG])
        for part in parts:
            await add_read(source, part)
        for _ in range(2):
            await source.copy_to(other)
            await check_counts(other)
            assert len(await groups(other)) == 1


async def test_a_copied_call_with_a_contradicting_row_stays_apart(tmp_path: Path, target: Location) -> None:
    """A call is joined with all of its rows or with none."""
    async with Backlog.open(tmp_path / "source.sqlite") as source, Backlog.open(target) as other:
        await add_read(other, [read_row("a.pdf", A, total="6")])
        await add_read(source, [read_row("1.pdf", A), read_row("2.pdf", A, total="5")])
        for _ in range(2):
            await source.copy_to(other)
            await check_counts(other)
            assert are_apart(await groups(other), "a.pdf", "2.pdf")


async def test_checks_and_calls_on_files_are_copied_both_ways(tmp_path: Path, target: Location) -> None:
    """Rows stay with calls of their own kind, however often they are copied."""
    async with Backlog.open(tmp_path / "source.sqlite") as source, Backlog.open(target) as other:
        await add_read(other, [read_row("a.pdf", A)])
        await add_read(source, [read_row("a.xml", A, form=2)])
        for one, two in ((source, other), (other, source), (source, other)):
            await one.copy_to(two)
            await check_counts(two)


async def test_a_warning_of_another_kind_is_no_reason_to_pay_again(tmp_path: Path, target: Location) -> None:
    """Only files that contradict each other are kept apart, not those of a foreign buyer."""
    async with Backlog.open(tmp_path / "source.sqlite") as source, Backlog.open(target) as other:
        await add_read(other, [read_row("a.pdf", A)])
        await add_read(source, [_JPG])
        await source._store.warn(1, "the buyer is none of the enterprise's own names")
        assert (await source.copy_to(other)).calls == 0


async def test_rows_that_were_removed_are_not_copied_again(tmp_path: Path, target: Location) -> None:
    """What was copied before and removed from the target stays removed; new rows of the call are copied."""
    async with Backlog.open(tmp_path / "source.sqlite") as source, Backlog.open(target) as other:
        await add_read(source, [_JPG])
        await source.copy_to(other)
        await other.remove(kind="verify")
        report = await source.copy_to(other)
        assert (report.rows, report.calls) == (0, 0)
        await add_read(source, [_JPG._replace(file="copy.jpg", ref="copy")])
        report = await source.copy_to(other)
        assert (report.rows, report.calls) == (1, 1)
        assert await groups(other) == {"copy.jpg": ["copy.jpg"]}
        await check_counts(other)


async def test_many_shared_calls_are_copied_in_linear_time(tmp_path: Path) -> None:
    """Each row is found by an index; without it, some ten thousand rows take minutes."""
    rows = [read_row(f"{n}.{form}", f"2599{9 * 10**15 + n}", form=form) for n in range(2500) for form in range(2)]
    async with Backlog.open(tmp_path / "a.sqlite") as source, Backlog.open(tmp_path / "b.sqlite") as other:
        await add_read(source, rows)
        async with asyncio.timeout(10):
            report = await source.copy_to(other)
        assert (report.rows, report.calls) == (5000, 2500)
