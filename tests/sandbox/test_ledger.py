"""The sandbox's ledger: which invoices are in it, how they are found, and what is refused."""

from __future__ import annotations

import asyncio
import datetime
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from ekb_async import AppCredentials, EkbSession
from ekb_async.sandbox import Fault, SampleInvoice, Vendor
from ekb_async.sandbox.vendor.invoices.entities import OBJECT_IDS
from ekb_async.sandbox.vendor.invoices.kinds import KINDS
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.support.samples import ENTITY_FIELDS
from tests.support.sandbox_calls import START, Answer, Connected, connected, content_of, post

PATH = "/api/openapi/v2/extension/INVOICE/object/{}/search"
NOTHING_ASKED = (400, "查询参数不能为空!!!")
SAMPLE_KIND = {shape.object_id: kind for kind, shape in reversed(list(KINDS.items()))}


@pytest.fixture
async def at() -> AsyncIterator[Connected]:
    """A sandbox without rate limits, and a client."""
    async with connected(ocr_rate=0, verify_rate=0) as running:
        yield running


async def search(at: Connected, body: object, object_id: str = "invoice") -> Answer:
    """Search one kind of the ledger."""
    return await at.answer_at("POST", PATH.format(object_id), body)


async def found(at: Connected, body: object, object_id: str = "invoice") -> list[Any]:
    """Return the items of a search that must succeed; `count` must be their number."""
    status, content = await search(at, body, object_id)
    assert status == 200
    assert content["count"] == len(content["items"])
    items: list[Any] = content["items"]
    return items


def add(vendor: Vendor, number: int, **invoice: Any) -> str:
    """Add an invoice with a number of eight digits, and return its ID."""
    sample = SampleInvoice(number=f"{number:08}", code="0310", **invoice)
    invoice_id = sample.id_in(vendor.rules.corporation)
    vendor.add_invoice(invoice_id, sample, at=START + number)
    return invoice_id


class TestWhatIsFound:
    @pytest.mark.parametrize("object_id", sorted(OBJECT_IDS))
    async def test_every_kind(self, at: Connected, object_id: str) -> None:
        """Each of the 13 kinds has its invoices alone, flat, with all fields of the kind, dates and the schema."""
        kind = SAMPLE_KIND[object_id]
        for number, each in enumerate(KINDS):
            add(at.box.vendor, number, kind=each)
        items = await found(at, {"index": 1, "count": 100}, object_id)
        assert len(items) == sum(shape.object_id == object_id for shape in KINDS.values())
        entity = KINDS[kind].entity
        for item in items:
            assert (item["entityId"], item["entity"]["id"]) == (entity, entity)
            assert item.keys().isdisjoint({"form", "master", "details"})
            assert ENTITY_FIELDS.get(entity, {}).keys() <= item.keys()
            assert (item["masterId"], item["flowId"], item["flowForm"], item["active"]) == (None, None, None, True)
            assert item["createTime"] == item["updateTime"] >= START * 1000
            amount = KINDS[kind].total if object_id != "invoice" else "价税合计"
            assert item[f"E_{entity}_{amount}"]["standard"] == "106.00"
            described = {field["name"] for field in item["entity"]["fields"]}
            assert {name for name in described if name not in item} == set()

    async def test_verified_and_added(self, at: Connected) -> None:
        """The ledger has invoices that were added or verified; an ID that was neither is not in it."""
        added = add(at.box.vendor, 1)
        body = {"fileName": "a.png", "fileUrl": "https://files.example/a.png", "staffId": "s"}
        item = (await at.answer("verify", body)).content["items"][0]["master"]
        object_id = next(shape.object_id for shape in KINDS.values() if shape.entity == item["entityId"])
        [verified] = await found(at, {"ids": [item["id"]]}, object_id)
        assert abs(verified["createTime"] / 1000 - time.time()) < 60
        assert [item["id"] for item in await found(at, {"ids": [added, "a:b:1"]})] == [added]

    async def test_verified_again(self, at: Connected) -> None:
        """An invoice that is verified again is in the ledger once, with its first time of creation."""
        sample = SampleInvoice(number="1", code="0310")
        at.box.vendor.rules.recognises = {"https://files.example/a.png": [sample]}
        invoice_id = sample.id_in(at.box.vendor.rules.corporation)
        at.box.vendor.add_invoice(invoice_id, sample, at=START)
        body = {"fileName": "a.png", "fileUrl": "https://files.example/a.png", "staffId": "s"}
        assert (await at.answer("verify", body)).status == 200
        [item] = await found(at, {"index": 1, "count": 100})
        assert (item["createTime"], item["updateTime"]) == (START * 1000, START * 1000)

    async def test_by_id(self, at: Connected) -> None:
        """IDs of another kind and unknown IDs are missing, and an ID asked twice is there once."""
        ids = [add(at.box.vendor, number) for number in range(3)]
        train = add(at.box.vendor, 9, kind="train")
        items = await found(at, {"ids": [*ids, ids[0], train, "a:b:1"]})
        assert sorted(item["id"] for item in items) == sorted(ids)
        assert [item["id"] for item in await found(at, {"ids": [train]}, "train")] == [train]

    async def test_by_code(self, at: Connected) -> None:
        """An invoice is found by "code:number", or by ":number" if its kind has no code; two may have the same."""
        vendor = at.box.vendor
        digital = SampleInvoice(kind="digital_normal", number="24312000000123456789")
        for suffix in ("", ":2"):
            vendor.add_invoice(digital.id_in("corp") + suffix, digital)
        vat, train = add(vendor, 7), add(vendor, 8, kind="train")
        codes = ["0310:00000007", "0310:00000007", ":24312000000123456789", ":00000007", "9:9"]
        assert [item["id"] for item in await found(at, {"codes": codes[:2]})] == [vat]
        assert len(await found(at, {"codes": codes})) == 3
        assert [item["id"] for item in await found(at, {"codes": [":00000008"]}, "train")] == [train]
        assert await found(at, {"codes": ["0310:00000008"]}, "train") == []

    async def test_ids_before_codes_before_pages(self, at: Connected) -> None:
        """With IDs, codes and pages are ignored, and with codes the page is."""
        first, second, _ = (add(at.box.vendor, number) for number in range(3))
        body: dict[str, object] = {"ids": [first], "codes": ["0310:00000001"], "index": 0, "count": 1}
        assert [item["id"] for item in await found(at, body)] == [first]
        assert [item["id"] for item in await found(at, body | {"ids": []})] == [second]
        assert (await search(at, body | {"ids": [], "codes": None})).refusal == (400, "当前页不能为0")

    async def test_removed(self, at: Connected) -> None:
        """An invoice that was removed is unknown to every call until it is added again."""
        invoice_id = add(at.box.vendor, 1)
        at.box.vendor.remove_invoice(invoice_id)
        for body in ({"ids": [invoice_id]}, {"codes": ["0310:00000001"]}, {"index": 1, "count": 10}):
            assert await found(at, body) == []
        assert (await at.answer("invoice_url", {"invoiceId": [invoice_id]})).content == {"items": []}
        assert (await at.answer("verify_by_id", {"invoiceId": invoice_id})).refusal == (400, "查验成功所查发票不存在")
        at.box.vendor.add_invoice(invoice_id)
        assert len(await found(at, {"ids": [invoice_id]})) == 1

    async def test_not_verified(self, at: Connected) -> None:
        """An invoice can be in the ledger without the tax authority's confirmation."""
        add(at.box.vendor, 1, verified=False)
        add(at.box.vendor, 2, kind="non_tax", verified=False)
        add(at.box.vendor, 3)
        items = await found(at, {"index": 1, "count": 10}) + await found(at, {"index": 1, "count": 10}, "noTaxIncome")
        assert [item["E_system_发票主体_验真"] for item in items] == [True, False, False]


class TestPages:
    async def test_all_pages(self, at: Connected) -> None:
        """Pages start at 1 and do not overlap, `count` is the total, and beyond the last page there is nothing."""
        ids = [add(at.box.vendor, number) for number in range(23)]
        pages = [(await search(at, {"index": index, "count": 10})).content for index in range(1, 5)]
        assert [page["count"] for page in pages] == [23] * 4
        assert [len(page["items"]) for page in pages] == [10, 10, 3, 0]
        assert [item["id"] for page in pages for item in page["items"]] == ids[::-1]

    @pytest.mark.parametrize(
        ("order", "expected"), [("newest", [3, 2, 1, 0]), ("oldest", [0, 1, 2, 3]), ("updated", [1, 3, 2, 0])]
    )
    async def test_order(self, order: Any, expected: list[int]) -> None:
        """The rule `ledger_order` decides between the time of creation and that of the last update."""
        async with connected(ledger_order=order) as at:
            ids = [add(at.box.vendor, number) for number in (0, 3, 1, 2)]
            changed = SampleInvoice(number="00000001", code="0310", buyer="另一家公司")
            at.box.vendor.add_invoice(ids[2], changed, at=START + 50)
            items = await found(at, {"index": 1, "count": 10})
            assert [int(item["id"][-1]) for item in items] == expected
            [one] = [item for item in items if item["id"] == ids[2]]
            assert (one["createTime"], one["updateTime"]) == ((START + 1) * 1000, (START + 50) * 1000)
            assert one["E_system_发票主体_购买方名称"] == "另一家公司"

    async def test_equal_times(self, at: Connected) -> None:
        """Of invoices with equal times, the one that was added last is the newest."""
        ids = [f"c:1:{number}" for number in range(20)]
        for invoice_id in ids:
            at.box.vendor.add_invoice(invoice_id, at=START)
        assert [item["id"] for item in await found(at, {"index": 1, "count": 100})] == ids[::-1]

    async def test_changes_between_pages(self, at: Connected) -> None:
        """A new invoice moves the others back by one, as in any list that is read page by page."""
        ids = [add(at.box.vendor, number) for number in range(4)]
        first = (await search(at, {"index": 1, "count": 2})).content["items"]
        add(at.box.vendor, 9)
        second = (await search(at, {"index": 2, "count": 2})).content["items"]
        assert [item["id"] for item in first + second] == [ids[3], ids[2], ids[2], ids[1]]


class TestDocumentsOfInvoices:
    async def test_linking(self, at: Connected) -> None:
        """An invoice linked to a document is no longer active, names the document, and counts as updated."""
        invoice_id, other = add(at.box.vendor, 1), add(at.box.vendor, 2)
        at.box.vendor.add_flow(code="B1", flow_id="F1", invoice_ids=[invoice_id], at=START + 60)
        [item] = await found(at, {"ids": [invoice_id]})
        assert (item["active"], item["flowId"], item["flowForm"]["code"]) == (False, "F1", "B1")
        assert (item["createTime"], item["updateTime"]) == ((START + 1) * 1000, (START + 60) * 1000)
        [unused] = await found(at, {"ids": [other]})
        assert (unused["active"], unused["flowId"]) == (True, None)

    @pytest.mark.parametrize("object_id", sorted(OBJECT_IDS))
    async def test_object_id(self, at: Connected, object_id: str) -> None:
        """The invoices of a document come with the word for their kind, by which the ledger finds them."""
        invoice_id = add(at.box.vendor, 1, kind=SAMPLE_KIND[object_id])
        at.box.vendor.add_flow(code="B1", flow_id="F1", invoice_ids=[invoice_id])
        answer = await at.answer("flow_invoices", {"type": "code", "codeOrIds": ["B1"]})
        [ref] = answer.content["value"]["B1"]
        assert (ref["invoiceId"], ref["invoiceType"]) == (invoice_id, object_id)
        assert len(await found(at, {"ids": [invoice_id]}, ref["invoiceType"])) == 1

    async def test_linked_without_being_added(self, at: Connected) -> None:
        """An invoice that is known only as part of a document is in the ledger too."""
        at.box.vendor.add_flow(code="B1", flow_id="F1", invoice_ids=["c:1:00000007"])
        [item] = await found(at, {"codes": ["1:00000007"]})
        assert (item["id"], item["flowId"]) == ("c:1:00000007", "F1")


class TestRefusals:
    async def test_unknown_kind(self, at: Connected) -> None:
        """An object ID that does not exist is refused by name."""
        for object_id in ("lottery", "Invoice", "发票"):
            assert (await search(at, {"ids": ["a"]}, object_id)).refusal == (400, f"不支持的业务对象「{object_id}」")

    async def test_kinds_of_the_deployment(self) -> None:
        """The rule `ledger_kinds` leaves out kinds that a deployment does not have."""
        async with connected(ledger_kinds={"invoice", "train"}) as at:
            assert await found(at, {"index": 1, "count": 1}, "train") == []
            assert (await search(at, {"index": 1, "count": 1}, "overseasInvoice")).refusal == (
                400,
                "不支持的业务对象「overseasInvoice」",
            )

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"ids": []},
            {"ids": [None]},
            {"ids": ["a:b:1", None]},
            {"ids": [""]},
            {"ids": ["a:b:1", "  "]},
            {"codes": [None]},
            {"codes": [""]},
            {"index": 1},
            {"count": 10},
        ],
        ids=str,
    )
    async def test_nothing_asked(self, at: Connected, body: object) -> None:
        """A search for nothing, null or a blank is refused as a whole."""
        assert (await search(at, body)).refusal == NOTHING_ASKED

    @pytest.mark.parametrize("index", [0, -1])
    async def test_page_zero(self, at: Connected, index: int) -> None:
        """Pages are counted from 1."""
        assert (await search(at, {"index": index, "count": 10})).refusal == (400, "当前页不能为0")

    @pytest.mark.parametrize("count", [0, 101])
    async def test_size_of_a_page(self, at: Connected, count: int) -> None:
        """A page has 1 to 100 items."""
        assert (await search(at, {"index": 1, "count": count})).status == 400

    @pytest.mark.parametrize(
        "body", [[], {"ids": "a"}, {"ids": [5]}, {"codes": {}, "ids": 7}, {"index": "1", "count": 1}], ids=str
    )
    async def test_wrong_types(self, at: Connected, body: object) -> None:
        """An argument of a wrong type is refused with 412."""
        assert (await search(at, body)).refusal == (412, "JSON请求参数不正确")

    @pytest.mark.parametrize("name", ["ids", "codes"])
    async def test_more_than_a_hundred(self, at: Connected, name: str) -> None:
        """A hundred IDs or codes pass; one more is answered with status 200 and a bare Chinese text."""
        values = [f"c:1:{number}" for number in range(101)]
        assert (await search(at, {name: values[:100]})).status == 200
        status, content = await search(at, {name: values})
        assert status == 200
        assert isinstance(content, str)
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(content)

    async def test_poisonous_id(self, at: Connected) -> None:
        """An ID that the vendor refuses fails the whole search."""
        invoice_id = add(at.box.vendor, 1)
        assert (await search(at, {"ids": [invoice_id, "bad-1"]})).status == 400

    async def test_token_and_method(self, at: Connected) -> None:
        """The search needs a token and is a POST."""
        async with at.http.post(PATH.format("invoice"), json={"ids": ["a"]}) as answer:
            assert answer.status == 401
        assert (await at.answer_at("GET", PATH.format("invoice"))).status == 405


async def test_log_faults_and_latency(at: Connected) -> None:
    """The search is logged by its name, and takes faults and latency like every call."""
    at.box.faults.append(Fault.answer(503, calls="ledger", times=1))
    assert (await search(at, {"ids": ["a"]})).status == 503
    at.box.latency["ledger"] = 60
    slow = asyncio.ensure_future(search(at, {"ids": ["a"]}))
    await at.box.arrived("ledger", 2)
    assert [(entry.call, entry.status) for entry in at.box.log] == [("ledger", 503), ("ledger", 200)]
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])


def test_times_without_a_time() -> None:
    """What is added without a time gets the vendor's own, which `use_clock` sets."""
    vendor = Vendor()
    vendor.use_clock(lambda: START + 5)
    vendor.add_invoice("c:1:1")
    body = {"index": 1, "count": 1}
    [item] = content_of(post(vendor, "", body, path=PATH.format("invoice")))["items"]
    assert item["createTime"] == (START + 5) * 1000
    assert item["E_system_发票主体_发票日期"] < datetime.datetime.now().timestamp() * 1000


def test_changes_in_another_thread() -> None:
    """A list that is read while another thread adds to it lacks nothing once the thread is done."""
    body, path = {"index": 1, "count": 1}, PATH.format("invoice")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):
            vendor = Vendor()
            ids = [f"c:1:{number:08}" for number in range(20)]
            adding = threading.Thread(target=lambda vendor=vendor, ids=ids: [vendor.add_invoice(each) for each in ids])
            adding.start()
            while adding.is_alive():
                content_of(post(vendor, "", body, path=path))
            adding.join()
            assert content_of(post(vendor, "", body, path=path))["count"] == 20
    finally:
        sys.setswitchinterval(interval)


def test_virtual_time() -> None:
    """On virtual time, what is added without a time is stamped with the time of the calls."""
    vendor = Vendor()
    transport = InMemoryTransport(vendor)

    async def run() -> int:
        started = time.time()
        keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
        async with EkbSession(keys, transport=transport) as ekb:
            await ekb.invoice_urls(["a:b:1"])
            await asyncio.sleep(86_400)
            vendor.add_invoice("c:1:1")
            [invoice] = (await ekb.ledger_invoices(["c:1:1"])).values()
        assert invoice is not None
        assert invoice.created_at is not None
        return round((invoice.created_at.timestamp() - started) / 3600)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run()) == 24
