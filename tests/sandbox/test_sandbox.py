"""The sandbox's tokens, rates, refusals and invoices are the vendor's; tested without a session."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from urllib.parse import quote

import pytest

from ekb_async.sandbox import SampleInvoice, Vendor, VendorRequest
from ekb_async.sandbox.vendor.invoices.kinds import KINDS
from ekb_async.sandbox.vendor.routes import PATHS
from tests.support.sandbox_calls import (
    DETAIL,
    OTHER_HOST,
    PNG,
    START,
    attachment_url,
    connected,
    content_of,
    post,
    query_for,
    refusal_of,
    send,
    verify_body,
)


class TestTokens:
    def test_wrong_keys(self) -> None:
        """Wrong keys answer 403 密钥无效."""
        body = {"appKey": "sandbox-key", "appSecurity": "wrong"}
        assert refusal_of(post(Vendor(), "token", body, token=False)) == (403, "密钥无效")

    def test_missing_or_unknown(self) -> None:
        """A call without a token, or with one never issued, answers 401 请先登录."""
        vendor = Vendor()
        for query in ({}, {"accessToken": "ID01:never"}):
            assert refusal_of(send(vendor, "ocr", {"fileUrl": OTHER_HOST}, query)) == (401, "请先登录")

    def test_lifetime(self) -> None:
        """A token works until it expires; from then on it answers 403 未授权."""
        vendor = Vendor(token_lifetime=10)
        query = query_for(vendor)
        assert send(vendor, "invoice_url", {"invoiceId": ["a"]}, query, START + 9.9).status == 200
        assert refusal_of(send(vendor, "invoice_url", {"invoiceId": ["a"]}, query, START + 10)) == (403, "未授权")

    def test_settling(self) -> None:
        """Within `token_settle` seconds of its issue a token answers 403."""
        vendor = Vendor(token_settle=0.5)
        query = query_for(vendor)
        assert send(vendor, "invoice_url", {"invoiceId": ["a"]}, query, START + 0.4).status == 403
        assert send(vendor, "invoice_url", {"invoiceId": ["a"]}, query, START + 0.6).status == 200

    def test_refresh_gives_a_new_pair_until_the_old_one_ends(self) -> None:
        """A refresh gives two new tokens and leaves the old one valid; once the old one has expired it answers 403."""
        vendor = Vendor(token_lifetime=10)
        keys = {"appKey": vendor.rules.app_key, "appSecurity": vendor.rules.app_security}
        old = content_of(post(vendor, "token", keys, token=False))["value"]
        query = {name: old[name] for name in ("accessToken", "refreshToken")} | {"powerCode": "219904"}
        new = content_of(send(vendor, "refresh", None, query, START + 8))["value"]
        assert {new["accessToken"], new["refreshToken"]}.isdisjoint({old["accessToken"], old["refreshToken"]})
        assert new["expireTime"] == (START + 18) * 1000
        assert send(vendor, "invoice_url", {"invoiceId": ["a"]}, query, START + 9).status == 200
        assert refusal_of(send(vendor, "refresh", None, query, START + 10)) == (403, "未授权")
        assert vendor.tokens_issued == 2

    async def test_revoked(self) -> None:
        """Revoked tokens are refused at once."""
        async with connected() as at:
            at.box.revoke_tokens()
            async with at.post("invoice_url", {"invoiceId": ["a"]}) as answer:
                assert answer.status == 403


class TestRate:
    def test_strict_interval(self) -> None:
        """A start within 1/rate of the last accepted one is refused, and a refused one does not delay the next."""
        vendor = Vendor()
        query = query_for(vendor)
        moments = (0.0, 0.5, 0.999, 1.0, 1.9, 2.0)
        replies = [send(vendor, "ocr", {"fileUrl": OTHER_HOST}, query, START + moment) for moment in moments]
        assert [reply.status for reply in replies] == [200, 429, 429, 200, 429, 200]
        assert [reply.accepted for reply in replies] == [True, False, False, True, False, True]
        assert vendor.billed["ocr"].total() == 3

    def test_each_interface_has_its_own(self) -> None:
        """The limit of one interface does not affect the others."""
        vendor = Vendor()
        query = query_for(vendor)
        replies = [
            send(vendor, "ocr", {"fileUrl": OTHER_HOST}, query),
            send(vendor, "verify", verify_body(), query),
            send(vendor, "verify_by_id", {"invoiceId": "a:b:1"}, query),
            send(vendor, "verify_by_fields", {"fpdm": "b", "fphm": "1", "kprq": "20240102"}, query),
        ]
        assert [reply.status for reply in replies] == [200] * 4

    def test_refusal_is_configurable(self) -> None:
        """Status, text and `Retry-After` of a throttled call are arguments, since the vendor documents none of them."""
        vendor = Vendor(throttle_status=400, throttle_text="已被限流", retry_after=2)
        query = query_for(vendor)
        first, second = (send(vendor, "ocr", {"fileUrl": OTHER_HOST}, query) for _ in range(2))
        assert first.status == 200
        assert refusal_of(second) == (400, "已被限流")
        assert second.headers["Retry-After"] == "2"

    def test_no_limit(self) -> None:
        """A rate of 0 is no limit."""
        vendor = Vendor(ocr_rate=0)
        query = query_for(vendor)
        replies = [send(vendor, "ocr", {"fileUrl": OTHER_HOST}, query) for _ in range(5)]
        assert all(reply.status == 200 for reply in replies)


class TestDocumentedRefusals:
    def test_permissions(self) -> None:
        """A feature that is off is refused with the vendor's text, and works as soon as it is switched on."""
        vendor = Vendor(permissions=set(), corporation="CORP")
        text = "id为：[CORP]的企业没有发票查验接口权限，请联系管理员开通"
        assert refusal_of(post(vendor, "verify", verify_body())) == (400, text)
        for call, body in (("ocr", {"fileUrl": OTHER_HOST}), ("verify_by_id", {"invoiceId": "a"})):
            assert refusal_of(post(vendor, call, body)) == (403, "未开通功能，无权访问")
        vendor.rules.permissions |= {"ocr", "verify"}
        assert post(vendor, "verify", verify_body()).status == 200

    @pytest.mark.parametrize(
        "change",
        [{"staffId": ""}, {"staffId": None}, {"fileUrl": 5}, {"fileName": ""}, {"isExOcr": "yes"}],
        ids=str,
    )
    def test_wrong_parameters(self, change: dict[str, object]) -> None:
        """A required parameter that is missing or wrong answers 412 JSON请求参数不正确."""
        assert refusal_of(post(Vendor(), "verify", verify_body() | change)) == (412, "JSON请求参数不正确")

    def test_not_json(self) -> None:
        """A body that is not JSON answers 412."""
        vendor = Vendor()
        request = VendorRequest("POST", PATHS["ocr"][1], query_for(vendor), b"{oops")
        assert vendor.reply(request, START).status == 412

    def test_staff(self) -> None:
        """A staff ID that is not active answers 人员不存在."""
        vendor = Vendor(staff={"corp:someone"})
        assert refusal_of(post(vendor, "verify", verify_body())) == (400, "人员不存在")

    @pytest.mark.parametrize(("call", "text"), [("ocr", "第三方出现问题请稍后再试"), ("verify", "识别失败")])
    def test_file_that_cannot_be_read(self, call: str, text: str) -> None:
        """Expired, forged, unknown or unreadable file URLs are refused with the call's own text and not billed."""
        vendor = Vendor(ocr_rate=0, verify_rate=0)
        good = attachment_url(vendor)
        not_an_invoice = attachment_url(vendor, b"hello")
        forged = good.replace("Signature=", "Signature=A")
        cases = [(good, 1800.0), (forged, 0.0), (not_an_invoice, 0.0), ("no url", 0.0)]
        for url, later in cases:
            body = verify_body(url) if call == "verify" else {"fileUrl": url}
            assert refusal_of(post(vendor, call, body, START + later)) == (400, text)
        assert vendor.expired_urls_sent == 1
        assert vendor.billed[call].total() == 0

    def test_tax_authority(self) -> None:
        """Invoices that do not exist or differ are refused with the vendor's texts, by ID and by fields."""
        vendor = Vendor(verify_rate=0, mismatched={"a:b:2"})
        cases = {"unknown-1": "查验成功所查发票不存在", "a:b:2": "查验成功所查发票不一致"}
        for invoice_id, text in cases.items():
            assert refusal_of(post(vendor, "verify_by_id", {"invoiceId": invoice_id})) == (400, text)
        invoice = SampleInvoice(number="77")
        vendor.add_invoice(f"{vendor.rules.corporation}::77", invoice)
        other_day = {"fpdm": "", "fphm": "77", "kprq": "19990101"}
        assert refusal_of(post(vendor, "verify_by_fields", other_day)) == (400, "查验成功所查发票不一致")
        right_day = other_day | {"kprq": "20240101", "fpje": 100.5}
        assert content_of(post(vendor, "verify_by_fields", right_day))["value"]["invno"] == "77"

    def test_unknown_path_and_method(self) -> None:
        """An unknown path answers 404, a wrong method 405."""
        vendor = Vendor()
        assert vendor.reply(VendorRequest("POST", "/nowhere", {}), START).status == 404
        assert vendor.reply(VendorRequest("GET", PATHS["ocr"][1], {}), START).status == 405


class TestRecognition:
    def test_same_content_same_invoice(self) -> None:
        """Two uploads of the same content are one invoice with one ID; each recognition is counted as billed."""
        vendor = Vendor(verify_rate=0)
        first, second = (
            content_of(post(vendor, "verify", verify_body(attachment_url(vendor))))["items"][0] for _ in range(2)
        )
        assert first["master"]["id"] == second["master"]["id"]
        assert vendor.billed["verify"] == {hashlib.sha256(PNG).hexdigest(): 2}

    def test_recognises_the_configured_invoices(self) -> None:
        """`recognises` determines the invoices on a file, for the OCR and for the verification."""
        invoices = [
            SampleInvoice(kind="train", number="Z001", total=Decimal("55.5")),
            SampleInvoice(number="42", code="0123", usable=False, message="该发票已作废"),
        ]
        configured = {hashlib.sha256(PNG).hexdigest(): invoices}
        vendor = Vendor(recognises=configured, ocr_rate=0, verify_rate=0)
        url = attachment_url(vendor)
        seen = content_of(post(vendor, "ocr", {"fileUrl": url}))["value"]["invoices"]
        assert [(one["type"], one["details"]["number"]) for one in seen] == [("10503", "Z001"), ("10102", "42")]
        train, vat = content_of(post(vendor, "verify", verify_body(url)))["items"]
        assert train["master"]["form"]["E_system_火车票_金额"]["standard"] == "55.50"
        assert (train["details"], train["ischeck"]) == ([], True)
        assert (vat["ischeck"], vat["message"]) == (False, "该发票已作废")
        assert vat["master"]["id"] == f"{vendor.rules.corporation}:0123:42"

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind(self, kind: str) -> None:
        """Every kind has its entity and amount, and lines only if it is a value-added-tax invoice."""
        invoice = SampleInvoice(kind=kind, number="1", code="2", total=Decimal("33.33"), tax=Decimal("1.11"))
        address = OTHER_HOST.partition("?")[0]
        vendor = Vendor(recognises={address: [invoice]})
        [item] = content_of(post(vendor, "verify", verify_body()))["items"]
        assert item["master"]["entityId"] == KINDS[kind].entity
        assert "33.33" in {value["standard"] for value in item["master"]["form"].values() if isinstance(value, dict)}
        amounts = [Decimal(line["form"]["E_system_发票明细_金额"]["standard"]) for line in item["details"]]
        assert sum(amounts) == (Decimal("32.22") if item["master"]["entityId"] == "system_发票主体" else 0)

    def test_linked_invoices_show_no_lines(self) -> None:
        """An invoice that is linked to a document is inactive and has no lines."""
        invoice = SampleInvoice(number="1", linked=True, usable=False, message="该发票在单据[B1]中已经关联")
        vendor = Vendor(recognises={OTHER_HOST.partition("?")[0]: [invoice]})
        [item] = content_of(post(vendor, "verify", verify_body()))["items"]
        assert (item["details"], item["master"]["active"]) == ([], False)

    def test_unknown_kind_is_refused(self) -> None:
        """An unknown kind raises `ValueError` at once."""
        with pytest.raises(ValueError, match="kind must be one of"):
            SampleInvoice(kind="lottery", number="1")


class TestInvoices:
    def test_unknown_ids_are_missing(self) -> None:
        """Unknown IDs have no URL and no lines; every known one is in the answer once."""
        vendor = Vendor()
        ids = ["a:b:1", "unknown-1", "opaque7", "a:b:1"]
        urls = content_of(post(vendor, "invoice_url", {"invoiceId": ids}))["items"]
        assert sorted(item["id"] for item in urls) == ["a:b:1", "opaque7"]
        lines = content_of(post(vendor, "invoice_details_many", {"invoiceIds": ids}))["items"]
        assert {line["masterId"] for line in lines} == {"a:b:1", "opaque7"}
        one = content_of(post(vendor, "invoice_details", None, path=DETAIL.format("unknown-1")))
        assert one == {"items": []}

    @pytest.mark.parametrize("invoice_id", ["a:b:1", "a/b?c#d%e", "..", "发票:1:2"])
    def test_ids_in_the_path(self, invoice_id: str) -> None:
        """An ID that is percent-encoded into one path segment is decoded to itself."""
        path = DETAIL.format(quote(invoice_id, safe="").replace(".", "%2E"))
        items = content_of(post(Vendor(), "invoice_details", None, path=path))["items"]
        assert {item["masterId"] for item in items} == {invoice_id}

    def test_one_poisonous_id_fails_its_batch(self) -> None:
        """An ID that the vendor refuses fails the whole request, whatever other IDs are in it."""
        vendor = Vendor(poison={"a:b:9"})
        for ids in (["a:b:1", "a:b:9"], ["a:b:1", "bad-2"]):
            assert post(vendor, "invoice_url", {"invoiceId": ids}).status == 400
            assert post(vendor, "invoice_details_many", {"invoiceIds": ids}).status == 400

    def test_without_the_many_ids_call(self) -> None:
        """With `detail_batch=False` the details call for many IDs answers 404, and the one for a single ID works."""
        vendor = Vendor(detail_batch=False)
        assert post(vendor, "invoice_details_many", {"invoiceIds": ["a:b:1"]}).status == 404
        assert content_of(post(vendor, "invoice_details", None, path=DETAIL.format("a:b:1")))["items"]

    def test_documents(self) -> None:
        """A document is found by its code and by its ID, with the lines of the details call."""
        vendor = Vendor()
        vendor.add_flow(code="B1", flow_id="ID1", invoice_ids=["a:b:1"])
        lines = content_of(post(vendor, "invoice_details", None, path=DETAIL.format("a:b:1")))["items"]
        for kind, key in (("code", "B1"), ("id", "ID1")):
            body = {"type": kind, "codeOrIds": [key, "nothing"]}
            value = content_of(post(vendor, "flow_invoices", body))["value"]
            assert list(value) == [key]
            assert value[key][0]["invoiceItemId"] == [line["id"] for line in lines]
        assert post(vendor, "flow_invoices", {"type": "name", "codeOrIds": ["B1"]}).status == 412
