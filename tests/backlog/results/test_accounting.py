"""The accounting of billed calls: made, left without an answer, and saved by what."""

from __future__ import annotations

from pathlib import Path

from ekb_async import EkbSession
from ekb_async.backlog import Accounting, Backlog, KindAccounting
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, picture, session
from tests.support.command import ekb as command
from tests.support.ledger_rows import add_to_ledger, file_row
from tests.support.read_rows import OFD, add_rows, written_row

FIRST, SECOND = "25999900000000000017", "25999900000000000028"


async def add_trio(backlog: Backlog, directory: Path) -> None:
    """Add two invoices: of the first a PDF, a copy of it, an OFD and a copy of that; of the second a PDF."""
    await add_rows(
        backlog,
        directory,
        written_row(directory, "a.pdf", FIRST),
        written_row(directory, "a copy.pdf", FIRST, content=b"a.pdf"),
        written_row(directory, "a.ofd", FIRST, form=OFD),
        written_row(directory, "a copy.ofd", FIRST, content=b"a.ofd", form=OFD),
        written_row(directory, "b.pdf", SECOND),
    )


async def test_each_row_is_a_call_or_saved(tmp_path: Path, place: Location) -> None:
    """Rows beyond the first are saved by content or by invoice, before the calls are made and afterwards."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        assert await backlog.accounting() == Accounting(
            calls=0, maybe_billed=0, same_content=0, same_invoice=0, ledger=0, kinds={}
        )
        await add_trio(backlog, tmp_path)
        picture(tmp_path, "c.png")
        await backlog.add_manifest(
            manifest(tmp_path, "ocr,c.png,,,,c", "ocr,c.png,,,,again", "url,,corp:1:2,,,", "url,,corp:1:2,,,x")
        )
        before = await backlog.accounting()
        assert (before.calls, before.same_content, before.same_invoice, before.saved) == (0, 3, 1, 4)
        await backlog.run(ekb)
        after = await backlog.accounting()
        assert (box.count("verify"), box.count("ocr")) == (2, 1)
        assert after.kinds == {
            "ocr": KindAccounting(calls=1, same_content=1),
            "verify": KindAccounting(calls=2, same_content=2, same_invoice=1),
        }
        assert (after.calls, after.same_content, after.same_invoice) == (3, 3, 1)
        rows = [task for task in await all_tasks(backlog) if task.kind in after.kinds]
        assert len(rows) == after.calls + after.saved
        shared = {task.ref: task.shared_by for task in rows if task.kind == "verify"}
        assert sorted(map(str, shared.values())) == ["None", "None", "content", "invoice", "invoice"]


async def test_lost_answers_are_counted_by_kind(tmp_path: Path, place: Location) -> None:
    """A call whose answer was lost counts as made, and as maybe billed, besides its repetition."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await add_trio(backlog, tmp_path)
        box.faults.append(Fault.lost_answer(calls="verify", times=1))
        await backlog.run(ekb)
        found = await backlog.accounting()
        assert found.kinds["verify"].calls == box.count("verify") == 3
        assert found.maybe_billed == found.kinds["verify"].maybe_billed == 1


async def test_answers_of_the_ledger_are_saved(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A call that the ledger answered is saved, and the rows that share it are saved by what they share."""
    add_to_ledger(quick_box, 1, 2)
    async with Backlog.open(place) as backlog:
        rows = [file_row(tmp_path, 1), file_row(tmp_path, 2), file_row(tmp_path, 2, kind="ocr"), file_row(tmp_path, 3)]
        again = file_row(tmp_path, 1)._replace(ref="again")
        await add_rows(backlog, tmp_path, *rows, again)
        assert (await backlog.estimate()).in_ledger == 4
        await backlog.run(ekb, ledger_first=True)
        found = await backlog.accounting()
    assert found.kinds == {"ocr": KindAccounting(ledger=1), "verify": KindAccounting(calls=1, same_content=1, ledger=2)}
    assert (found.calls, found.ledger, found.saved) == (1, 3, 4)
    assert quick_box.count("verify") == 1


async def test_status_and_report_show_it(tmp_path: Path) -> None:
    """`status` says in text and in JSON what was made and saved, and the report has it in both languages."""
    place = tmp_path / "b.sqlite"
    async with Sandbox(verify_rate=0) as box, Backlog.open(place) as backlog, session(box) as ekb:
        await add_trio(backlog, tmp_path)
        await backlog.run(ekb)
        pages = []
        for lang in ("en", "zh"):
            await backlog.report(tmp_path / "r.html", lang=lang)
            pages.append((tmp_path / "r.html").read_text(encoding="utf-8"))
    text = (await command("backlog", "status", place)).output.decode()
    assert "           2 billed calls made: 2 OCR and verification\n" in text
    assert "           2 saved: the same file or ID as another row\n" in text
    assert "           1 saved: another file of the same invoice\n" in text
    [status] = (await command("backlog", "status", place, "--json")).lines
    assert status["accounting"]["same_invoice"] == 1
    assert status["accounting"]["kinds"]["verify"]["calls"] == 2
    for page, heading in zip(pages, ("Saved: same invoice", "节省：发票相同"), strict=True):
        assert heading in page
        section = page[page.index('<section id="accounting">') :]
        assert section.index(">2</bdi></td>") < section.index(">1</bdi></td>")


async def test_counts_follow_every_change(tmp_path: Path, place: Location) -> None:
    """Counts, tenants and accounting, read again and again, are those of the calls there are, whatever changed them."""

    async def counted(backlog: Backlog) -> tuple[dict[str, int], dict[str, int], int]:
        tenants = {each.tenant: sum(each.counts.values()) for each in await backlog.tenants()}
        return await backlog.counts(), tenants, (await backlog.accounting()).calls

    one = manifest(tmp_path, f"ocr,{picture(tmp_path, 'a.png')},,,,1", name="one.csv")
    two = manifest(tmp_path, f"ocr,{picture(tmp_path, 'b.png')},,,,2", name="two.csv")
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box) as ekb,
        Backlog.open(place) as backlog,
        Backlog.open(place) as other,
    ):
        nothing = {"pending": 0, "running": 0, "done": 0, "failed": 0}
        assert await counted(backlog) == (nothing, {}, 0)
        await backlog.add_manifest(one)
        for _ in range(2):
            assert await counted(backlog) == (nothing | {"pending": 1}, {"": 1}, 0)
        await other.add_manifest(two)
        assert await counted(backlog) == (nothing | {"pending": 2}, {"": 2}, 0)
        await other.run(ekb)
        assert await counted(backlog) == (nothing | {"done": 2}, {"": 2}, 2)
        await backlog.remove(manifest=one, paid=True)
        assert await counted(backlog) == (nothing | {"done": 1}, {"": 1}, 1)
        assert await counted(other) == await counted(backlog)
