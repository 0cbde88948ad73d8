"""A refusal of the endpoint is not reported as unknown IDs, and takes few requests to detect."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from ekb_async import ApiError, ConfigError, EkbError, InvalidRequestError, ResponseError
from ekb_async.backlog import Backlog
from ekb_async.protocol.replies import Reply
from tests.support.backlogs import all_tasks, manifest
from tests.support.canned_vendor import CannedVendor, reply, session_with
from tests.support.refusing_vendor import IDS, refusing

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply(302, {"Location": "https://elsewhere.example"}, b""), ApiError),
        (reply(404, "<html><title>404 Not Found</title></html>", "text/html"), InvalidRequestError),
        (reply(404, {"errorCode": 404, "errorMessage": "Not Found"}), InvalidRequestError),
        (reply(405, "Error 405 Method Not Allowed", "text/plain"), InvalidRequestError),
        (reply(200, "Error 405 Method Not Allowed", "text/plain"), InvalidRequestError),
        (reply(200, {"value": []}), ResponseError),
        (reply(200, {"items": {}}), ResponseError),
        (reply(200, []), ResponseError),
    ],
)
async def test_what_concerns_the_address_is_not_split(answer: Reply, kind: type[EkbError]) -> None:
    """A redirect, a missing address or a wrong wrapper fails a thousand IDs in ten requests, with its error."""
    vendor = CannedVendor(invoice_url=answer, invoice_details_many=answer, invoice_details=answer)
    async with session_with(vendor) as ekb:
        with pytest.raises(kind) as links:
            await ekb.invoice_urls(IDS)
        with pytest.raises(kind) as lines:
            await ekb.invoice_details_many(IDS)
    assert type(links.value) is type(lines.value) is kind
    assert vendor.sent["invoice_url"] == 10
    assert vendor.sent["invoice_details_many"] == 10
    assert vendor.sent["invoice_details"] <= 10


@pytest.mark.parametrize("status", [400, 412, 200])
async def test_one_refusal_for_all_ids_is_raised(status: int) -> None:
    """If every ID is refused alike, the refusal is raised after a fraction of the requests."""
    refused = reply(status, {"errorCode": 412, "errorMessage": "JSON请求参数不正确"})
    vendor = CannedVendor(invoice_url=refused)
    async with session_with(vendor) as ekb:
        with pytest.raises(InvalidRequestError, match="JSON请求参数不正确"):
            await ekb.invoice_urls(IDS)
        assert vendor.sent["invoice_url"] < 200
        with pytest.raises(InvalidRequestError):
            await ekb.invoice_urls(IDS[:3])


async def test_texts_that_differ_in_numbers_are_alike() -> None:
    """Refusals that differ only in a request ID count as the same."""
    numbers = iter(range(10_000_000, 20_000_000))
    vendor = CannedVendor(invoice_url=lambda _: reply(400, {"errorMessage": f"参数错误 [trace {next(numbers)}]"}))
    async with session_with(vendor) as ekb:
        with pytest.raises(InvalidRequestError, match="参数错误"):
            await ekb.invoice_urls(IDS)
    assert vendor.sent["invoice_url"] < 200


@pytest.mark.parametrize("bad", [{0}, {99}, {0, 99}, set(range(0, 100, 2)), set(range(99)), set(range(1, 100))])
async def test_bad_ids_spoil_no_good_one(bad: set[int]) -> None:
    """Refused IDs of a request, however many and wherever they are, do not affect the others."""
    names = {IDS[n] for n in bad}
    vendor = CannedVendor(invoice_url=refusing(names.__contains__), invoice_details_many=refusing(names.__contains__))
    async with session_with(vendor) as ekb:
        links = await ekb.invoice_urls(IDS[:100])
        lines = await ekb.invoice_details_many(IDS[:100])
    assert {each for each, link in links.items() if link is None} == names
    assert {each for each, found in lines.items() if not found} == names


async def test_a_whole_bad_batch_spoils_no_other() -> None:
    """A hundred refused IDs at the start do not fail the call if others are answered."""
    names = {*IDS[:100], IDS[150], *IDS[300:400]}
    vendor = CannedVendor(invoice_url=refusing(names.__contains__))
    async with session_with(vendor) as ekb:
        links = await ekb.invoice_urls(IDS)
    assert {each for each, link in links.items() if link is None} == names


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("size", [2, 10, 100])
async def test_a_few_good_ids_among_many_bad_ones(size: int, seed: int) -> None:
    """If nine of ten IDs are refused, no good ID is reported as unknown."""
    names = set(random.Random(seed).sample(IDS[:300], 270))
    vendor = CannedVendor(invoice_url=refusing(names.__contains__))
    async with session_with(vendor, batch_size=size) as ekb:
        links = await ekb.invoice_urls(IDS[:300])
    assert {each for each, link in links.items() if link is None} == names


async def test_a_text_that_names_its_id_is_about_that_id() -> None:
    """IDs that are each refused by name count as unknown, and so do IDs that do not exist."""
    for text in ("发票[{}]格式错误", "发票不存在"):
        vendor = CannedVendor(invoice_url=refusing(lambda _: True, text))
        async with session_with(vendor) as ekb:
            assert await ekb.invoice_urls(IDS[:5]) == dict.fromkeys(IDS[:5])


async def test_callers_that_leave_hold_up_no_other() -> None:
    """Cancelling callers of a batch that is being searched does not affect callers of batches that wait."""
    names = set(IDS[:100])
    vendor = CannedVendor(invoice_url=refusing(names.__contains__))
    async with session_with(vendor) as ekb:
        leaving = [asyncio.create_task(ekb.invoice_url(each)) for each in IDS[:100]]
        staying = [asyncio.create_task(ekb.invoice_url(each)) for each in [IDS[99], *IDS[100:300], IDS[5]]]
        names.add(IDS[120])
        for _ in range(12):
            await asyncio.sleep(0)
        for caller in leaving:
            caller.cancel()
        answers = await asyncio.gather(*staying, return_exceptions=True)
        await asyncio.wait(leaving)
    assert [type(answer) for answer in answers].count(InvalidRequestError) == 3


async def test_a_blank_id_in_a_backlog_fails_alone() -> None:
    """A blank ID among 61 gets an error of its own, and the others get their results."""
    found = refusing(lambda _: False)
    async with session_with(CannedVendor(invoice_url=found, invoice_details_many=found)) as ekb:
        links = await ekb.look_up("url", [*IDS[:30], "  ", *IDS[30:60]])
        lines = await ekb.look_up("detail", [*IDS[:30], "", *IDS[30:60]])
    for answers, blank in (links, "  "), (lines, ""):
        assert isinstance(answers.pop(blank), ConfigError)
        assert list(answers) == IDS[:60]
        assert not any(isinstance(answer, EkbError) for answer in answers.values())


async def test_rows_quote_what_was_refused(tmp_path: Path) -> None:
    """Rows of a backlog whose look-ups are all refused alike fail with the vendor's text, not as unknown IDs."""
    refused = reply(412, {"errorCode": 412, "errorMessage": "JSON请求参数不正确"})
    async with (
        Backlog.open(tmp_path / "b.sqlite") as backlog,
        session_with(CannedVendor(invoice_url=refused, invoice_details_many=refused)) as ekb,
    ):
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,{each},,," for each in IDS[:30]), "detail,,c:1:1,,,"))
        await backlog.run(ekb)
        tasks = await all_tasks(backlog)
    assert {task.state for task in tasks} == {"failed"}
    assert all("JSON请求参数不正确" in (task.error or "") for task in tasks)
