"""A run that asks the ledger first: which calls it answers, and how such an answer is shown."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, checks, session
from tests.support.invoice_folders import number_of
from tests.support.ledger_rows import PRINTED, add_to_ledger, fields_row, file_row
from tests.support.read_rows import add_rows, written_row


def billed(box: Sandbox) -> int:
    """Return how many billed calls were made."""
    return sum(each.total() for each in box.vendor.billed.values())


def by_id(invoice: int, day: str = "") -> str:
    return f"verify_by_id,corp::{number_of(invoice)},,,{day},,,id{invoice}"


async def test_every_kind_is_answered_without_payment(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """Rows of every billed kind are done, with the ledger as their source, and show what programs read."""
    add_to_ledger(quick_box, 1, 2, 3, 4)
    quick_box.vendor.add_document(id="D7", invoices=[f"corp::{number_of(2)}"])
    async with Backlog.open(place) as backlog:
        rows = [file_row(tmp_path, 1), file_row(tmp_path, 2), file_row(tmp_path, 3, kind="ocr")]
        await add_rows(backlog, tmp_path, *rows)
        await backlog.add_manifest(checks(tmp_path, fields_row(4), by_id(2)))
        summary = await backlog.run(ekb, ledger_first=True)
        assert (summary.counts["done"], summary.saved, summary.stopped, summary.failures) == (5, 5, "", {})
        assert billed(quick_box) == 0
        verified, used, recognised, fields, checked = await all_tasks(backlog)
        assert {(task.attempts, task.source) for task in await all_tasks(backlog)} == {(0, "ledger")}
    (invoice,) = verified.result["invoices"]
    assert (invoice["form"]["number"], invoice["form"]["total"]) == (number_of(1), "1000.00")
    assert (invoice["usable"], invoice["is_used"], invoice["message"], invoice["details"]) == (True, False, "", [])
    assert (invoice["id"], invoice["is_verified"], invoice["document_id"]) == (f"corp::{number_of(1)}", True, None)
    (invoice,) = used.result["invoices"]
    assert (invoice["usable"], invoice["is_used"], invoice["document_id"]) == (False, True, "D7")
    (read,) = recognised.result["invoices"]
    assert (read["details"]["number"], read["details"]["pretax_amount"]) == (number_of(3), "943.40")
    assert (fields.result["number"], fields.result["is_verified"]) == (number_of(4), True)
    assert (checked.result["number"], checked.result["document_id"]) == (number_of(2), "D7")


async def test_the_entries_of_the_ledger_are_kept(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """An answer has the vendor's own entry without its schema, and the part of the ledger that it is in."""
    add_to_ledger(quick_box, 1)
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, file_row(tmp_path, 1))
        await backlog.run(ekb, ledger_first=True)
        (task,) = await all_tasks(backlog)
    assert task.raw is not None
    (entry,) = msgspec.json.decode(task.raw)["ledger"]
    assert entry["object_id"] == "invoice"
    assert entry["raw"]["E_system_发票主体_发票号码"] == number_of(1)
    assert "entity" not in entry["raw"]


async def test_exports_and_the_report_have_the_invoices(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """An export has the invoice, its document and the source of each row; the report counts it as verified."""
    add_to_ledger(quick_box, 1, 2, 3)
    quick_box.vendor.add_document(id="D7", invoices=[f"corp::{number_of(1)}"])
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, file_row(tmp_path, 1), file_row(tmp_path, 2, kind="ocr"))
        await backlog.add_manifest(checks(tmp_path, fields_row(3), fields_row(1)))
        await backlog.run(ekb, ledger_first=True)
        await backlog.export(tmp_path / "out.csv")
        await backlog.report(tmp_path / "r.html", lang="en")
        first, *_, last = await all_tasks(backlog)
    assert (first.same_as, last.same_as) == (first.id, first.id)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [row["invoice_number"] for row in rows] == [number_of(each) for each in (1, 2, 3, 1)]
    assert [row["document_id"] for row in rows] == ["D7", "", "", "D7"]
    assert {(row["source"], row["total"]) for row in rows} == {("ledger", "1000.00")}
    assert [row["usable"] for row in rows] == ["false", "", "", ""]
    assert "a document uses it" in (tmp_path / "r.html").read_text(encoding="utf-8")


async def test_what_the_ledger_cannot_answer_is_called(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """Invoices that are unknown or not verified, and files that name none with certainty, are paid for as usual."""
    add_to_ledger(quick_box, 1)
    add_to_ledger(quick_box, 2, verified=False)
    add_to_ledger(quick_box, 3, kind="train")
    uncertain = written_row(tmp_path, "u.pdf", number_of(1), is_certain=False)
    async with Backlog.open(place) as backlog:
        rows = [uncertain, *(file_row(tmp_path, invoice) for invoice in (2, 3, 4))]
        await add_rows(backlog, tmp_path, *rows)
        await backlog.add_manifest(checks(tmp_path, fields_row(2), fields_row(5)))
        summary = await backlog.run(ekb, ledger_first=True)
        tasks = await all_tasks(backlog)
    assert (summary.counts["done"], summary.saved) == (6, 0)
    assert {(task.attempts, task.source, task.warning) for task in tasks} == {(1, "call", None)}
    assert billed(quick_box) == 6


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({"total": "1000.01"}, True),
        ({"date": "2025-03-08"}, True),
        ({"tax": "56.61"}, True),
        ({"net": "943.41"}, True),
        ({"total": "1000.00", "net": "", "tax": "", "date": ""}, False),
    ],
)
async def test_another_amount_or_date_is_called_and_warned_of(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, changed: dict[str, str], differs: bool
) -> None:
    """The call is made if the file prints something else than the ledger has, and the row says so."""
    add_to_ledger(quick_box, 1)
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, file_row(tmp_path, 1, **changed))
        summary = await backlog.run(ekb, ledger_first=True)
        (task,) = await all_tasks(backlog)
    assert (summary.saved, billed(quick_box), task.state) == (int(not differs), int(differs), "done")
    assert task.warning == ("the ledger has this invoice with another date or amount" if differs else None)


@pytest.mark.parametrize(
    ("row", "is_answered"),
    [
        (fields_row(1), True),
        (fields_row(1, amount="943.40"), True),
        (fields_row(1, amount=""), True),
        (fields_row(1, amount="943.00"), False),
        (fields_row(1, day="20250310"), False),
        (by_id(1, "2025-03-09"), True),
        (by_id(1, "2025-03-10"), False),
    ],
)
async def test_fields_are_compared(
    tmp_path: Path, quick_box: Sandbox, ekb: EkbSession, row: str, is_answered: bool
) -> None:
    """The amount of a check may be that with or without tax; the date of a row counts also if it has an ID."""
    add_to_ledger(quick_box, 1)
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add_manifest(checks(tmp_path, row))
        assert (await backlog.run(ekb, ledger_first=True)).saved == int(is_answered)
    assert billed(quick_box) == int(not is_answered)


async def test_the_last_digits_of_a_check_code_are_compared(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A check is answered if its check code ends as that of the ledger, whichever of them is given in full."""
    add_to_ledger(quick_box, 1)
    (invoice,) = (await ekb.ledger_invoices(codes=[f":{number_of(1)}"])).values()
    assert invoice is not None
    code = getattr(invoice.form, "check_code", "")
    other = f"{(int(code) + 1) % 10**6:06}"
    async with Backlog.open(place) as backlog:
        rows = [fields_row(1, check_code=each) for each in (code[-6:], f"99999999999999{code[-6:]}", other)]
        await backlog.add_manifest(checks(tmp_path, *rows))
        await backlog.run(ekb, ledger_first=True)
        assert [task.source for task in await all_tasks(backlog)] == ["ledger", "ledger", "call"]


def several(directory: Path, *invoices: int, **printed: str) -> ManifestRow:
    """Return the row of a file that shows several invoices."""
    number = "+".join(map(number_of, invoices))
    return written_row(directory, f"{invoices}.pdf", number, printed=printed)


async def test_a_file_of_several_invoices_needs_all_of_them(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """A file is answered only if each of its invoices is in the ledger, verified, and with the amounts printed."""
    add_to_ledger(quick_box, 1, 2)
    add_to_ledger(quick_box, 3, verified=False)
    day = PRINTED["date"]
    async with Backlog.open(place) as backlog:
        await add_rows(
            backlog,
            tmp_path,
            several(tmp_path, 1, 2, total="1000+1000", date=f"{day}+{day}"),
            several(tmp_path, 2, 3),
            several(tmp_path, 2, 4),
            several(tmp_path, 2, 1, total="1000+999"),
        )
        assert (await backlog.run(ekb, ledger_first=True)).saved == 1
        done, *others = await all_tasks(backlog)
    assert [each["form"]["number"] for each in done.result["invoices"]] == [number_of(1), number_of(2)]
    assert [task.source for task in others] == ["call"] * 3
    assert [bool(task.warning) for task in others] == [False, False, True]


async def test_an_invoice_of_two_names(tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession) -> None:
    """A file that names its invoice in two ways is answered if the ledger has either; not if they are two invoices."""
    old = SampleInvoice(kind="vat_normal", code="099002400111", number="00000017")
    quick_box.vendor.add_invoice("corp:099002400111:00000017", old)
    add_to_ledger(quick_box, 2)
    coded = "099002400111-00000017"
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf", number_of(1), coded))
        assert (await backlog.run(ekb, ledger_first=True)).saved == 1
    async with Backlog.open(tmp_path / "other.sqlite") as backlog:
        await add_rows(backlog, tmp_path, written_row(tmp_path, "a.pdf", number_of(2), coded))
        assert (await backlog.run(ekb, ledger_first=True)).saved == 0


async def test_tenants_ask_their_own_ledgers(tmp_path: Path, place: Location) -> None:
    """What one tenant's ledger has is no answer for another tenant."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as one, Sandbox(ocr_rate=0, verify_rate=0) as other:
        add_to_ledger(one, 1)
        boxes = {"a:b": one, "c": other}
        async with Backlog.open(place) as backlog:
            await add_rows(backlog, tmp_path, *(file_row(tmp_path, 1, tenant=tenant) for tenant in boxes))
            summary = await backlog.run(lambda tenant: session(boxes[tenant]), ledger_first=True)
            sources = {task.tenant: task.source for task in await all_tasks(backlog)}
        assert (summary.saved, sources) == (1, {"a:b": "ledger", "c": "call"})
        assert [billed(box) for box in boxes.values()] == [0, 1]


async def test_rows_that_share_a_call_share_the_answer(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """The ledger is asked once for all files of an invoice, and all their rows are done."""
    add_to_ledger(quick_box, 1)
    rows = [written_row(tmp_path, name, number_of(1), printed=PRINTED) for name in ("a.pdf", "b.pdf", "c.pdf")]
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, *rows)
        summary = await backlog.run(ekb, ledger_first=True)
    assert (summary.counts["done"], summary.saved, quick_box.count("ledger")) == (3, 1, 1)


@pytest.mark.parametrize("known", [True, False])
async def test_look_ups_share_requests(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, known: bool
) -> None:
    """Two hundred claimed calls need two requests, or two for each part of the ledger if it has none of them."""
    if known:
        add_to_ledger(quick_box, *range(200))
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(checks(tmp_path, *map(fields_row, range(200))))
        assert (await backlog.run(ekb, ledger_first=True)).saved == 200 * known
    assert quick_box.count("ledger") <= (3 if known else 27)


async def test_without_the_option_nothing_is_asked(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession
) -> None:
    """Without the option, a run does not ask the ledger."""
    add_to_ledger(quick_box, 1)
    async with Backlog.open(place) as backlog:
        await add_rows(backlog, tmp_path, file_row(tmp_path, 1))
        summary = await backlog.run(ekb)
    assert (summary.saved, billed(quick_box), quick_box.count("ledger")) == (0, 1, 0)
