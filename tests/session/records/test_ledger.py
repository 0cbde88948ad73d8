"""Invoices of the ledger, by ID and by code and number."""

from __future__ import annotations

import asyncio
import datetime
import pickle
from decimal import Decimal

import pytest

from ekb_async import (
    ConfigError,
    EkbSession,
    InvalidRequestError,
    InvoiceKind,
    PermissionDeniedError,
    ServerError,
    SessionClosedError,
    SessionConfig,
    TrainTicketForm,
    UnknownInvoiceForm,
    VatInvoiceForm,
)
from ekb_async.models.ledger import OBJECTS
from ekb_async.sandbox import Fault, SampleInvoice, Sandbox
from tests.support.ledgers import add_invoices, requests


async def test_an_invoice_has_the_form_of_its_kind(box: Sandbox, ekb: EkbSession) -> None:
    """The flat fields of an entry are read as record and as form, and `raw` has all of them."""
    day = datetime.date(2024, 5, 6)
    box.vendor.add_invoice("vat", SampleInvoice(code="044", number="123", date=day, total=Decimal("10.60")), at=1.7e9)
    box.vendor.add_invoice("train", SampleInvoice(kind="train", number="E12", date=day))
    box.vendor.add_flow(code="B1", flow_id="flow1", invoice_ids=["train"])
    found = await ekb.ledger_invoices(["train", "unknown", "vat"])
    assert list(found) == ["train", "unknown", "vat"]
    vat, train = found["vat"], found["train"]
    assert found["unknown"] is None
    assert vat is not None
    assert train is not None
    assert isinstance(vat.form, VatInvoiceForm)
    assert (vat.form.code, vat.form.number, vat.form.date, vat.form.total) == ("044", "123", day, Decimal("10.60"))
    assert (vat.id, vat.object_id, vat.kind, vat.is_used) == (
        "vat",
        "invoice",
        InvoiceKind.VAT_NORMAL_ELECTRONIC,
        False,
    )
    assert vat.is_verified is True
    assert vat.created_at == datetime.datetime.fromtimestamp(1.7e9, datetime.UTC)
    assert isinstance(train.form, TrainTicketForm)
    assert (train.form.number, train.is_used, train.document_id) == ("E12", True, "flow1")
    assert b'"E_system_' in train.raw
    assert train.to_dict()["form"]["number"] == "E12"
    again = pickle.loads(pickle.dumps(train))  # noqa: S301 - our own bytes
    assert (again, again.object_id, again.raw) == (train, "train", train.raw)


@pytest.mark.parametrize("part", OBJECTS)
async def test_every_part_of_the_ledger_is_asked(box: Sandbox, ekb: EkbSession, part: str) -> None:
    """An invoice is found in any part, and its kind is never unknown."""
    [invoice_id] = add_invoices(box.vendor, range(1), parts=[part])
    found = (await ekb.ledger_invoices([invoice_id]))[invoice_id]
    assert found is not None
    assert found.object_id == part
    assert found.kind is not InvoiceKind.UNKNOWN
    assert (found.form.total is None) is isinstance(found.form, UnknownInvoiceForm)
    assert requests(box) <= len(OBJECTS)


async def test_invoices_are_found_by_code_and_number(box: Sandbox, ekb: EkbSession) -> None:
    """A key is `code:number`, or `:number` for an invoice without a code."""
    box.vendor.add_invoice("a", SampleInvoice(code="044", number="123"))
    box.vendor.add_invoice("b", SampleInvoice(kind="digital_normal", number="24312000000123878916"))
    found = await ekb.ledger_invoices(codes=["044:123", ":24312000000123878916", "044:124"])
    assert {key: invoice and invoice.id for key, invoice in found.items()} == {
        "044:123": "a",
        ":24312000000123878916": "b",
        "044:124": None,
    }


async def test_unknown_ids_take_one_request_for_each_part_and_known_ones_one(box: Sandbox, ekb: EkbSession) -> None:
    """A hundred IDs of all kinds are found with at most thirteen requests, and known ones of a kind with one."""
    ids = add_invoices(box.vendor, range(100))
    assert all((await ekb.ledger_invoices(ids)).values())
    first = requests(box)
    assert first <= 13
    assert all((await ekb.ledger_invoices(ids)).values())
    assert requests(box) - first <= 13
    before = requests(box)
    assert all((await ekb.ledger_invoices(ids[::13])).values())
    assert requests(box) - before == 1


async def test_a_thousand_callers_share_requests(box: Sandbox, ekb: EkbSession) -> None:
    """A thousand concurrent look-ups of IDs whose kind is known from a document take at most twelve requests."""
    ids = add_invoices(box.vendor, range(1000), parts=["invoice", "train"])
    box.vendor.add_flow(code="B1", flow_id="f1", invoice_ids=ids)
    await ekb.flow_invoices(codes=["B1"])
    found = await asyncio.gather(*(ekb.ledger_invoices([each]) for each in ids))
    assert [next(iter(each.values())) is not None for each in found] == [True] * 1000
    assert requests(box) <= 12
    stats = ekb.stats().ledger
    assert (stats.keys, stats.requests) == (1000, requests(box))


async def test_a_walk_tells_the_parts(box: Sandbox, ekb: EkbSession) -> None:
    """Invoices that a walk has returned are found with one request."""
    ids = add_invoices(box.vendor, range(100), parts=["medical"])
    async for _ in ekb.ledger(["medical"]):
        pass
    before = requests(box)
    assert all((await ekb.ledger_invoices(ids)).values())
    assert requests(box) - before == 1


async def test_concurrent_callers_of_unknown_kind_share_requests(box: Sandbox, ekb: EkbSession) -> None:
    """A hundred callers with one unknown ID each take no more requests than one with all of them."""
    ids = add_invoices(box.vendor, range(100))
    await asyncio.gather(*(ekb.ledger_invoices([each]) for each in ids))
    assert requests(box) <= 13


async def test_the_parts_with_most_invoices_are_asked_first(box: Sandbox, ekb: EkbSession) -> None:
    """After shopping receipts were found, a further one takes one request."""
    ids = add_invoices(box.vendor, range(3), parts=["shopping"])
    await ekb.ledger_invoices(ids[:2])
    before = requests(box)
    assert (await ekb.ledger_invoices(ids[2:]))[ids[2]] is not None
    assert requests(box) - before == 1


async def test_an_invoice_whose_kind_was_changed_is_found_again(box: Sandbox, ekb: EkbSession) -> None:
    """An ID that its part no longer has is looked for in the others."""
    box.vendor.add_invoice("a", SampleInvoice(kind="taxi", number="1"))
    await ekb.ledger_invoices(["a"])
    box.vendor.add_invoice("a", SampleInvoice(kind="train", number="1"))
    found = (await ekb.ledger_invoices(["a"]))["a"]
    assert found is not None
    assert found.object_id == "train"


async def test_a_platform_without_some_parts_is_asked_for_each_once(box: Sandbox, ekb: EkbSession) -> None:
    """A part that the vendor does not support is no error, and is not asked for again."""
    box.vendor.rules.ledger_kinds = {"invoice", "other"}
    ids = add_invoices(box.vendor, range(150), parts=["other"])
    assert all((await ekb.ledger_invoices(ids)).values())
    first = requests(box)
    assert first <= 2 * 13
    assert (await ekb.ledger_invoices(["nowhere"]))["nowhere"] is None
    before = requests(box)
    assert (await ekb.ledger_invoices(["nowhere"]))["nowhere"] is None
    assert requests(box) - before == 2


async def test_a_refused_id_does_not_fail_the_others(box: Sandbox, ekb: EkbSession) -> None:
    """The IDs in the batch of one that the vendor refuses are found all the same."""
    ids = add_invoices(box.vendor, range(5), parts=["invoice"])
    box.vendor.rules.poison.add("poison")
    found = await ekb.ledger_invoices([*ids, "poison"])
    assert all(found[each] for each in ids)
    assert found["poison"] is None


async def test_invoices_are_found_if_one_part_is_refused(box: Sandbox, ekb: EkbSession) -> None:
    """A part for which there is no permission does not hide invoices of others; a second one ends the look-up."""
    [invoice_id] = add_invoices(box.vendor, range(1), parts=["medical"])
    refused = Fault.answer(403, "未开通功能，无权访问", calls={"ledger"}, times=1)
    box.faults.append(refused)
    found = (await ekb.ledger_invoices([invoice_id]))[invoice_id]
    assert found is not None
    box.faults.append(Fault.answer(403, "未开通功能，无权访问", calls={"ledger"}))
    before = requests(box)
    with pytest.raises(PermissionDeniedError):
        await ekb.ledger_invoices(["other"])
    assert requests(box) - before == 2


async def test_errors_of_the_call_are_raised(box: Sandbox, ekb: EkbSession) -> None:
    """An error that no ID has caused is raised to every caller."""
    box.faults.append(Fault.answer(500, "系统异常", calls={"ledger"}, times=2))
    with pytest.raises(ServerError):
        await ekb.ledger_invoices(["a", "b"])
    with pytest.raises(ServerError):
        await ekb.ledger_invoices(codes=["1:2"])


async def test_a_cancelled_caller_leaves_the_others_alone(box: Sandbox, ekb: EkbSession) -> None:
    """Callers in the same request get their invoices after one of them was cancelled."""
    ids = add_invoices(box.vendor, range(3), parts=["invoice"])
    calls = [asyncio.create_task(ekb.ledger_invoices([each])) for each in ids]
    await box.arrived("ledger")
    calls[0].cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(each, dict) and all(each.values()) for each in found[1:])


async def test_closing_ends_look_ups(box: Sandbox) -> None:
    """A look-up that is under way when the session closes fails with `SessionClosedError`, and so do later ones."""
    box.latency = {"ledger": 60}
    config = SessionConfig(close_timeout=0)
    async with EkbSession(box.credentials, base_url=box.base_url, config=config) as ekb:
        call = asyncio.create_task(ekb.ledger_invoices(["a"]))
        await box.arrived("ledger")
    with pytest.raises(SessionClosedError):
        await call
    with pytest.raises(SessionClosedError):
        await ekb.ledger_invoices(["a"])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"ids": ["a"], "codes": ["1:2"]},
        {"ids": "a"},
        {"ids": [None]},
        {"ids": [" "]},
        {"codes": ["12345678"]},
        {"codes": [7]},
    ],
)
async def test_wrong_arguments_are_refused(box: Sandbox, ekb: EkbSession, arguments: dict[str, object]) -> None:
    """Nothing is sent for them."""
    with pytest.raises(ConfigError):
        await ekb.ledger_invoices(**arguments)  # type: ignore[arg-type]  # wrong ones are what this is about
    assert not box.log


async def test_no_ids_are_no_request(box: Sandbox, ekb: EkbSession) -> None:
    """An empty list has an empty result."""
    assert await ekb.ledger_invoices([]) == {}
    assert not box.log


async def test_an_invalid_request_names_the_part(box: Sandbox, ekb: EkbSession) -> None:
    """A refusal of a page is raised with the vendor's path."""
    box.faults.append(Fault.answer(400, "当前页不能为0", calls={"ledger"}))
    with pytest.raises(InvalidRequestError) as refused:
        await anext(ekb.ledger())
    assert "/object/invoice/search" in refused.value.endpoint
