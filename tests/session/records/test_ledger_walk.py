"""The whole ledger, page by page, while it stays as it is and while it changes."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async import ConfigError, EkbSession, InvoiceKind, LedgerWalk, ResponseError, ServerError
from ekb_async.protocol.decoding import Page
from ekb_async.sandbox import Fault, SampleInvoice, Sandbox
from ekb_async.session.records.overlap import ListReader, page_with
from tests.support.canned_vendor import CannedVendor, reply, session_with
from tests.support.ledgers import KIND_OF_PART, add_invoices, requests

ORDERS = ["newest", "oldest", "updated"]


async def ids_of(walk: LedgerWalk, most: int | None = None) -> list[str]:
    """Return the IDs of the next invoices of a walk."""
    found = []
    async for invoice in walk:
        found.append(invoice.id or "")
        if most is not None and len(found) == most:
            break
    return found


async def test_a_ledger_of_all_kinds_is_listed_with_few_requests(box: Sandbox, ekb: EkbSession) -> None:
    """10,000 invoices come once each, with at most 130 requests, of which one at a time is under way."""
    ids = add_invoices(box.vendor, range(10_000))
    walk = ekb.ledger()
    first = await ids_of(walk, 1)
    assert requests(box) == 1
    found = first + await ids_of(walk)
    assert sorted(found) == ids
    assert requests(box) <= 130
    assert (walk.total, walk.changes) == (10_000, 0)


@pytest.mark.parametrize("order", ORDERS)
async def test_invoices_that_are_there_throughout_are_returned_once(box: Sandbox, ekb: EkbSession, order: str) -> None:
    """While 200 are added and 50 removed, none of the others is missing, none comes twice, in at most 240 requests."""
    ids = add_invoices(box.vendor, range(10_000))
    box.vendor.rules.ledger_order = order  # type: ignore[assignment]
    chance = random.Random(order)
    removed = chance.sample(ids, 50)
    changes = [("add", str(number)) for number in range(200)] + [("remove", each) for each in removed]
    chance.shuffle(changes)
    found: list[str] = []
    walk = ekb.ledger()
    async for invoice in walk:
        found.append(invoice.id or "")
        if len(found) % 40 == 0 and changes:
            change, what = changes.pop()
            if change == "remove":
                box.vendor.remove_invoice(what)
            else:
                add_invoices(box.vendor, range(20_000 + int(what), 20_001 + int(what)))
    assert not changes
    assert set(ids) - set(removed) <= set(found)
    assert max(Counter(found).values()) == 1
    assert requests(box) <= 240
    assert walk.changes > 0


async def test_many_invoices_removed_at_once_hide_none(box: Sandbox, ekb: EkbSession) -> None:
    """Removing most of what was read already moves the rest by many pages."""
    ids = add_invoices(box.vendor, range(1500), parts=["train"])
    walk = ekb.ledger(["train"])
    found = await ids_of(walk, 900)
    for invoice_id in found[:850]:
        box.vendor.remove_invoice(invoice_id)
    found += await ids_of(walk)
    assert sorted(found) == ids


async def test_changed_invoices_move_and_are_not_lost(box: Sandbox, ekb: EkbSession) -> None:
    """With the ledger in the order of changes, invoices that change before they are read are found all the same."""
    ids = add_invoices(box.vendor, range(1000), parts=["taxi"])
    box.vendor.rules.ledger_order = "updated"
    walk = ekb.ledger(["taxi"])
    found = await ids_of(walk, 300)
    box.vendor.add_flow(code="B1", flow_id="f1", invoice_ids=ids[:40])
    found += await ids_of(walk)
    assert sorted(found) == ids


@pytest.mark.parametrize("order", ORDERS)
async def test_a_cursor_goes_on_where_an_earlier_walk_stopped(box: Sandbox, ekb: EkbSession, order: str) -> None:
    """Stopping anywhere, adding and removing invoices, and going on in new walks returns each once."""
    ids = add_invoices(box.vendor, range(400), parts=["train", "taxi"])
    box.vendor.rules.ledger_order = order  # type: ignore[assignment]
    found: list[str] = []
    cursor, removed = None, set()
    for turn, length in enumerate([1, 70, 37, 99, 100, 3, 500]):
        walk = ekb.ledger(["train", "taxi"]) if cursor is None else ekb.ledger(cursor=cursor)
        found += await ids_of(walk, length)
        cursor = walk.cursor
        box.vendor.remove_invoice(found[-1])
        removed.add(found[-1])
        add_invoices(box.vendor, range(1000 + 30 * turn, 1030 + 30 * turn), parts=["train", "taxi"])
    assert set(ids) - removed <= set(found)
    assert max(Counter(found).values()) == 1
    assert await ids_of(ekb.ledger(cursor=cursor)) == []


async def test_a_walk_goes_on_after_an_error(box: Sandbox, ekb: EkbSession) -> None:
    """A page that fails for good raises its error, and iterating again reads it again."""
    ids = add_invoices(box.vendor, range(300), parts=["train"])
    walk = ekb.ledger(["train"])
    found = await ids_of(walk, 150)
    box.faults.append(Fault.answer(500, "系统异常", calls={"ledger"}, times=1))
    with pytest.raises(ServerError):
        found.extend([each async for each in _ids(walk)])
    found = list(dict.fromkeys(found))
    found += await ids_of(walk)
    assert len(set(found)) >= 250
    assert set(found) <= set(ids)


async def _ids(walk: LedgerWalk) -> AsyncIterator[str]:
    async for invoice in walk:
        yield invoice.id or ""


async def test_a_walk_survives_its_token(box: Sandbox, ekb: EkbSession) -> None:
    """A token that is revoked between two pages is replaced, and no invoice is missing."""
    ids = add_invoices(box.vendor, range(300), parts=["train"])
    walk = ekb.ledger(["train"])
    found = await ids_of(walk, 50)
    box.revoke_tokens()
    found += await ids_of(walk)
    assert sorted(found) == ids
    assert box.vendor.tokens_issued == 2


async def test_a_cancelled_walk_goes_on(box: Sandbox, ekb: EkbSession) -> None:
    """Cancelling the wait for a page loses nothing."""
    ids = add_invoices(box.vendor, range(150), parts=["train"])
    walk = ekb.ledger(["train"])
    found = await ids_of(walk, 100)
    box.latency = {"ledger": 60}
    seen = requests(box)
    waiting = asyncio.create_task(ids_of(walk, 1))
    await box.arrived("ledger", seen + 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    box.latency = {}
    assert sorted(found + await ids_of(walk)) == ids


def pages(length: int, **options: Any) -> CannedVendor:
    """Return a vendor with a list that it counts, cuts or repeats in odd ways."""
    items = [{"id": f"I{number}"} for number in range(length)]

    def answer(request: Any) -> Any:
        asked = json.loads(request.body)
        size = min(options.get("most", 100), asked["count"])
        first = 0 if options.get("repeats") else (asked["index"] - 1) * size
        listed = {"items": items[first : first + size]}
        return reply(200, listed if "count" not in options else {"count": options["count"], **listed})

    return CannedVendor(ledger=answer)


@pytest.mark.parametrize("count", [0, -1, 10, 150, 151, 195, 250, 400, 10**9, "150", None, {}])
async def test_a_wrong_count_hides_nothing_and_ends(count: object) -> None:
    """The vendor may count more invoices than it lists, fewer, or none."""
    vendor = pages(150, count=count)
    async with session_with(vendor) as ekb:
        assert await ids_of(ekb.ledger(["train"])) == [f"I{number}" for number in range(150)]
    assert vendor.sent["ledger"] <= 5


@pytest.mark.parametrize("options", [{"most": 50, "count": 300}, {"repeats": True, "count": 300}, {"repeats": True}])
async def test_pages_that_repeat_are_an_error(options: dict[str, Any]) -> None:
    """If page after page has nothing new, the walk raises `ResponseError` instead of going on without end."""
    vendor = pages(300, **options)
    async with session_with(vendor) as ekb:
        with pytest.raises(ResponseError, match="repeat"):
            await ids_of(ekb.ledger(["train"]))
    assert vendor.sent["ledger"] < 2000


async def test_several_tasks_share_a_walk(box: Sandbox, ekb: EkbSession) -> None:
    """Each invoice goes to one of them."""
    ids = add_invoices(box.vendor, range(700), parts=["train", "taxi"])
    box.latency = {"ledger": 0.01}
    walk = ekb.ledger(["train", "taxi"])
    found = await asyncio.gather(*(ids_of(walk) for _ in range(5)))
    assert sorted(itertools.chain.from_iterable(found)) == ids


async def test_kinds_limit_the_walk(box: Sandbox, ekb: EkbSession) -> None:
    """A kind of value-added-tax invoice is one of several in its part; other kinds are a part each."""
    box.vendor.add_invoice("paper", SampleInvoice(kind="vat_special", number="1"))
    box.vendor.add_invoice("digital", SampleInvoice(kind="digital_normal", number="2"))
    box.vendor.add_invoice("train", SampleInvoice(kind="train", number="3"))
    assert await ids_of(ekb.ledger([InvoiceKind.DIGITAL_NORMAL])) == ["digital"]
    assert requests(box) == 1
    assert sorted(await ids_of(ekb.ledger([InvoiceKind.VAT_INVOICE]))) == ["digital", "paper"]
    assert sorted(await ids_of(ekb.ledger([InvoiceKind.TRAIN_TICKET, "vat_special"]))) == ["paper", "train"]
    walk = ekb.ledger([InvoiceKind.DIGITAL_NORMAL])
    assert await ids_of(ekb.ledger(cursor=walk.cursor)) == ["digital"]


async def test_a_platform_without_some_parts_is_walked(box: Sandbox, ekb: EkbSession) -> None:
    """A part that the vendor does not support is passed over."""
    box.vendor.rules.ledger_kinds = {"invoice", "train"}
    ids = add_invoices(box.vendor, range(10), parts=["train"])
    assert sorted(await ids_of(ekb.ledger())) == ids


async def test_an_empty_ledger_takes_a_request_for_each_part(box: Sandbox, ekb: EkbSession) -> None:
    """There is nothing to iterate over."""
    assert await ids_of(ekb.ledger()) == []
    assert requests(box) == len(KIND_OF_PART)


@pytest.mark.parametrize("kinds", ["train", 7, ["nothing"], [None], [InvoiceKind.UNKNOWN], [InvoiceKind.SHIP_TICKET]])
async def test_wrong_kinds_are_refused(ekb: EkbSession, kinds: object) -> None:
    """They raise `ConfigError` before anything is sent."""
    with pytest.raises(ConfigError):
        ekb.ledger(kinds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "[]", "{}", "null", b"\xff", 7),
        *('[[],["nowhere"]]', '[[],["train"],-1]', '[["x"],["train"],0]', '[[],["train","train"]]'),
    ],
)
async def test_a_wrong_cursor_is_refused(ekb: EkbSession, cursor: object) -> None:
    """A text that no walk has made raises `ConfigError`."""
    with pytest.raises(ConfigError):
        ekb.ledger(cursor=cursor)  # type: ignore[arg-type]


async def test_a_cursor_contains_the_kinds(ekb: EkbSession) -> None:
    """Giving both is refused."""
    with pytest.raises(ConfigError):
        ekb.ledger(["train"], cursor=ekb.ledger(["train"]).cursor)


# The reader alone


def change_at_random(changes: list[tuple[str, int]], entries: list[int], stays: set[int], new: Iterator[int]) -> None:
    """Add entries to a list and remove others, which then no longer stay."""
    for change, where in changes:
        if change == "remove":
            if entries:
                stays.discard(entries.pop(where % len(entries)))
            continue
        length = len(entries)
        place = 0 if change == "add first" else length if change == "add last" else where % (length + 1)
        entries.insert(place, next(new))


CHANGE = st.tuples(st.sampled_from(["add first", "add last", "remove", "add anywhere"]), st.integers(0, 10**6))


@given(st.integers(0, 700), st.lists(st.lists(CHANGE, max_size=40), max_size=12), st.booleans())
def test_no_entry_that_stays_is_skipped(length: int, rounds: list[list[tuple[str, int]]], has_total: bool) -> None:
    """Whatever is added and removed between two pages, each entry that stays is returned once, in bounded steps."""
    entries = list(range(length))
    stays = set(entries)
    new = itertools.count(length)
    reader: ListReader[int] = ListReader()
    found: list[int] = []
    steps = 0
    while not reader.is_read:
        page = reader.next_page
        assert page.start % page.size == 0
        assert 1 <= page.size <= 100
        there: Page[int] = Page(entries[page.start : page.end])
        there.total = len(entries) if has_total else None
        found += reader.take(page, there, [str(each) for each in there])
        steps += 1
        change_at_random(rounds[steps - 1] if steps <= len(rounds) else [], entries, stays, new)
    assert stays <= set(found)
    assert len(found) == len(set(found))
    assert steps <= 100


FEW_CHANGES = st.lists(CHANGE, max_size=8)


@given(st.integers(0, 700), st.lists(st.tuples(FEW_CHANGES, st.integers(0, 100)), max_size=30))
def test_no_entry_that_stays_is_skipped_by_readers_that_continue(
    length: int, rounds: list[tuple[list[tuple[str, int]], int]]
) -> None:
    """Readers that continue each other, each leaving some entries unused, return each entry that stays once."""
    entries = list(range(length))
    stays = set(entries)
    new = itertools.count(length)
    reader: ListReader[int] = ListReader()
    found: list[int] = []
    for changes, left in [*rounds, *([([], 0)] * 50)]:
        page = reader.next_page
        there: Page[int] = Page(entries[page.start : page.end])
        there.total = len(entries)
        taken = reader.take(page, there, [str(each) for each in there])
        if reader.at_beginning_again:
            # A cursor ends with the list.
            found += taken
            break
        unused = min(left, len(taken))
        found += taken[: len(taken) - unused]
        if reader.is_read and not unused:
            break
        reader = ListReader(max(0, reader.position - unused), reader.latest(unused), reader.total)
        change_at_random(changes, entries, stays, new)
    assert stays <= set(found)
    assert len(found) == len(set(found))


@given(st.integers(0, 10**7))
def test_a_page_contains_its_position_and_most_of_what_follows(position: int) -> None:
    """Every page holds at least fifty entries from its position on."""
    page = page_with(position)
    assert page.start <= position <= page.end - 50
