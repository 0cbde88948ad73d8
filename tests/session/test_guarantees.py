"""The package's guarantees, measured on the vendor's side over real sockets."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ekb_async import (
    Attachment,
    EkbError,
    EkbSession,
    InvoiceNotFoundError,
    PermissionDeniedError,
    SessionConfig,
)
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on

PNG = b"\x89PNG\r\n\x1a\n"


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def used(box: Sandbox, call: str, rate: float) -> float:
    """Return the share of slots used between the first and the last accepted start."""
    starts = box.starts(call)
    return (len(starts) - 1) / ((starts[-1] - starts[0]) * rate)


async def both_queues(box: Sandbox, calls: int) -> None:
    async with EkbSession(box.credentials, base_url=box.base_url) as ekb:
        recognised = (ekb.ocr(f"https://files.example/o{n}.png") for n in range(calls))
        verified = (ekb.verify(f"https://files.example/v{n}.png", staff_id="c:s") for n in range(calls))
        await asyncio.gather(*recognised, *verified)


@pytest.mark.realtime
@pytest.mark.slow
async def test_full_pace() -> None:
    """At 1 start a second and 3 s a call, none of 7 + 7 calls is refused and no slot is wasted.

    With up to 10 ms of random network delay, no call is lost and at most one start is refused.
    """
    async with Sandbox(latency=3.0) as calm, Sandbox(latency=3.0, jitter=0.01, seed=7) as jittery:
        await asyncio.gather(both_queues(calm, 7), both_queues(jittery, 7))
        for call in ("ocr", "verify"):
            assert calm.count(call) == 7
            assert min(gaps(calm.starts(call))) >= 1.0
            assert used(calm, call, 1.0) >= 0.985
            assert len(jittery.starts(call)) == 7
            assert jittery.count(call) <= 8
            assert used(jittery, call, 1.0) >= 0.95


@pytest.mark.slow
async def test_short_lived_urls_and_tokens() -> None:
    """160 attachments pass with URLs valid for 4 s and tokens for 3 s; no expired URL is sent, URLs share requests."""
    async with Sandbox(latency=0.5, ocr_rate=12, url_lifetime=4, token_lifetime=3) as box:
        files = [box.vendor.add_file(PNG + str(n).encode(), f"{n}.png") for n in range(160)]
        config = SessionConfig(ocr_rate=12)
        async with EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb:
            results = [outcome async for outcome in ekb.ocr_many(files)]
        assert [outcome.error for outcome in results] == [None] * 160
        assert {outcome.input for outcome in results} == set(files)
        assert box.vendor.expired_urls_sent == 0
        assert box.count("download_urls") <= 24


async def test_look_ups_share_requests(ekb: EkbSession, quick_box: Sandbox) -> None:
    """6,000 look-ups of 5,000 IDs, 1,000 of them twice, become at most 60 requests with each ID once."""
    ids = [f"c:1:{n}" for n in range(5000)]
    links = await asyncio.gather(*(ekb.invoice_url(each) for each in [*ids, *ids[:1000]]))
    assert [link.id for link in links] == [*ids, *ids[:1000]]
    assert quick_box.count("invoice_url") <= 60
    assert ekb.stats().invoice_url.keys == 5000

    details = await asyncio.gather(*(ekb.invoice_details(each) for each in ids[:1000]))
    assert all(line.invoice_id == each for each, lines in zip(ids, details, strict=False) for line in lines)
    assert quick_box.count("invoice_details_many") <= 20


@pytest.mark.slow
async def test_a_faulty_network() -> None:
    """With 30 % faults of seven kinds, at most 8 of 1,600 mixed calls fail, with the package's errors only."""
    kinds = [
        Fault.answer(500, rate=0.3 / 7),
        Fault.answer(503, rate=0.3 / 7),
        Fault.gateway_page(502, rate=0.3 / 7),
        Fault.reset(rate=0.3 / 7),
        Fault.lost_answer(rate=0.3 / 7),
        Fault.cut_off(rate=0.3 / 7),
        Fault.not_json(rate=0.3 / 7),
    ]
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, faults=kinds, seed=3) as box,
        session_on(box, max_tries=8, max_running=100, batch_size=1, batch_in_flight=50) as ekb,
    ):
        calls = [ekb.ocr(f"https://files.example/{n}.png") for n in range(400)]
        calls += [ekb.verify(f"https://files.example/{n}.png", staff_id="c:s") for n in range(400)]  # type: ignore[misc]
        calls += [ekb.invoice_url(f"c:1:{n}") for n in range(400)]  # type: ignore[misc]
        calls += [ekb.invoice_details(f"c:1:{n}") for n in range(400)]  # type: ignore[misc]
        results = await asyncio.gather(*calls, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(failure, EkbError) for failure in failures)
        assert len(failures) <= 8


async def test_no_permission_stops_the_queue() -> None:
    """Of 500 verifications without permission only those under way are sent; once it is granted, the next one works."""
    async with (
        Sandbox(verify_rate=0, permissions={"ocr"}, latency=0.2) as box,
        session_on(box, max_running=20) as ekb,
    ):
        calls = [ekb.verify(f"https://files.example/{n}.png", staff_id="c:s") for n in range(500)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(failure, PermissionDeniedError) for failure in failures)
        assert box.count("verify") <= 20 + 10
        box.permissions.add("verify")
        assert (await ekb.verify("https://files.example/1.png", staff_id="c:s")).invoices


async def test_a_revoked_token_is_replaced_once(ekb: EkbSession, quick_box: Sandbox) -> None:
    """20 concurrent calls with a revoked token share one new token."""
    await ekb.flow_invoices(codes=["B1"])
    quick_box.revoke_tokens()
    await asyncio.gather(*(ekb.flow_invoices(codes=[f"B{n}"]) for n in range(20)))
    assert quick_box.vendor.tokens_issued == 2


async def test_one_bad_id_spoils_no_other(ekb: EkbSession) -> None:
    """An ID that the vendor refuses fails alone, whatever batch it was in."""
    ids = [f"c:1:{n}" for n in range(50)]
    good = asyncio.gather(*(ekb.invoice_url(each) for each in ids))
    bad = asyncio.create_task(ekb.invoice_url("c:1:bad"))
    unknown = asyncio.create_task(ekb.invoice_url("unknown"))
    assert [link.id for link in await good] == ids
    with pytest.raises(EkbError, match="400"):
        await bad
    with pytest.raises(InvoiceNotFoundError):
        await unknown
    assert await ekb.invoice_urls(["unknown", "c:1:bad", "c:1:1"]) == {
        "unknown": None,
        "c:1:bad": None,
        "c:1:1": await ekb.invoice_url("c:1:1"),
    }


def test_attachments_are_values() -> None:
    """Two attachments with the same ID and key are equal."""
    assert {Attachment("i", "k"): 1}[Attachment(id="i", key="k")] == 1
