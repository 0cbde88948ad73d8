"""Expiry of URLs and tokens when the clocks of the gateway, the file host and this machine differ."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import formatdate

import pytest

from ekb_async import AppCredentials, Attachment, EkbSession, FileUrl, SessionConfig
from ekb_async.models.urls import expiry
from ekb_async.protocol.clock import http_date
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.support.fixed_answer import FixedAnswer

PNG = b"\x89PNG\r\n\x1a\n"
DAY = 86_400.0


class Skewed:
    """A vendor whose gateway's clock, in its `Date` headers only, is off by `skew` seconds."""

    def __init__(self, vendor: Vendor, skew: float, *, latency: float = 0.0) -> None:
        self.inner = InMemoryTransport(vendor, latency=latency)
        self.skew = skew

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        reply = await self.inner.send(request, token=token, timeout=timeout, on_sent=on_sent)
        date = http_date(reply.headers["Date"])
        assert date is not None
        return Reply(reply.status, {**reply.headers, "Date": formatdate(date + self.skew, usegmt=True)}, reply.body)

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def in_virtual_time(main: Awaitable[None]) -> None:
    async def run() -> None:
        await main

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


@pytest.mark.parametrize("skew", [0.0, -3600.0, -600.0, 600.0, 3600.0, 86_400.0])
@pytest.mark.parametrize(("rate", "files"), [(1.0, 1), (0.05, 60)])
def test_no_url_is_used_past_its_end(skew: float, rate: float, files: int) -> None:
    """A URL is used for the requested half hour at most, whatever the gateway's `Date`."""
    vendor = Vendor(ocr_rate=0, verify_rate=0)
    transport = Skewed(vendor, skew, latency=3.0)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        attachments = [vendor.add_file(PNG + bytes([n]), f"{n}.png") for n in range(files)]
        async with EkbSession(keys, config=SessionConfig(ocr_rate=rate), transport=transport) as ekb:
            for _ in range(2):
                assert all([outcome.error is None async for outcome in ekb.ocr_many(attachments)])
                await asyncio.sleep(2400)

    in_virtual_time(main())
    assert vendor.expired_urls_sent == 0
    assert Counter(status for _, name, status in transport.inner.arrivals if name == "ocr") == {200: 2 * files}


def test_provider_trouble_fetches_a_fresh_url_once() -> None:
    """After 第三方出现问题, which an expired URL may cause, the next try uses another URL, fetched once."""
    vendor = Vendor(ocr_rate=0)
    transport = InMemoryTransport(vendor)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        file = vendor.add_file(PNG, "a.png")
        async with EkbSession(keys, config=SessionConfig(ocr_rate=10), transport=transport) as ekb:
            await ekb.ocr(file)
            vendor.rules.url_lifetime = -5
            other = vendor.add_file(PNG + b"2", "b.png")
            job = ekb.submit_ocr(other)
            asyncio.get_running_loop().call_later(0.4, setattr, vendor.rules, "url_lifetime", 1800)
            assert (await job).invoices
            assert job.attempts == 2

    in_virtual_time(main())
    assert [name for _, name, _ in transport.arrivals].count("download_urls") == 3


def test_a_refreshed_token_lives_as_long_as_it_says() -> None:
    """A token from a refresh is used for its 32 days: a hundred days take few refreshes, and none expires in use."""
    vendor = Vendor(refreshed_lifetime=32 * DAY)
    transport = InMemoryTransport(vendor)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        async with EkbSession(keys, transport=transport) as ekb:
            for hour in range(24 * 100):
                await ekb.flow_invoices(codes=[f"B{hour}"])
                await asyncio.sleep(3600 if hour > 16 else 500)

    in_virtual_time(main())
    assert {status for _, _, status in transport.arrivals} == {200}
    names = Counter(name for _, name, _ in transport.arrivals)
    assert names["token"] <= 2
    assert 3 <= names["refresh"] <= 6


def test_a_refreshed_token_that_is_refused_is_not_used_again() -> None:
    """A refused token is replaced at once, whatever expiry it came with."""
    vendor = Vendor(refreshed_lifetime=32 * DAY)
    transport = InMemoryTransport(vendor)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        async with EkbSession(keys, transport=transport) as ekb:
            await ekb.flow_invoices(codes=["B1"])
            await asyncio.sleep(6800)
            await ekb.flow_invoices(codes=["B1"])
            await asyncio.sleep(DAY)
            await ekb.flow_invoices(codes=["B1"])
            vendor.tokens.revoke_all()
            await ekb.flow_invoices(codes=["B1"])

    in_virtual_time(main())
    calls = [(name, status) for _, name, status in transport.arrivals if name != "flow_invoices" or status != 200]
    assert calls[:2] == [("token", 200), ("refresh", 200)]
    assert [status for name, status in calls if name == "flow_invoices"] == [403]
    assert calls[-1] == ("token", 200)


@pytest.mark.parametrize(
    ("query", "end"),
    [
        ("?Expires=1700000000&Signature=s", 1_700_000_000),
        ("?e=1700000000&token=a:b", 1_700_000_000),
        ("?token=a:b&e=1700000000", 1_700_000_000),
        ("?attname=a.pdf&e=1700000000&token=a:b#x", 1_700_000_000),
        ("?e=1700000000", None),
        ("?e=soon&token=a:b", None),
        ("?note=1700000000&token=a:b", None),
        ("?e=0&token=a:b", None),
    ],
)
def test_ends_of_urls(query: str, end: float | None) -> None:
    """The expiry of a URL is read from its query, in the forms of both of the vendor's file stores."""
    found = expiry(f"https://f.example/a.pdf{query}")
    assert (found.timestamp() if found is not None else None) == end


async def test_the_end_of_a_download_url() -> None:
    """`expires_at` is set for a URL of the second file store too."""
    keys = AppCredentials(app_key="k", app_security="secret")
    body = b'[{"id":"a","key":"b","url":"https://f.example/a?e=1700000000&token=x:y"}]'

    async with EkbSession(keys, transport=FixedAnswer(200, body)) as ekb:
        (link,) = (await ekb.download_urls([Attachment("a", "b")])).values()
    assert isinstance(link, FileUrl)
    assert link.expires_at is not None
    assert link.expires_at.timestamp() == 1_700_000_000


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York", "UTC"])
def test_a_date_without_a_zone_is_utc(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP dates are UTC in each of their forms, whatever the time zone of this machine."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for text in ("Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 -0000"):
            assert http_date(text) == 784_111_777
    finally:
        monkeypatch.undo()
        time.tzset()
