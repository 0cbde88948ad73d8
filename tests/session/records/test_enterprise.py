"""What the vendor has recorded about an enterprise: staff, licences, names as a buyer, and where its platform is."""

from __future__ import annotations

import asyncio
import datetime
import time

import pytest

from ekb_async import (
    ConfigError,
    EkbSession,
    InvalidRequestError,
    PermissionDeniedError,
    RecognitionError,
    ResponseError,
    SessionConfig,
)
from ekb_async.models import Licence, Payer, Staff
from ekb_async.sandbox import Fault, Sandbox

QUICK = SessionConfig(max_tries=1)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("ids", "c:1"),
        ("codes", "E7"),
        ("emails", "wang@example.com"),
        ("phones", "13800138000"),
        ("user_ids", "dd-7"),
    ],
)
async def test_staff_are_found_by_each_identifier(box: Sandbox, ekb: EkbSession, argument: str, value: str) -> None:
    """A person is found by ID, code, e-mail, phone, or the ID on the enterprise's own platform."""
    box.vendor.add_staff(
        id="c:1", name="王小明", code="E7", email="wang@example.com", cellphone="13800138000", user_id="dd-7"
    )
    box.vendor.add_staff(id="c:2", name="李雷", code="E8", cellphone="13900139000", user_id="dd-8")
    found = await ekb.staff(**{argument: [value, "unknown"]})
    person = found[value]
    assert isinstance(person, Staff)
    assert (person.id, person.name, person.phone, person.is_active) == ("c:1", "王小明", "13800138000", True)
    assert found["unknown"] is None


async def test_inactive_staff_are_unknown(box: Sandbox, ekb: EkbSession) -> None:
    """The vendor returns active members of staff only."""
    box.vendor.add_staff(id="c:1", name="王小明", active=False)
    assert await ekb.staff(ids=["c:1"]) == {"c:1": None}


async def test_staff_look_ups_share_requests(box: Sandbox, ekb: EkbSession) -> None:
    """250 concurrent callers take three requests."""
    for number in range(250):
        box.vendor.add_staff(id=f"c:{number}", name="李雷", code=f"E{number}")
    found = await asyncio.gather(*(ekb.staff(codes=[f"E{number}"]) for number in range(250)))
    assert all(each is not None for one in found for each in one.values())
    assert box.count("staff") == 3
    assert ekb.stats().staff.keys == 250


async def test_staff_that_a_reply_names_in_another_way_are_asked_for_alone(box: Sandbox, ekb: EkbSession) -> None:
    """If the reply leaves out the identifiers that were asked for, each person is found with a request of its own."""
    box.vendor.add_staff(id="c:1", name="王小明", cellphone="13800138000")
    box.vendor.add_staff(id="c:2", name="李雷", cellphone="13900139000")
    masked = b'{"items": [{"id": "c:1", "cellphone": "138****8000"}, {"id": "c:2", "cellphone": "139****9000"}]}'
    box.faults.append(Fault(kind="answer", carried_out=False, calls=frozenset({"staff"}), times=1, body=masked))
    found = await ekb.staff(phones=["13800138000", "13900139000"])
    assert [person and person.id for person in found.values()] == ["c:1", "c:2"]


@pytest.mark.parametrize("arguments", [{}, {"ids": ["a"], "codes": ["b"]}, {"emails": "a@b.c"}, {"phones": [138]}])
async def test_wrong_arguments_are_refused(box: Sandbox, ekb: EkbSession, arguments: dict[str, object]) -> None:
    """Nothing is sent for them."""
    with pytest.raises(ConfigError):
        await ekb.staff(**arguments)  # type: ignore[arg-type]  # wrong ones are what this is about
    assert not box.log


async def test_licences_have_their_terms(box: Sandbox, ekb: EkbSession) -> None:
    """A licence has a code, a name, a state, an end and its seats."""
    end = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.timezone(datetime.timedelta(hours=8)))
    box.vendor.set_licence("110407", expires_at=end.timestamp(), seats=50, used=7)
    licences = {each.code: each for each in await ekb.licences()}
    assert {"110407", "219902"} <= licences.keys()
    ocr = licences["110407"]
    assert isinstance(ocr, Licence)
    assert (ocr.name, ocr.state, ocr.expires_at, ocr.seats, ocr.used) == ("OCR智能票据识别", "using", end, 50, 7)


async def test_a_lapsed_licence_is_a_missing_permission(box: Sandbox, ekb: EkbSession) -> None:
    """Calls without a licence raise `PermissionDeniedError`, and the licences can still be listed."""
    box.vendor.set_licence("219902", expires_at=time.time() - 60)
    with pytest.raises(PermissionDeniedError):
        await ekb.invoice_details("c:1:1")
    licences = {each.code: each for each in await ekb.licences()}
    end = licences["219902"].expires_at
    assert end is not None
    assert end < datetime.datetime.now(datetime.UTC)


async def test_payers_have_former_names(box: Sandbox, ekb: EkbSession) -> None:
    """An enterprise has its present name, and the former one until it is no longer accepted."""
    until = 1_800_000_000.0
    box.vendor.add_payer("新名有限公司", "91330100X", former_name="旧名有限公司", former_name_until=until)
    payer = (await ekb.payers())[-1]
    assert isinstance(payer, Payer)
    assert (payer.tax_number, payer.is_active) == ("91330100X", True)
    end = payer.names["旧名有限公司"]
    assert list(payer.names) == ["新名有限公司", "旧名有限公司"]
    assert payer.names["新名有限公司"] is None
    assert end is not None
    assert abs(end.timestamp() - until) < 1


async def test_a_platform_is_located_without_keys(box: Sandbox) -> None:
    """The address is that of `base_url`, without a slash at its end, and no token is sent."""
    assert await EkbSession.locate("c", base_url=box.base_url) == box.base_url
    assert [entry.call for entry in box.log] == ["location"]


async def test_an_unknown_enterprise_is_refused(box: Sandbox) -> None:
    """The vendor's refusal is raised."""
    with pytest.raises(InvalidRequestError):
        await EkbSession.locate("other", base_url=box.base_url)


@pytest.mark.parametrize("address", ["ftp://x", "http://elsewhere.example", "https://", "识别失败", "https://u:p@x"])
async def test_an_address_that_cannot_be_used_is_an_error(box: Sandbox, address: str) -> None:
    """The address is checked as a `base_url` is; a text in its place may be an error of the vendor's."""
    box.vendor.rules.platform_url = address
    with pytest.raises((ResponseError, RecognitionError)):
        await EkbSession.locate("c", base_url=box.base_url, config=QUICK)


@pytest.mark.parametrize("corporation", ["", " ", None, 7])
async def test_a_blank_corporation_is_refused(box: Sandbox, corporation: object) -> None:
    """Nothing is sent for it."""
    with pytest.raises(ConfigError):
        await EkbSession.locate(corporation, base_url=box.base_url)  # type: ignore[arg-type]
    assert not box.log
