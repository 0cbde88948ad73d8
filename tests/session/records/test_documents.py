"""Documents with their invoices and files, in the order of their changes, while more of them change."""

from __future__ import annotations

import asyncio
import datetime
import random
from decimal import Decimal
from typing import Any

import pytest

from ekb_async import AppCredentials, Attachment, ConfigError, EkbSession, ResponseError, ServerError
from ekb_async.models import Document, DocumentFiles
from ekb_async.sandbox import Fault, SampleInvoice, Sandbox, Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.support.canned_vendor import CannedVendor, reply, session_with
from tests.support.documented import names_of_program

BEGIN = 1_750_000_000.0


def moment(seconds: float) -> datetime.datetime:
    """Return a time in epoch seconds with a time zone."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


async def test_a_document_has_its_invoices_and_files(box: Sandbox, ekb: EkbSession) -> None:
    """The invoices of all items come with the IDs of their lines, the attachments as `ocr` takes them."""
    file = box.vendor.add_file(b"%PDF-1", "hotel.pdf")
    box.vendor.add_invoice("c:1:2")
    box.vendor.add_document(
        id="f1",
        code="B1",
        title="出差",
        submitter_id="c:7",
        owner_id="c:8",
        invoices=[("c:1:2", ["l1", "l2"], Decimal("6.00"), Decimal(6))],
        attachments=[(file, "hotel.pdf")],
        at=BEGIN + 0.5,
    )
    [document] = [each async for each in ekb.documents()]
    assert isinstance(document, Document)
    assert (document.id, document.code, document.type, document.state) == ("f1", "B1", "expense", "paid")
    assert (document.title, document.submitter_id, document.owner_id) == ("出差", "c:7", "c:8")
    assert (document.updated_at, document.is_deleted) == (moment(BEGIN + 0.5), False)
    [invoice] = document.invoices
    assert (invoice.invoice_id, invoice.item_ids, invoice.tax_amount, invoice.tax_rate) == (
        "c:1:2",
        ["l1", "l2"],
        Decimal("6.00"),
        Decimal("0.06"),
    )
    [attachment] = document.attachments
    assert (attachment.name, attachment.attachment) == ("hotel.pdf", file)
    assert document.to_dict()["invoices"][0]["invoice_id"] == "c:1:2"
    assert Document.from_raw(document.raw) == document


@pytest.mark.parametrize(
    "form",
    [
        None,
        7,
        "x",
        [],
        {"details": None},
        {"details": 7},
        {"details": [None, 7, "x", {}, {"feeTypeForm": None}, {"feeTypeForm": []}]},
        {"details": [{"feeTypeForm": {"invoiceForm": None, "attachments": None}}]},
        {
            "details": [
                {"feeTypeForm": {"invoiceForm": {"type": "noExist", "invoices": [{}, None]}, "attachments": [1]}}
            ]
        },
        {"code": {}, "title": 7, "attachments": {}},
    ],
)
async def test_a_document_of_any_shape_is_read(form: object) -> None:
    """Whatever is in the form, the document has a list of invoices and a list of attachments."""
    vendor = CannedVendor(documents=reply(200, {"count": 1, "items": [{"id": "f1", "form": form}]}))
    async with session_with(vendor) as ekb:
        [document] = [each async for each in ekb.documents()]
    assert (document.id, document.invoices, document.attachments) == ("f1", [], [])
    assert isinstance(document.title, str | None)


async def test_deleted_documents_are_recognisable(box: Sandbox, ekb: EkbSession) -> None:
    """A deletion is a change, after which the document is returned as deleted."""
    box.vendor.add_document(id="f1", at=BEGIN)
    box.vendor.add_document(id="f2", at=BEGIN + 1)
    box.vendor.delete_document("f1", at=BEGIN + 60)
    found = [(each.id, each.is_deleted) async for each in ekb.documents()]
    assert found == [("f2", False), ("f1", True)]
    since = [each.id async for each in ekb.documents(updated_since=moment(BEGIN + 30))]
    assert since == ["f1"]


async def test_states_types_and_times_limit_the_walk(box: Sandbox, ekb: EkbSession) -> None:
    """One state is asked for, several are chosen from all; changes from the end of the period on are left out."""
    states = ["draft", "paid", "archived"]
    for number in range(30):
        box.vendor.add_document(id=f"f{number}", state=states[number % 3], at=BEGIN + number)
    box.vendor.add_document(id="loan", type="loan", at=BEGIN)
    paid = [each.id async for each in ekb.documents(states=["paid"])]
    assert paid == [f"f{number}" for number in range(1, 30, 3)]
    both = [each.id async for each in ekb.documents(states=["paid", "archived"])]
    assert both == [f"f{number}" for number in range(30) if number % 3]
    assert [each.id async for each in ekb.documents("loan")] == ["loan"]
    until = [each.id async for each in ekb.documents(updated_until=moment(BEGIN + 10))]
    assert until == [f"f{number}" for number in range(10)]
    some = ekb.documents(updated_since=moment(BEGIN + 20), updated_until=moment(BEGIN + 22.5))
    assert [each.id async for each in some] == [f"f{number}" for number in range(15, 23)]


async def test_five_thousand_documents_take_few_requests(box: Sandbox, ekb: EkbSession) -> None:
    """Each comes once, also if hundreds were changed in one second."""
    chance = random.Random(7)
    times = [BEGIN + 7] * 700 + [BEGIN + chance.uniform(0, 4000) for _ in range(4300)]
    for number, at in enumerate(times):
        box.vendor.add_document(id=f"f{number}", at=at)
    walk = ekb.documents()
    found = [each.id async for each in walk]
    assert sorted(map(str, found)) == sorted(f"f{number}" for number in range(5000))
    assert box.count("documents") <= 70
    assert walk.next_since == moment(int(max(times) * 1000) / 1000)


async def test_a_walk_goes_on_after_an_error(box: Sandbox, ekb: EkbSession) -> None:
    """A page that fails for good raises its error, and iterating again reads it again."""
    for number in range(250):
        box.vendor.add_document(id=f"f{number}", at=BEGIN + number)
    walk = ekb.documents()
    found = [(await anext(walk)).id for _ in range(100)]
    box.faults.append(Fault.answer(500, "系统异常", calls={"documents"}, times=1))
    with pytest.raises(ServerError):
        await anext(walk)
    found += [each.id async for each in walk]
    assert found == [f"f{number}" for number in range(250)]


@pytest.mark.parametrize("is_sorted", [True, False])
async def test_a_platform_that_ignores_the_period_is_walked(*, is_sorted: bool) -> None:
    """If the vendor neither selects nor sorts by time, every document is returned once all the same."""
    items = [{"id": f"f{number}", "updateTime": int((BEGIN + number) * 1000)} for number in range(450)]
    if not is_sorted:
        random.Random(3).shuffle(items)

    def answer(request: Any) -> Any:
        start = int(dict(request.query)["start"])
        return reply(200, {"count": len(items), "items": items[start : start + 100]})

    async with session_with(CannedVendor(documents=answer)) as ekb:
        found = [each.id async for each in ekb.documents()]
    assert sorted(str(each) for each in found) == sorted(str(item["id"]) for item in items)


@pytest.mark.parametrize("count", [0, 10, 150, 250, 400, None])
async def test_a_wrong_count_hides_nothing_and_ends(count: int | None) -> None:
    """The vendor may count all documents instead of those of the period, or fewer than it lists."""
    items = [{"id": f"f{number}", "updateTime": int((BEGIN + number) * 1000)} for number in range(150)]

    def answer(request: Any) -> Any:
        query = dict(request.query)
        since = datetime.datetime.fromisoformat(query["startDate"] + "+08:00").timestamp() * 1000
        chosen = [item for item in items if int(str(item["updateTime"])) >= since]
        return reply(200, {"count": count, "items": chosen[int(query["start"]) :][:100]})

    vendor = CannedVendor(documents=answer)
    async with session_with(vendor) as ekb:
        found = [each.id async for each in ekb.documents()]
    assert found == [f"f{number}" for number in range(150)]
    assert vendor.sent["documents"] <= 5


async def test_pages_that_repeat_are_an_error() -> None:
    """If page after page has nothing new, the walk raises `ResponseError` instead of going on without end."""
    items = [{"id": f"f{number}", "updateTime": int(BEGIN * 1000)} for number in range(100)]
    vendor = CannedVendor(documents=reply(200, {"items": items}))
    async with session_with(vendor) as ekb:
        with pytest.raises(ResponseError, match="repeat"):
            [each async for each in ekb.documents()]


@pytest.mark.parametrize("is_sorted", [True, False])
async def test_a_walk_that_stops_in_a_page_tells_where_to_go_on(*, is_sorted: bool) -> None:
    """A later walk from `next_since` returns every document that the first has not."""
    items = [{"id": f"f{number}", "updateTime": int((BEGIN + 60 * number) * 1000)} for number in range(250)]
    if not is_sorted:
        random.Random(3).shuffle(items)
    vendor = CannedVendor(documents=lambda request: reply(200, {"count": 250, "items": chosen(items, request)}))
    async with session_with(vendor) as ekb:
        for stop in (1, 10, 99, 100, 101, 180):
            walk = ekb.documents()
            found = {(await anext(walk)).id for _ in range(stop)}
            found |= {each.id async for each in ekb.documents(updated_since=walk.next_since)}
            assert len(found) == 250


def chosen(items: list[dict[str, Any]], request: Any) -> list[dict[str, Any]]:
    """Return the page of the items that a request asks for, in their order."""
    query = dict(request.query)
    since = datetime.datetime.fromisoformat(query["startDate"] + "+08:00").timestamp() * 1000
    return [item for item in items if item["updateTime"] >= since][int(query["start"]) :][:100]


async def test_several_tasks_share_a_walk(box: Sandbox, ekb: EkbSession) -> None:
    """Each document goes to one of them, also if many were changed in one second."""
    for number in range(500):
        box.vendor.add_document(id=f"f{number}", at=BEGIN)
    box.latency = {"documents": 0.01}
    walk = ekb.documents()

    async def ids() -> list[str]:
        return [str(each.id) async for each in walk]

    found = await asyncio.gather(*(ids() for _ in range(5)))
    assert sorted(each for one in found for each in one) == sorted(f"f{number}" for number in range(500))


@pytest.mark.parametrize("since", [datetime.datetime.min, datetime.datetime(1900, 1, 1), datetime.datetime.max])
async def test_any_time_can_be_given(box: Sandbox, ekb: EkbSession, since: datetime.datetime) -> None:
    """Times before the first document and in the far future are no error."""
    box.vendor.add_document(id="f1", at=BEGIN)
    time = since.replace(tzinfo=datetime.UTC)
    assert len([each async for each in ekb.documents(updated_since=time)]) == (since.year < 2000)
    assert len([each async for each in ekb.documents(updated_until=time)]) == (since.year > 2000)


class History:
    """Documents that change at random while they are read, and the last change of each."""

    def __init__(self, seed: int, count: int) -> None:
        self.chance = random.Random(seed)
        self.vendor = Vendor()
        self.now = BEGIN + 10_000.0
        self.latest: dict[str, float] = {}
        # Some documents were changed together by one job.
        burst = BEGIN + self.chance.uniform(0, 9_000)
        for number in range(count):
            at = burst + self.chance.random() if self.chance.random() < 0.4 else BEGIN + self.chance.uniform(0, 9_000)
            self.change(f"f{number}", at)

    def change(self, document_id: str, at: float) -> None:
        """Add, change or delete a document."""
        at = int(at * 1000) / 1000
        if document_id not in self.latest:
            self.vendor.add_document(id=document_id, at=at)
        elif self.chance.random() < 0.2:
            self.vendor.delete_document(document_id, at=at)
        else:
            self.vendor.change_document(document_id, state=self.chance.choice(["paid", "archived"]), at=at)
        self.latest[document_id] = at

    def move_on(self) -> None:
        """Let a second pass or none, in which some documents change, several of them together."""
        self.now += self.chance.choice([0, 0, 0.4, 1.0, 3.0])
        for _ in range(self.chance.choice([0, 0, 1, 3, 40])):
            self.change(f"f{self.chance.randrange(len(self.latest) + 3)}", self.now)

    async def run(self) -> list[str]:
        """Walk twice while documents change; return those whose last change neither walk has returned."""
        keys = AppCredentials(app_key=self.vendor.rules.app_key, app_security=self.vendor.rules.app_security)
        seen: set[tuple[str | None, float]] = set()
        async with EkbSession(keys, transport=InMemoryTransport(self.vendor)) as ekb:
            first = ekb.documents()
            async for document in first:
                seen.add((document.id, document.updated_at.timestamp() if document.updated_at else 0))
                if self.chance.random() < 0.02:
                    self.move_on()
            async for document in ekb.documents(updated_since=first.next_since):
                seen.add((document.id, document.updated_at.timestamp() if document.updated_at else 0))
        return [each for each, at in self.latest.items() if (each, at) not in seen]


@pytest.mark.parametrize("part", range(6))
def test_no_change_during_a_walk_is_missed(part: int) -> None:
    """In 300 random histories, every last change is returned by the walk during which it happened or by the next."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        for seed in range(part * 50, part * 50 + 50):
            missed = runner.run(History(seed, 260).run())
            assert not missed, f"history {seed}"


@pytest.mark.parametrize(
    "arguments",
    [
        {"type": "invoice"},
        {"type": None},
        {"states": "paid"},
        {"states": [7]},
        {"updated_since": datetime.datetime(2024, 1, 1)},
        {"updated_since": datetime.date(2024, 1, 1)},
        {"updated_until": "2024-01-01"},
    ],
)
async def test_wrong_arguments_are_refused(box: Sandbox, ekb: EkbSession, arguments: dict[str, Any]) -> None:
    """They raise `ConfigError` before anything is sent."""
    with pytest.raises(ConfigError):
        ekb.documents(**arguments)
    assert not box.log


async def test_the_files_of_documents_have_urls(box: Sandbox, ekb: EkbSession) -> None:
    """Attached files and the files of invoices have URLs for an hour, the latter the code and number they belong to."""
    file = box.vendor.add_file(b"%PDF-1", "hotel.pdf")
    box.vendor.add_invoice("c:044:123", SampleInvoice(code="044", number="123"))
    box.vendor.add_document(id="f1", code="B1", invoices=["c:044:123"], attachments=[(file, "hotel.pdf")])
    found = await ekb.document_files(["f1", "unknown", "f1"])
    assert list(found) == ["f1", "unknown"]
    assert found["unknown"] is None
    files = found["f1"]
    assert isinstance(files, DocumentFiles)
    assert files.code == "B1"
    [attached], [invoice] = files.files, files.invoice_files
    assert (attached.id, attached.key, attached.name) == (file.id, file.key, "hotel.pdf")
    assert (invoice.code, invoice.number) == ("044", "123")
    assert [place.type for place in files.places] == ["flow.free"]
    for each in (attached, invoice):
        assert each.url
        assert each.expires_at is not None
        signature = each.url.partition("?")[2]
        assert signature
        assert signature not in f"{each!r}{files!r}"
    assert await ekb.ocr(Attachment(attached.id or "", attached.key or ""))


async def test_many_documents_take_a_request_for_each_hundred(box: Sandbox, ekb: EkbSession) -> None:
    """250 IDs are asked for in three requests."""
    for number in range(250):
        box.vendor.add_document(id=f"f{number}", at=BEGIN)
    found = await ekb.document_files([f"f{number}" for number in range(250)])
    assert len(found) == 250
    assert box.count("document_files") == 3


async def test_the_documented_program_lists_invoices(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program in docs/en/records.md prints the invoices of documents that were paid since yesterday."""
    box.vendor.add_invoice("c:044:123", SampleInvoice(code="044", number="123", total=Decimal("10.60")))
    box.vendor.add_document(id="f1", invoices=["c:044:123"])
    box.vendor.add_document(id="f2", invoices=["c:044:124"], state="draft")
    program = names_of_program("invoices_of_yesterday", box, monkeypatch, "records.md")
    assert await program["invoices_of_yesterday"]() == ["增值税电子普通发票 123 杭州云栖酒店管理有限公司 10.60"]
