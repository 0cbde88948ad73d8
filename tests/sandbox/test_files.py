"""The sandbox's files: limits of uploads and of download URLs, and how long these live."""

from __future__ import annotations

import io
from urllib.parse import parse_qsl

import aiohttp
import pytest

from ekb_async.sandbox import Vendor, VendorReply, VendorRequest
from ekb_async.sandbox.vendor.routes import PATHS
from ekb_async.sandbox.vendor.rules import MAX_UPLOAD
from tests.support.sandbox_calls import (
    PNG,
    START,
    attachment_url,
    connected,
    content_of,
    post,
    query_for,
    refusal_of,
)


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
