"""The sandbox's documents: their list, their invoices and their files."""

from __future__ import annotations

import datetime
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ekb_async.models.files import Attachment
from ekb_async.sandbox import SampleInvoice, Vendor
from ekb_async.sandbox.vendor.books.documents import DOCUMENT_TYPES
from tests.support.sandbox_calls import START, Connected, connected

UTC8 = datetime.timezone(datetime.timedelta(hours=8))
LEDGER = "/api/openapi/v2/extension/INVOICE/object/invoice/search"
PNG = b"\x89PNG\r\n\x1a\n and then some"


@pytest.fixture
async def at() -> AsyncIterator[Connected]:
    """A sandbox without rate limits, and a client."""
    async with connected(ocr_rate=0, verify_rate=0) as running:
        yield running


def clock(seconds: float) -> str:
    """Return `START` and so many seconds as the list takes times."""
    return f"{datetime.datetime.fromtimestamp(START + seconds, UTC8):%Y-%m-%d %H:%M:%S}"


async def listed(at: Connected, **query: object) -> Any:
    """Return the list of documents, by default of all expense claims by their last update."""
    given: dict[str, object] = {"type": "expense", "start": 0, "count": 100} | query
    status, content = await at.answer("documents", **given)
    assert status == 200, content
    return content


async def codes(at: Connected, **query: object) -> list[str]:
    """Return the codes in a list of documents."""
    return [item["code"] for item in (await listed(at, **query))["items"]]


async def in_ledger(at: Connected, invoice_id: str) -> Any:
    """Return an invoice's item in the ledger."""
    [item] = (await at.answer_at("POST", LEDGER, {"ids": [invoice_id]})).content["items"]
    return item


class TestList:
    async def test_one_document(self, at: Connected) -> None:
        """A document has its invoices with lines, tax and rate, and its files, on its items."""
        vendor = at.box.vendor
        file = vendor.add_file(PNG, "合同.png")
        other = Attachment(id="f2", key="k2.png")
        vendor.add_document(
            id="F1",
            code="B1",
            title="出差",
            state="approving",
            submitter_id="c:s",
            owner_id="c:o",
            invoices=["c:1:00000001", ("c:1:00000002", ["line"], Decimal("1.5"), "9.0000")],
            attachments=[file, (other, "其他.png")],
            at=START,
        )
        content = await listed(at)
        [item] = content["items"]
        assert content["count"] == 1
        head = {name: item[name] for name in ("id", "code", "state", "formType", "updateTime", "active", "ownerId")}
        assert head == {
            "id": "F1",
            "code": "B1",
            "state": "approving",
            "formType": "expense",
            "updateTime": START * 1000,
            "active": True,
            "ownerId": "c:o",
        }
        assert (item["form"]["code"], item["form"]["title"], item["form"]["submitterId"]) == ("B1", "出差", "c:s")
        parts = [detail["feeTypeForm"] for detail in item["form"]["details"]]
        assert {part["invoiceForm"]["type"] for part in parts} == {"exist"}
        whole, part = (invoice for each in parts for invoice in each["invoiceForm"]["invoices"])
        path = "/api/openapi/v2/extension/INVOICE/object/invoice/c:1:00000001/detail"
        lines = (await at.answer_at("POST", path)).content["items"]
        assert (whole["invoiceId"], whole["itemIds"]) == ("c:1:00000001", [line["id"] for line in lines])
        assert (part["invoiceId"], part["itemIds"], part["taxRate"]) == ("c:1:00000002", ["line"], "9.0000")
        assert part["taxAmount"]["standard"] == "1.50"
        assert [each for one in parts for each in one["attachments"]] == [
            {"fileId": file.id, "fileName": "合同.png", "key": file.key},
            {"fileId": "f2", "fileName": "其他.png", "key": "k2.png"},
        ]

    async def test_without_invoices(self, at: Connected) -> None:
        """A document without invoices has one item that says so."""
        at.box.vendor.add_document(id="F1")
        [item] = (await listed(at))["items"]
        assert item["code"] == "F1"
        [detail] = item["form"]["details"]
        assert detail["feeTypeForm"]["invoiceForm"] == {"type": "noExist", "invoices": []}

    async def test_types(self, at: Connected) -> None:
        """Each type has its own list."""
        for kind in DOCUMENT_TYPES:
            at.box.vendor.add_document(id=f"F-{kind}", type=kind)
        for kind in DOCUMENT_TYPES:
            assert await codes(at, type=kind) == [f"F-{kind}"]

    async def test_pages(self, at: Connected) -> None:
        """`start` counts from 0, `count` in the answer is the total, and beyond the end there is nothing."""
        names = [f"B{number:02}" for number in range(23)]
        for number, name in enumerate(names):
            at.box.vendor.add_document(id=name, at=START + number)
        pages = [await listed(at, start=start, count=10) for start in (0, 10, 20, 30)]
        assert [page["count"] for page in pages] == [23] * 4
        assert [item["code"] for page in pages for item in page["items"]] == names
        assert await codes(at, start=0, count=3, orderByType="desc") == names[:-4:-1]

    async def test_states(self, at: Connected) -> None:
        """The list can be limited to one state, or to several with commas between them."""
        for state in ("draft", "approving", "paid"):
            at.box.vendor.add_document(id=state, state=state)
        assert await codes(at, state="paid") == ["paid"]
        assert await codes(at, state="paid,draft") == ["draft", "paid"]
        assert await codes(at, state="sending") == []

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            ("createTime", ["A", "B", "C"]),
            ("updateTime", ["B", "C", "A"]),
            ("submitDate", ["C", "A", "B"]),
            ("payDate", ["B", "A"]),
        ],
    )
    async def test_orders(self, at: Connected, order: str, expected: list[str]) -> None:
        """The list is ordered, and limited by date, by the time that was asked for."""
        vendor = at.box.vendor
        vendor.add_document(id="A", state="draft", at=START)
        vendor.add_document(id="B", state="paid", submitted_at=START + 60, paid_at=START + 70, at=START + 1)
        vendor.add_document(id="C", state="draft", at=START + 2)
        vendor.change_document("A", state="approving", at=START + 50)
        vendor.change_document("A", state="paid", at=START + 80)
        dates = {"startDate": clock(0)} if order == "payDate" else {}
        assert await codes(at, orderBy=order, **dates) == expected
        assert await codes(at, orderBy=order, orderByType="desc", **dates) == expected[::-1]

    async def test_dates(self, at: Connected) -> None:
        """Both dates are inclusive, in seconds at UTC+8, and apply to the time that the list is ordered by."""
        for number in range(5):
            at.box.vendor.add_document(id=f"B{number}", at=START + number)
        at.box.vendor.change_document("B0", title="neu", at=START + 100)
        assert await codes(at, startDate=clock(1), endDate=clock(3)) == ["B1", "B2", "B3"]
        assert await codes(at, startDate=clock(3)) == ["B3", "B4", "B0"]
        assert await codes(at, endDate=clock(2)) == ["B1", "B2"]
        assert await codes(at, orderBy="createTime", endDate=clock(2)) == ["B0", "B1", "B2"]
        assert (await listed(at, startDate=clock(1), endDate=clock(3), count=1))["count"] == 3

    async def test_a_time_the_document_does_not_have(self, at: Connected) -> None:
        """A draft has no time of submission, so a list limited by that time does not have it."""
        at.box.vendor.add_document(id="draft", state="draft", at=START)
        at.box.vendor.add_document(id="sent", state="approving", at=START)
        assert await codes(at, orderBy="submitDate", endDate=clock(9)) == ["sent"]
        assert await codes(at, orderBy="submitDate") == ["draft", "sent"]

    async def test_deleted(self, at: Connected) -> None:
        """A deleted document is no longer active and counts as updated; `active=true` leaves it out."""
        for name in ("A", "B"):
            at.box.vendor.add_document(id=name, at=START)
        at.box.vendor.delete_document("A", at=START + 60)
        assert await codes(at, active="true") == ["B"]
        for query in ({}, {"active": "false"}):
            found = (await listed(at, **query))["items"]
            assert [(item["code"], item["active"]) for item in found] == [("B", True), ("A", False)]
        assert found[1]["updateTime"] == (START + 60) * 1000
        assert (await at.answer("flow_invoices", {"type": "code", "codeOrIds": ["A"]})).content == {"value": {}}

    async def test_changed(self, at: Connected) -> None:
        """A change shows at once, in the list of the new type only."""
        at.box.vendor.add_document(id="A", code="B1", at=START)
        assert await codes(at) == ["B1"]
        at.box.vendor.change_document("A", code="B2", type="loan", title="借款", at=START + 5)
        assert await codes(at) == []
        [item] = (await listed(at, type="loan"))["items"]
        assert (item["code"], item["form"]["title"], item["updateTime"]) == ("B2", "借款", (START + 5) * 1000)
        refs = await at.answer("flow_invoices", {"type": "code", "codeOrIds": ["B1", "B2"]})
        assert refs.content == {"value": {"B2": []}}

    def test_unknown_types_and_documents(self) -> None:
        """An unknown type raises `ValueError` and changes nothing, an unknown document `KeyError`."""
        vendor = Vendor()
        with pytest.raises(ValueError, match="type must be one of"):
            vendor.add_document(id="A", type="bill")
        with pytest.raises(KeyError):
            vendor.change_document("A", state="paid")
        with pytest.raises(KeyError):
            vendor.delete_document("A")


class TestRefusals:
    @pytest.mark.parametrize(
        "change",
        [
            {"type": "bill"},
            {"type": ""},
            {"count": 101},
            {"count": 0},
            {"count": ""},
            {"start": -1},
            {"start": "x"},
            {"orderBy": "title"},
            {"orderByType": "up"},
            {"active": "yes"},
            {"startDate": "2024-01-01"},
            {"startDate": "2024-13-01 00:00:00"},
            {"endDate": "1704067200000"},
        ],
        ids=str,
    )
    async def test_wrong_parameters(self, at: Connected, change: dict[str, object]) -> None:
        """Each parameter that is missing or out of its range is refused with 400, and named."""
        query: dict[str, object] = {"type": "expense", "start": 0, "count": 100}
        status, text = (await at.answer("documents", **query | change)).refusal
        assert status == 400
        assert next(iter(change)) in text

    async def test_payment_needs_a_date(self, at: Connected) -> None:
        """The order by the date of payment needs at least one of the two dates."""
        query: dict[str, object] = {"type": "expense", "start": 0, "count": 10, "orderBy": "payDate"}
        assert (await at.answer("documents", **query)).status == 400
        for name in ("startDate", "endDate"):
            assert (await at.answer("documents", **query | {name: clock(0)})).status == 200


class TestInvoices:
    async def test_links(self, at: Connected) -> None:
        """The ledger shows which document an invoice is on, while it is on it."""
        vendor = at.box.vendor
        for number in (1, 2):
            vendor.add_invoice(f"c:1:0000000{number}", at=START)
        shown: dict[str, Any] = {"code": "B1", "title": "出差", "submitter_id": "c:s"}
        vendor.add_document(id="F1", invoices=["c:1:00000001"], at=START + 1, **shown)
        first = await in_ledger(at, "c:1:00000001")
        assert (first["active"], first["flowId"], first["updateTime"]) == (False, "F1", (START + 1) * 1000)
        assert first["flowForm"] == {"code": "B1", "title": "出差", "submitterId": "c:s"}
        vendor.change_document("F1", title="出差二", at=START + 2)
        first = await in_ledger(at, "c:1:00000001")
        assert (first["flowForm"]["title"], first["updateTime"]) == ("出差二", (START + 1) * 1000)
        vendor.change_document("F1", invoices=["c:1:00000002"], at=START + 3)
        first, second = await in_ledger(at, "c:1:00000001"), await in_ledger(at, "c:1:00000002")
        assert [(each["active"], each["flowId"]) for each in (first, second)] == [(True, None), (False, "F1")]
        assert first["updateTime"] == second["updateTime"] == (START + 3) * 1000
        vendor.delete_document("F1", at=START + 4)
        second = await in_ledger(at, "c:1:00000002")
        assert (second["active"], second["flowId"], second["updateTime"]) == (True, None, (START + 4) * 1000)

    async def test_another_document_keeps_its_invoice(self, at: Connected) -> None:
        """A document that is deleted does not free an invoice that is on another one by now."""
        vendor = at.box.vendor
        vendor.add_document(id="F1", invoices=["c:1:00000001"])
        vendor.add_document(id="F2", invoices=["c:1:00000001"])
        vendor.delete_document("F1")
        assert (await in_ledger(at, "c:1:00000001"))["flowId"] == "F2"

    async def test_added_again(self, at: Connected) -> None:
        """A document that is added again replaces the one with its ID."""
        at.box.vendor.add_flow(code="B1", flow_id="F1", invoice_ids=["c:1:00000001"])
        at.box.vendor.add_flow(code="B2", flow_id="F1", invoice_ids=["c:1:00000002"])
        assert await codes(at) == ["B2"]
        assert [(await in_ledger(at, f"c:1:0000000{number}"))["flowId"] for number in (1, 2)] == [None, "F1"]

    async def test_flow_is_a_document(self, at: Connected) -> None:
        """What `add_flow` adds is in the list, and what `add_document` adds has its invoices by code and by ID."""
        at.box.vendor.add_flow(code="B1", flow_id="F1", invoice_ids=["c:1:00000001"])
        assert await codes(at) == ["B1"]
        at.box.vendor.add_document(id="F2", code="B2", invoices=[("c:1:00000002", ["l1"], Decimal(0), 0)])
        for kind, key in (("code", "B2"), ("id", "F2")):
            answer = await at.answer("flow_invoices", {"type": kind, "codeOrIds": [key]})
            assert answer.content["value"] == {
                key: [{"invoiceId": "c:1:00000002", "invoiceItemId": ["l1"], "invoiceType": "invoice"}]
            }

    async def test_verified_while_linked(self, at: Connected) -> None:
        """An invoice that is verified while it is on a document is not active, and its lines are left out."""
        invoice = SampleInvoice(number="00000001", code="1")
        at.box.vendor.rules.recognises = {"https://files.example/a.png": [invoice]}
        invoice_id = invoice.id_in(at.box.vendor.rules.corporation)
        body = {"fileName": "a.png", "fileUrl": "https://files.example/a.png", "staffId": "s"}
        seen = []
        for act in (None, "link", "free"):
            if act == "link":
                at.box.vendor.add_document(id="F1", invoices=[invoice_id])
            if act == "free":
                at.box.vendor.delete_document("F1")
            [item] = (await at.answer("verify", body)).content["items"]
            seen.append((item["master"]["active"], bool(item["details"])))
        assert seen == [(True, True), (False, False), (True, True)]


class TestFiles:
    async def test_urls(self, at: Connected) -> None:
        """Attachments and invoices come with URLs that open for an hour; code and number have swapped names."""
        vendor = at.box.vendor
        file = vendor.add_file(PNG, "合同.png")
        vendor.add_invoice("c:0310:00000001", content=b"%PDF-1", file_name="发票.pdf")
        vendor.add_document(id="F1", code="B1", invoices=["c:0310:00000001"], attachments=[(file, "合同一.png")])
        items = (await at.answer("document_files", {"flowIds": ["F1", "unknown", "F1"]})).content["items"]
        assert [(item["flowId"], item["flowCode"]) for item in items] == [("F1", "B1")]
        [place] = items[0]["attachmentList"]
        [attached], [invoice] = place["attachmentUrls"], place["invoiceUrls"]
        assert (attached["fileId"], attached["key"], attached["fileName"]) == (file.id, file.key, "合同一.png")
        assert (invoice["invoiceNumber"], invoice["invoiceCode"]) == ("0310", "00000001")
        assert invoice["fileName"] == "发票.pdf"
        for one, content in ((attached, PNG), (invoice, b"%PDF-1")):
            [expires] = parse_qs(urlsplit(one["url"]).query)["Expires"]
            assert abs(int(expires) - time.time() - 3600) < 60
            async with at.http.get(one["url"]) as answer:
                assert await answer.read() == content

    async def test_attachments_that_were_not_uploaded(self, at: Connected) -> None:
        """An attachment with any ID and key exists once it is on a document."""
        attachment = Attachment(id="f1", key="k1.png")
        at.box.vendor.add_document(id="F1", attachments=[attachment])
        answer = await at.answer("download_urls", [{"id": "f1", "key": "k1.png", "expiration": 60}])
        assert answer.status == 200
        [item] = (await at.answer("document_files", {"flowIds": ["F1"]})).content["items"]
        assert item["attachmentList"][0]["attachmentUrls"][0]["fileName"] == "k1.png"

    async def test_documents_without_files(self, at: Connected) -> None:
        """A document without files has an empty list; one that is deleted is missing."""
        for name in ("F1", "F2"):
            at.box.vendor.add_document(id=name)
        at.box.vendor.delete_document("F2")
        answer = await at.answer("document_files", {"flowIds": ["F1", "F2"]})
        assert answer.content == {"items": [{"flowId": "F1", "flowCode": "F1", "attachmentList": []}]}

    async def test_limits(self, at: Connected) -> None:
        """A hundred IDs pass, one more is answered with status 200 and a bare text; no ID is refused."""
        ids = [f"F{number}" for number in range(101)]
        assert (await at.answer("document_files", {"flowIds": ids[:100]})).content == {"items": []}
        status, text = await at.answer("document_files", {"flowIds": ids})
        assert status == 200
        assert isinstance(text, str)
        wrong: list[dict[str, object]] = [{}, {"flowIds": []}, {"flowIds": [None]}, {"flowIds": "F1"}]
        for body in wrong:
            assert (await at.answer("document_files", body)).refusal == (412, "JSON请求参数不正确")
