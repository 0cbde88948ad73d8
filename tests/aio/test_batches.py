"""Look-ups by ID share requests, keep callers independent, and split refused batches."""

from __future__ import annotations

import asyncio

import pytest

from ekb_async import ConfigError, EkbError, EkbSession, InvalidRequestError, InvoiceNotFoundError, SessionClosedError
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on


async def test_a_lone_id_goes_out_at_once(ekb: EkbSession, quick_box: Sandbox) -> None:
    """An idle session sends a single ID without waiting for more."""
    assert (await ekb.invoice_url("c:1:1")).url
    assert quick_box.count("invoice_url") == 1


async def test_ids_collect_while_requests_are_out() -> None:
    """While `batch_in_flight` requests are in flight, further IDs collect and are sent together when one ends."""
    async with Sandbox(latency={"invoice_url": 0.5}) as box, session_on(box, batch_in_flight=2) as ekb:
        first = asyncio.create_task(ekb.invoice_url("c:1:1"))
        await box.arrived("invoice_url")
        second = asyncio.create_task(ekb.invoice_url("c:1:2"))
        await box.arrived("invoice_url", 2)
        later = []
        for n in range(3, 90):
            later.append(asyncio.create_task(ekb.invoice_url(f"c:1:{n}")))
            await asyncio.sleep(0)
        await asyncio.gather(first, second, *later)
        assert box.count("invoice_url") == 3
        assert ekb.stats().invoice_url.mean_batch == 89 / 3


async def test_an_id_on_its_way_is_not_sent_again() -> None:
    """Callers of an ID that is already in flight share its result."""
    async with Sandbox(latency={"invoice_url": 0.1}) as box, session_on(box) as ekb:
        first = asyncio.create_task(ekb.invoice_url("c:1:1"))
        await box.arrived("invoice_url")
        assert await ekb.invoice_url("c:1:1") == await first
        assert box.count("invoice_url") == 1


async def test_cancelling_one_caller_disturbs_no_other() -> None:
    """Cancelling one of two callers of an ID leaves the other, and an ID without callers is not sent."""
    async with Sandbox(latency={"invoice_url": 0.1}) as box, session_on(box, batch_in_flight=1) as ekb:
        busy = asyncio.create_task(ekb.invoice_url("c:1:0"))
        await box.arrived("invoice_url")
        left, stays, unwanted = (asyncio.create_task(ekb.invoice_url(each)) for each in ("c:1:1", "c:1:1", "c:1:2"))
        await asyncio.sleep(0)
        left.cancel()
        unwanted.cancel()
        assert (await stays).id == "c:1:1"
        assert (await busy).id == "c:1:0"
        assert ekb.stats().invoice_url.keys == 2
        again = asyncio.create_task(ekb.invoice_url("c:1:3"))
        await box.arrived("invoice_url", 3)
        again.cancel()
        assert (await ekb.invoice_url("c:1:3")).id == "c:1:3"


async def test_culprits_are_found(ekb: EkbSession, quick_box: Sandbox) -> None:
    """If three of 100 IDs are refused, the other 97 get their results in few requests."""
    ids = [f"c:1:{n}" for n in range(100)]
    for index in (3, 50, 99):
        ids[index] = f"c:1:bad{index}"
    answers = await asyncio.gather(*(ekb.invoice_url(each) for each in ids), return_exceptions=True)
    failed = {each: answer for each, answer in zip(ids, answers, strict=True) if isinstance(answer, BaseException)}
    assert set(failed) == {"c:1:bad3", "c:1:bad50", "c:1:bad99"}
    assert all(isinstance(error, InvalidRequestError) for error in failed.values())
    assert quick_box.count("invoice_url") <= 45


async def test_transient_trouble_is_retried_whole() -> None:
    """A batch with a transient failure is retried whole, not split."""
    fault = Fault.answer(503, calls="invoice_details_many", times=2)
    async with Sandbox(faults=[fault]) as box, session_on(box) as ekb:
        await asyncio.gather(*(ekb.invoice_details(f"c:1:{n}") for n in range(80)))
        assert box.count("invoice_details_many") == 3


async def test_without_the_call_for_many() -> None:
    """Without the endpoint for many IDs, each ID is sent alone, and the missing endpoint is not tried again."""
    async with Sandbox(detail_batch=False) as box, session_on(box) as ekb:
        found = await ekb.invoice_details_many([*(f"c:1:{n}" for n in range(250)), "unknown"])
        assert all(lines and lines[0].invoice_id == each for each, lines in found.items() if each != "unknown")
        assert found["unknown"] == []
        assert box.count("invoice_details") == 251
        tried = box.count("invoice_details_many")
        assert tried <= 4
        assert await ekb.invoice_details("c:1:1")
        assert box.count("invoice_details_many") == tried


async def test_many_keep_order_and_drop_duplicates(ekb: EkbSession) -> None:
    """Results are in the order of the IDs, each once; unknown IDs give None or no lines."""
    ids = ["c:1:3", "unknown", "c:1:1", "c:1:3", "ID01opaque"]
    links = await ekb.invoice_urls(iter(ids))
    assert list(links) == ["c:1:3", "unknown", "c:1:1", "ID01opaque"]
    assert links["unknown"] is None
    details = await ekb.invoice_details_many(ids)
    assert list(details) == list(links)
    assert details["unknown"] == []
    assert await ekb.invoice_urls([]) == {} == await ekb.invoice_details_many([])


async def test_wrong_ids_are_refused_first(ekb: EkbSession, quick_box: Sandbox) -> None:
    """Invalid IDs, and a single text in place of several, are refused before anything is sent."""
    for wrong in ("", "  ", None, 7):
        with pytest.raises(ConfigError, match="invoice_id"):
            await ekb.invoice_url(wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="invoice_ids"):
            await ekb.invoice_urls(["c:1:1", wrong])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="several"):
        await ekb.invoice_details_many("c:1:1")
    assert quick_box.log == []


async def test_closing_fails_what_was_not_sent() -> None:
    """Closing fails IDs not yet sent at once, and lets requests in flight finish."""
    async with Sandbox(latency={"invoice_url": 0.2}) as box:
        async with session_on(box, batch_in_flight=1) as ekb:
            sent = asyncio.create_task(ekb.invoice_url("c:1:1"))
            await box.arrived("invoice_url")
            waiting = asyncio.create_task(ekb.invoice_url("c:1:2"))
            await asyncio.sleep(0)
        assert (await sent).id == "c:1:1"
        with pytest.raises(SessionClosedError):
            await waiting


async def test_documents(ekb: EkbSession, quick_box: Sandbox) -> None:
    """Invoices of documents are found by code and by ID, in several requests, and unknown documents are left out."""
    quick_box.vendor.add_flow(code="B22001240", flow_id="ID_flow", invoice_ids=["c:1:1", "c:1:2"])
    by_code = await ekb.flow_invoices(codes=["B22001240", *(f"unknown{n}" for n in range(150))])
    assert [ref.invoice_id for ref in by_code["B22001240"]] == ["c:1:1", "c:1:2"]
    assert quick_box.count("flow_invoices") == 2
    assert list(await ekb.flow_invoices(ids=["ID_flow"])) == ["ID_flow"]
    for arguments in ({}, {"codes": ["a"], "ids": ["b"]}, {"codes": "B1"}):
        with pytest.raises(ConfigError):
            await ekb.flow_invoices(**arguments)


async def test_checked_invoices(ekb: EkbSession, quick_box: Sandbox) -> None:
    """Verification by ID and by fields returns the checked invoice, or raises `InvoiceNotFoundError`."""
    assert (await ekb.verify_by_id("c:031001900204:91068626")).raw
    checked = await ekb.verify_by_fields(code="031001900204", number="91068626", date="2022-01-10", amount="305.66")
    assert checked.raw
    assert '"kprq":"20220110"' in quick_box.log[-1].body
    with pytest.raises(InvoiceNotFoundError, match="查验成功所查发票不存在"):
        await ekb.verify_by_id("unknown")
    for wrong in ({"date": "soon"}, {"date": "2022-01-10", "amount": "much"}, {"date": "2022-01-10", "number": ""}):
        with pytest.raises(ConfigError):
            await ekb.verify_by_fields(**{"code": "", "number": "1", **wrong})
    stats = ekb.stats()
    assert (stats.verify_by_id.succeeded, stats.verify_by_id.failed, stats.verify_by_fields.succeeded) == (1, 1, 1)


async def test_bulk_look_ups_raise_what_concerns_them_all() -> None:
    """A failure that concerns all IDs is raised, not reported as unknown IDs."""
    async with Sandbox(faults=[Fault.answer(500, calls="invoice_url")]) as box, session_on(box, max_tries=2) as ekb:
        with pytest.raises(EkbError):
            await ekb.invoice_urls(["c:1:1", "c:1:2"])
