"""IDs given up because everything failed alike are sent after all once a request is answered."""

from __future__ import annotations

import asyncio

import pytest

from ekb_async import EkbError, InvalidRequestError, InvoiceUrl
from ekb_async.aio.batch_search import CallState, Part, Refusals
from tests.support import refusing_vendor
from tests.support.canned_vendor import CannedVendor, reply, session_with
from tests.support.refusing_vendor import ids_in, refusing

pytestmark = pytest.mark.slow

IDS = refusing_vendor.IDS[:400]

PLACES = {
    "last": range(370, 400),
    "first": range(30),
    "in one batch": range(210, 240),
    "one, where no sample is": range(312, 313),
    "the very last": range(399, 400),
}


def vendor_with(good: set[str], text: str = "JSON请求参数不正确") -> CannedVendor:
    answer = refusing(lambda each: each not in good, text)
    return CannedVendor(invoice_url=answer, invoice_details_many=answer)


@pytest.mark.parametrize("place", ["last", "first", "in one batch"])
async def test_no_answer_is_lost(place: str) -> None:
    """If all but thirty of 400 IDs are refused alike, the thirty get their results, wherever they are."""
    good = {IDS[n] for n in PLACES[place]}
    vendor = vendor_with(good)
    async with session_with(vendor) as ekb:
        links = await ekb.invoice_urls(IDS)
        lines = await ekb.invoice_details_many(IDS)
    assert list(links) == list(lines) == IDS
    assert {each for each, link in links.items() if link} == {each for each, found in lines.items() if found} == good
    assert max(vendor.sent.values()) < 10 + 4 / 3 * (len(IDS) - len(good))


@pytest.mark.parametrize("place", ["the very last", "one, where no sample is"])
async def test_look_ups_at_the_same_time(place: str) -> None:
    """Single look-ups and those of a backlog find even one good ID among 400."""
    good = {IDS[n] for n in PLACES[place]}
    is_sampled = place != "one, where no sample is"
    async with session_with(vendor_with(good)) as ekb:
        links = await ekb.look_up("url", IDS)
        alone = await asyncio.gather(*map(ekb.invoice_url, IDS), return_exceptions=True)
    if is_sampled:
        assert {each for each, link in links.items() if isinstance(link, InvoiceUrl)} == good
        assert {link.id for link in alone if isinstance(link, InvoiceUrl)} == good
    assert all(isinstance(link, InvoiceUrl | InvalidRequestError) for link in (*alone, *links.values()))


async def test_batches_of_several_callers() -> None:
    """IDs that were given up get their results when IDs of another caller are answered."""
    good = {*IDS[100:110], *IDS[370:]}
    async with session_with(vendor_with(good), batch_in_flight=1) as ekb:
        first = asyncio.create_task(ekb.invoice_urls(IDS[:200]))
        await asyncio.sleep(0)
        second = asyncio.create_task(ekb.invoice_details_many(IDS[:2]))
        third = asyncio.create_task(ekb.invoice_urls(IDS[200:]))
        found = {**await first, **await third}
        with pytest.raises(InvalidRequestError):
            await second
    assert {each for each, link in found.items() if link} == good


async def test_a_second_call_begins_anew() -> None:
    """The state of one call does not affect the next: if every ID of that one is refused, it takes few requests."""
    vendor = vendor_with(set(IDS[:100]))
    async with session_with(vendor) as ekb:
        assert all((await ekb.invoice_urls(IDS[:100])).values())
        vendor.sent.clear()
        with pytest.raises(InvalidRequestError):
            await ekb.invoice_urls(IDS[100:])
    assert vendor.sent["invoice_url"] < 200


async def test_what_is_given_up_does_not_wait_for_those_who_come_later() -> None:
    """Callers of IDs that were given up get their error even while others keep requesting IDs."""
    refused = reply(412, {"errorCode": 412, "errorMessage": "JSON请求参数不正确"})
    async with session_with(CannedVendor(invoice_url=refused), batch_in_flight=1) as ekb:
        call = asyncio.create_task(ekb.invoice_urls(IDS))
        later: list[asyncio.Task[object]] = []
        while not call.done():
            later.append(asyncio.create_task(ekb.invoice_url(f"c:2:{len(later)}")))
            await asyncio.sleep(0)
            assert len(later) < 20_000
        with pytest.raises(InvalidRequestError):
            await call
        assert len(later) > 0
        await asyncio.gather(*later, return_exceptions=True)
    assert all(isinstance(each.exception(), EkbError) for each in later)


async def test_callers_that_leave_what_was_given_up() -> None:
    """Cancelling callers of IDs that were given up does not affect other callers of the same batches."""
    good = {*IDS[150:160], *IDS[390:]}
    vendor = vendor_with(good)
    async with session_with(vendor, batch_in_flight=1) as ekb:
        callers = [asyncio.create_task(ekb.invoice_url(each)) for each in IDS]
        await vendor.arrived("invoice_url", 120)
        for caller in callers[100:155]:
            caller.cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
    found = {answer.id for answer in answers if isinstance(answer, InvoiceUrl)}
    assert found == {*IDS[155:160], *IDS[390:]}


async def test_closing_with_something_given_up() -> None:
    """Closing while IDs are given up and others are in flight fails all of them."""
    vendor = vendor_with(set())
    async with session_with(vendor, batch_in_flight=1) as ekb:
        callers = [asyncio.create_task(ekb.invoice_url(each)) for each in IDS]
        await vendor.arrived("invoice_url", 125)
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(answer, EkbError) for answer in answers)


async def test_a_refusal_of_another_kind_shows_that_the_call_works() -> None:
    """If some IDs are refused for a different reason, the IDs count as unknown and nothing is raised."""

    def answer(request: object) -> object:
        unknown = not set(ids_in(request)) - set(IDS[300:])
        text = f"发票[{ids_in(request)[0]}]格式错误" if unknown else "JSON请求参数不正确"
        return reply(412, {"errorCode": 412, "errorMessage": text})

    async with session_with(CannedVendor(invoice_url=answer)) as ekb:  # type: ignore[arg-type]
        assert await ekb.invoice_urls(IDS) == dict.fromkeys(IDS)


def test_states() -> None:
    """The state is UNKNOWN until enough keys were refused alone, and stays WORKS after the first answer."""
    refusals: Refusals[int] = Refusals()
    error = InvalidRequestError("JSON请求参数不正确", status=412, endpoint="/x")
    states = [refusals.state]
    waiting = refusals.batch_refused(list(range(100)), error, None)
    assert refusals.batch_refused(list(range(100, 200)), error, None) == []
    samples: list[Part[int]] = []
    while waiting:
        part = waiting.pop(0)
        refused = (
            refusals.batch_refused(part.keys, error, part.search)
            if len(part.keys) > 1
            else refusals.key_refused(part.keys[0], error, part.search)
        )
        waiting = [*refused, *waiting]
        assert part.search is not None
        samples = refusals.part_ended(part.search)
    states.append(refusals.state)
    assert [part.keys for part in samples] == [[100], [124], [149], [174], [199]]
    for part in samples:
        assert part.search is not None
        refusals.key_refused(part.keys[0], error, part.search)
        refusals.part_ended(part.search)
    assert len(refusals.deferred_keys) == 95
    assert [part.keys for part in refusals.answered(None)] == [
        [n for n in range(100, 200) if [n] not in [p.keys for p in samples]]
    ]
    states.append(refusals.state)
    assert states == [CallState.UNKNOWN, CallState.FAILS, CallState.WORKS]
    assert refusals.deferred_keys == []
