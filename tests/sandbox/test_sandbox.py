"""The sandbox's limits, lifetimes and texts are the vendor's; tested over plain HTTP, without a session."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import io
import subprocess
import sys
import time
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote

import aiohttp
import pytest

from ekb_async.sandbox import Fault, SampleInvoice, Sandbox, Vendor, VendorReply, VendorRequest
from ekb_async.sandbox.faults import Strikes
from ekb_async.sandbox.vendor.invoices.kinds import KINDS
from ekb_async.sandbox.vendor.routes import PATHS
from ekb_async.sandbox.vendor.rules import MAX_UPLOAD
from tests.support.sandbox_calls import START, connected, content_of, post, query_for, refusal_of, send

PNG = b"\x89PNG\r\n\x1a\n and then some"
OTHER_HOST = "https://files.example/invoice-1.png?Expires=1&Signature=x"
DETAIL = "/api/openapi/v2/extension/INVOICE/object/invoice/{}/detail"


def verify_body(url: str = OTHER_HOST) -> dict[str, object]:
    """Return valid parameters of the OCR with verification."""
    return {"fileName": "a.png", "fileUrl": url, "staffId": "corp:staff"}


def attachment_url(vendor: Vendor, content: bytes = PNG, at: float = START, expiration: int = 1800) -> str:
    """Store a file and return its URL."""
    stored = vendor.add_file(content, "发票.png")
    entry = {"id": stored.id, "key": stored.key, "expiration": expiration}
    [answer] = content_of(post(vendor, "download_urls", [entry], at))
    return str(answer["url"])


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


class TestFiles:
    def test_download_url_limits(self) -> None:
        """At most 100 attachments and 1800 seconds; an unknown attachment fails the whole call."""
        vendor = Vendor()
        stored = vendor.add_file(PNG, "a.png")
        entry: dict[str, object] = {"id": stored.id, "key": stored.key, "expiration": 1800}
        assert len(content_of(post(vendor, "download_urls", [entry] * 100))) == 100
        refused: list[list[dict[str, object]]] = [
            [entry] * 101,
            [entry | {"expiration": 1801}],
            [entry, entry | {"id": "other"}],
        ]
        assert [post(vendor, "download_urls", wanted).status for wanted in refused] == [400, 400, 400]
        assert post(vendor, "download_urls", [entry | {"expiration": "1800"}]).status == 412

    def test_url_lifetime_is_capped(self) -> None:
        """`url_lifetime` limits the lifetime that was asked for, which is in the URL's `Expires`."""
        url = attachment_url(Vendor(url_lifetime=4))
        assert f"Expires={START + 4:.0f}&" in url

    def test_upload_limits(self) -> None:
        """Names without the vendor's forbidden characters and up to 30 MB pass; 412 above, 413 far above."""
        vendor = Vendor()
        query = query_for(vendor)

        def upload(name: str, size: int) -> VendorReply:
            request = VendorRequest("POST", PATHS["upload"][1], query, upload=(name, bytes(size)))
            return vendor.reply(request, START)

        assert content_of(upload("发票 1.png", MAX_UPLOAD))["value"]["fileName"] == "发票 1.png"
        assert refusal_of(upload("a.png", MAX_UPLOAD + 1)) == (412, "上传附件大小不可超过30Mb")
        assert upload("a.png", 2 * MAX_UPLOAD).status == 413
        assert {upload(f"a{character}b", 1).status for character in '?\\/*<>:"|'} == {400}

    async def test_round_trip_over_http(self) -> None:
        """An uploaded file comes back byte for byte from its signed URL without a token; a forged URL answers 403."""
        async with connected() as at:
            form = aiohttp.FormData()
            form.add_field("name", "发票 1.png")
            form.add_field("file", PNG, filename="whatever")
            async with at.http.post(PATHS["upload"][1], params=at.query, data=form) as answer:
                value = (await answer.json())["value"]
            entry = {"id": value["fileId"], "key": value["key"], "expiration": 60}
            async with at.post("download_urls", [entry]) as answer:
                [urls] = await answer.json()
            async with at.http.get(urls["url"]) as answer:
                assert (answer.content_type, await answer.read()) == ("image/png", PNG)
            async with at.http.get(urls["thumbUrl"]) as answer:
                assert answer.status == 200
            async with at.http.get(urls["url"].replace("Expires=", "Expires=1")) as answer:
                assert answer.status == 403

    @pytest.mark.parametrize(("size", "status"), [(2 << 20, 200), (31 << 20, 412), (60 << 20, 413)])
    async def test_large_uploads_over_http(self, size: int, status: int) -> None:
        """A large upload is read to its end before it is refused, so that the caller gets the vendor's answer."""
        async with connected() as at:
            form = aiohttp.FormData()
            form.add_field("name", "a.png")
            form.add_field("file", io.BytesIO(bytes(size)), filename="a.png")
            async with at.http.post(PATHS["upload"][1], params=at.query, data=form) as answer:
                assert answer.status == status

    def test_expired_url_answers_403(self) -> None:
        """A signed URL answers 403 once it has expired."""
        vendor = Vendor()
        path, _, query = attachment_url(vendor).removeprefix(vendor.base_url).partition("?")
        request = VendorRequest("GET", path, dict(parse_qsl(query)))
        assert vendor.reply(request, START + 1799).body == PNG
        assert vendor.reply(request, START + 1800).status == 403

    def test_thumbnails_only_of_images(self) -> None:
        """PDF, OFD and XML files have no thumbnail."""
        vendor = Vendor()
        for content in (b"%PDF-1.4", b"PK\x03\x04", b'<?xml version="1.0"?>'):
            vendor.add_invoice("a:b:1", content=content, file_name="a.bin")
            [item] = content_of(post(vendor, "invoice_url", {"invoiceId": ["a:b:1"]}))["items"]
            assert (item["thumbUrl"], item["fileName"]) == ("", "a.bin")


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


class TestFaults:
    async def test_reset_before_and_after(self) -> None:
        """A reset before the vendor receives the request bills nothing; a lost answer is billed."""
        async with connected(ocr_rate=0) as at:
            for fault, billed in ((Fault.reset(times=1), 0), (Fault.lost_answer(times=1), 1)):
                at.box.faults[:] = [fault]
                with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
                    await at.post("ocr", {"fileUrl": OTHER_HOST})
                assert at.box.vendor.billed["ocr"].total() == billed
                assert (at.box.log[-1].status, at.box.faults) == (0, [])

    async def test_gateway_times_out_after_the_call(self) -> None:
        """A gateway's time-out can come after the vendor has carried out the call, which is then billed."""
        async with connected(faults=(Fault.gateway_page(504, carried_out=True),)) as at:
            async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                assert (answer.status, answer.content_type) == (504, "text/html")
            assert at.box.vendor.billed["ocr"].total() == 1

    async def test_spoilt_bodies(self) -> None:
        """A body can be cut off, not JSON, a gateway's page, or an error code with status 200."""
        async with connected(ocr_rate=0) as at:
            at.box.faults.append(Fault.cut_off(times=1))
            with pytest.raises(aiohttp.ClientPayloadError):
                async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                    await answer.read()
            at.box.faults += [Fault.not_json(times=1), Fault.gateway_page(times=1), Fault.error_in_200("忙", times=1)]
            seen = []
            for _ in range(4):
                async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                    seen.append((answer.status, (await answer.read())[:6]))
            assert seen == [(200, b"\x00\xff<<ga"), (502, b"<html>"), (200, b'{"code'), (200, b'{"valu')]
            assert at.box.vendor.billed["ocr"].total() == 3

    async def test_only_the_named_calls(self) -> None:
        """A fault strikes only the calls it names; a status fault has its text and headers."""
        fault = Fault.answer(503, "限流", calls="verify", times=1, headers={"Retry-After": "1"})
        async with connected(faults=(fault,)) as at:
            async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                assert answer.status == 200
            async with at.post("verify", verify_body()) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert (await answer.json())["errorMessage"] == "限流"

    async def test_same_seed_same_faults(self) -> None:
        """The same seed gives the same faults, and rates add up."""

        async def statuses() -> list[int]:
            faults = (Fault.answer(500, rate=0.25), Fault.answer(502, rate=0.25))
            async with connected(faults=faults) as at:
                for _ in range(40):
                    async with at.post("invoice_url", {"invoiceId": ["a"]}):
                        pass
                return [entry.status for entry in at.box.log]

        first = await statuses()
        assert set(first) == {200, 500, 502}
        assert await statuses() == first

    @pytest.mark.parametrize("strikes", [{"rate": 1.5}, {"times": 0}, {"calls": "orc"}], ids=str)
    def test_wrong_arguments(self, strikes: Strikes) -> None:
        """An invalid rate, count or call name raises `ValueError` at once."""
        with pytest.raises(ValueError, match="must be"):
            Fault.reset(**strikes)


class TestServer:
    async def test_location(self) -> None:
        """The location call answers with the sandbox's own address and needs no token."""
        async with connected() as at:
            corporation = {"corpId": at.box.vendor.rules.corporation}
            async with at.http.get(PATHS["location"][1], params=corporation) as answer:
                assert await answer.json() == {"value": f"{at.box.base_url}/"}

    async def test_no_secret_in_the_log(self) -> None:
        """The log has no keys, tokens or signatures of file URLs, but it has the IDs that were sent."""
        async with connected() as at:
            keys = {"appKey": at.box.credentials.app_key, "appSecurity": at.box.credentials.app_security}
            async with at.post("token", keys) as answer:
                fresh = (await answer.json())["value"]
            await at.http.post(PATHS["refresh"][1], params=fresh | {"powerCode": "219904"})
            await at.post("verify", verify_body())
            await at.post("invoice_url", {"invoiceId": ["a:b:1"]})
            text = repr(at.box.log)
            secrets = (at.box.credentials.app_security, at.query["accessToken"], *fresh.values(), "Signature")
            assert not [secret for secret in secrets if str(secret) in text]
            assert "a:b:1" in at.box.log[-1].body
            assert [entry.call for entry in at.box.log] == ["token", "refresh", "verify", "invoice_url"]
            assert at.box.count("verify") == at.box.count("verify", status=200) == len(at.box.starts("verify")) == 1

    async def test_throttled_call_is_answered_at_once(self) -> None:
        """Only accepted calls have latency: a refused one is answered while an accepted one is running."""
        async with connected(latency=60) as at:
            accepted = asyncio.ensure_future(at.post("ocr", {"fileUrl": OTHER_HOST}))
            await at.box.arrived("ocr")
            async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                assert answer.status == 429
            assert not accepted.done()
            accepted.cancel()
            await asyncio.wait([accepted])

    async def test_closing_with_requests_in_flight(self) -> None:
        """Leaving the block aborts running calls at once and leaves no task, connection or listener."""
        async with connected(latency=3600, ocr_rate=0) as at:
            mine = asyncio.all_tasks()
            calls = [asyncio.ensure_future(at.post("ocr", {"fileUrl": OTHER_HOST})) for _ in range(30)]
            await at.box.arrived("ocr", 30)
            address = at.box.base_url
            await asyncio.wait_for(at.box.__aexit__(None, None, None), 5)
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(error) for error in errors} <= {aiohttp.ServerDisconnectedError, aiohttp.ClientOSError}
            assert asyncio.all_tasks() <= mine
            with pytest.raises(aiohttp.ClientConnectorError):
                await at.http.get(address)

    async def test_clock_ahead(self) -> None:
        """With `clock_ahead`, the `Date` header and the log are ahead of this machine's clock."""
        async with (
            Sandbox(clock_ahead=86_400) as box,
            aiohttp.ClientSession(box.base_url) as http,
            http.get(PATHS["location"][1]) as answer,
        ):
            shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            assert shown == int(box.log[0].at) > time.time() + 86_000

    async def test_address_only_while_running(self) -> None:
        """Outside of the block, `base_url` raises `RuntimeError`."""
        with pytest.raises(RuntimeError, match="async with"):
            _ = Sandbox().base_url


PLUGIN_TEST = """
import pytest

{mark}
@pytest.mark.ekb_sandbox(ocr_rate=7)
async def test_marked(ekb_sandbox):
    assert ekb_sandbox.vendor.rules.ocr_rate == 7
    assert ekb_sandbox.base_url.startswith("http://127.0.0.1:")

{mark}
async def test_plain(ekb_sandbox):
    assert ekb_sandbox.vendor.rules.ocr_rate == 1
    assert ekb_sandbox.log == []
"""


def run_pytest(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin in a separate process."""
    installed = importlib.metadata.entry_points(group="pytest11", name="ekb_async")
    plugin = () if installed else ("-p", "ekb_async.testing")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory)]
    return subprocess.run(  # noqa: S603 - our own command
        [*command, *plugin, "-W", "error", "--strict-markers", *arguments, str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")])
def test_fixture(tmp_path: Path, mode: str, mark: str) -> None:
    """Each test gets its own sandbox with the marker's arguments, in both modes of pytest-asyncio."""
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST.format(mark=mark))
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    outcome = run_pytest(tmp_path, "--asyncio-mode", mode)
    assert "2 passed" in outcome.stdout, outcome.stdout + outcome.stderr


@pytest.mark.process
def test_fixture_without_pytest_asyncio(tmp_path: Path) -> None:
    """The fixture works without a plugin for asynchronous tests."""
    body = "def test_it(ekb_sandbox):\n    assert ekb_sandbox.base_url.startswith('http://127.0.0.1:')\n"
    (tmp_path / "test_it.py").write_text(f"def test_other(): pass\n\n{body}")
    outcome = run_pytest(tmp_path, "-p", "no:asyncio")
    assert "2 passed" in outcome.stdout, outcome.stdout + outcome.stderr


@pytest.mark.process
def test_plugin_is_cheap_to_import() -> None:
    """Loading the plugin does not load the sandbox's web server."""
    code = "import sys; import ekb_async.testing; sys.exit('ekb_async.sandbox.server' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False).returncode == 0  # noqa: S603 - our own command
