"""The sandbox's staff, licences, payers and location."""

from __future__ import annotations

import datetime
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.routes import PATHS
from tests.support.sandbox_calls import Connected, connected, query_for

UTC8 = datetime.timezone(datetime.timedelta(hours=8))
NOT_OPEN = (403, "未开通功能，无权访问")
VERIFY = {"fileName": "a.png", "fileUrl": "https://files.example/a.png", "staffId": "corp:wang"}
OCR, OPEN_INTERFACE = "110407", "219902"


@pytest.fixture
async def at() -> AsyncIterator[Connected]:
    """A sandbox without rate limits, and a client."""
    async with connected(ocr_rate=0, verify_rate=0) as running:
        yield running


async def items(at: Connected, call: str, body: object = None) -> list[Any]:
    """Return the items of an answer that must be a success."""
    status, content = await at.answer(call, body)
    assert status == 200, content
    found: list[Any] = content["items"]
    return found


async def licences(at: Connected) -> dict[str, Any]:
    """Return the licences by their code."""
    return {item["powerCode"]: item for item in await items(at, "licences")}


class TestStaff:
    @pytest.fixture(autouse=True)
    def people(self, at: Connected) -> None:
        """Two people, of whom one has left."""
        at.box.vendor.add_staff(
            id="corp:wang", name="王小明", code="E1", email="w@x.cn", cellphone="13800000000", user_id="u1"
        )
        at.box.vendor.add_staff(id="corp:zhou", name="周开票", code="E2", email="z@x.cn")
        at.box.vendor.add_staff(id="corp:gone", name="李离职", code="E3", active=False)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("STAFFID", "corp:wang"),
            ("CODE", "E1"),
            ("CELLPHONE", "13800000000"),
            ("MAIL", "w@x.cn"),
            ("USERID", "u1"),
        ],
    )
    async def test_each_identifier(self, at: Connected, key: str, value: str) -> None:
        """A person is found by each identifier, and not by the value of another one."""
        [person] = await items(at, "staff", {"type": key, "conditionIds": [value, value, "nothing"]})
        assert (person["id"], person["name"], person["code"]) == ("corp:wang", "王小明", "E1")
        assert (person["email"], person["cellphone"], person["userId"]) == ("w@x.cn", "13800000000", "u1")
        assert (person["active"], person["authState"]) == (True, True)
        other = "MAIL" if key != "MAIL" else "CODE"
        assert await items(at, "staff", {"type": other, "conditionIds": [value]}) == []

    async def test_active_staff_only(self, at: Connected) -> None:
        """People who have left are missing from the answer, and may not verify."""
        found = await items(at, "staff", {"type": "CODE", "conditionIds": ["E1", "E2", "E3"]})
        assert sorted(person["code"] for person in found) == ["E1", "E2"]
        assert (await at.answer("verify", VERIFY | {"staffId": "corp:gone"})).refusal == (400, "人员不存在")
        assert (await at.answer("verify", VERIFY | {"staffId": "corp:stranger"})).status == 200

    async def test_with_allowed_ids(self) -> None:
        """With the rule `staff`, people in it and people who were added verify and are found; others do not."""
        async with connected(verify_rate=0, staff={"corp:allowed", "corp:leaving"}) as at:
            at.box.vendor.add_staff(id="corp:wang", name="王小明")
            at.box.vendor.add_staff(id="corp:leaving", name="李离职", active=False)
            ids = ["corp:allowed", "corp:leaving", "corp:wang", "corp:stranger"]
            found = await items(at, "staff", {"type": "STAFFID", "conditionIds": ids})
            assert sorted(person["id"] for person in found) == ["corp:allowed", "corp:wang"]
            statuses = [(await at.answer("verify", VERIFY | {"staffId": staff_id})).status for staff_id in ids]
            assert statuses == [200, 400, 200, 400]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"type": "NAME", "conditionIds": ["a"]},
            {"type": "CODE"},
            {"type": "CODE", "conditionIds": []},
            {"type": "CODE", "conditionIds": [None]},
            {"type": "CODE", "conditionIds": "E1"},
        ],
        ids=str,
    )
    async def test_wrong_parameters(self, at: Connected, body: object) -> None:
        """An unknown type of identifier, and anything but an array of texts, is refused."""
        assert (await at.answer("staff", body)).refusal == (412, "JSON请求参数不正确")

    async def test_more_than_a_hundred(self, at: Connected) -> None:
        """A hundred values pass, one more is answered with status 200 and a bare text."""
        codes = [f"E{number}" for number in range(101)]
        assert len(await items(at, "staff", {"type": "CODE", "conditionIds": codes[:100]})) == 2
        status, text = await at.answer("staff", {"type": "CODE", "conditionIds": codes})
        assert status == 200
        assert isinstance(text, str)


class TestLicences:
    async def test_by_default(self, at: Connected) -> None:
        """OCR and the open interface are licensed for a year from the start of the sandbox."""
        found = await licences(at)
        assert {code: (item["state"], item["power"]["name"]) for code, item in found.items()} == {
            OCR: ("using", "OCR智能票据识别"),
            OPEN_INTERFACE: ("using", "开放接口"),
        }
        for code, item in found.items():
            ends = datetime.datetime.strptime(item["chargeInfo"]["expireTime"], "%Y-%m-%d %H:%M:%S")
            assert abs(ends.replace(tzinfo=UTC8).timestamp() - time.time() - 365 * 86_400) < 60
            assert (item["chargeInfo"]["type"], item["power"]["code"]) == ("date", code)

    async def test_clock_ahead(self) -> None:
        """The year begins by the vendor's clock."""
        async with (
            Sandbox(clock_ahead=2 * 365 * 86_400) as box,
            aiohttp.ClientSession(box.base_url) as http,
        ):
            query = query_for(box.vendor, time.time() + 2 * 365 * 86_400 - 1)
            async with http.post(PATHS["invoice_url"][1], params=query, json={"invoiceId": ["a"]}) as answer:
                assert answer.status == 200

    @pytest.mark.parametrize("change", [{"expires_at": time.time() - 1}, {"state": "stopped"}], ids=["date", "state"])
    async def test_ocr_lapsed(self, at: Connected, change: dict[str, Any]) -> None:
        """Without the licence of the OCR, both recognising calls are refused, and nothing is billed."""
        at.box.vendor.set_licence(OCR, **change)
        assert (await at.answer("ocr", {"fileUrl": "https://files.example/a.png"})).refusal == NOT_OPEN
        assert (await at.answer("verify", VERIFY)).refusal == NOT_OPEN
        assert at.box.vendor.billed["ocr"].total() == at.box.vendor.billed["verify"].total() == 0
        assert (await at.answer("verify_by_id", {"invoiceId": "a:b:1"})).status == 200
        assert (await licences(at))[OCR]["state"] != "using"
        at.box.vendor.set_licence(OCR, expires_at=time.time() + 60, state="using")
        assert (await at.answer("verify", VERIFY)).status == 200

    async def test_open_interface_lapsed(self, at: Connected) -> None:
        """Without the licence of the open interface every call with a token is refused, but the list of licences."""
        at.box.vendor.set_licence(OPEN_INTERFACE, expires_at=time.time() - 1)
        for call in PATHS.keys() - {"token", "refresh", "location", "licences"}:
            assert (await at.answer(call, {} if PATHS[call][0] == "POST" else None)).refusal == NOT_OPEN, call
        assert (await licences(at))[OPEN_INTERFACE]["state"] != "using"
        assert (await at.answer("location", corpId=at.box.vendor.rules.corporation)).status == 200

    async def test_seats(self, at: Connected) -> None:
        """A licence for a number of people has their number, and how many are in use."""
        at.box.vendor.set_licence("110001", seats=50, used=49, expires_at=1_800_000_000)
        assert (await licences(at))["110001"]["chargeInfo"] == {
            "type": "peoples",
            "sumPeople": 50,
            "usedPeople": 49,
            "expireTime": "2027-01-15 16:00:00",
        }


class TestPayers:
    async def test_by_default(self, at: Connected) -> None:
        """The enterprise is by default the buyer on the sandbox's invoices."""
        [payer] = await items(at, "payers")
        at.box.vendor.add_invoice("c:1:00000001")
        path = "/api/openapi/v2/extension/INVOICE/object/invoice/search"
        [invoice] = (await at.answer_at("POST", path, {"index": 1, "count": 1})).content["items"]
        assert payer["name"] == invoice["E_system_发票主体_购买方名称"]
        assert payer["payerNo"] == invoice["E_system_发票主体_购买方纳税人识别号"]
        assert (payer["active"], payer["historicalName"], payer["historicalNameExpirationTime"]) == (True, None, None)

    async def test_former_name(self, at: Connected) -> None:
        """A payer can have a former name, with the time until which it is accepted."""
        at.box.vendor.payers.clear()
        at.box.vendor.add_payer("新名有限公司", "9133", former_name="旧名有限公司", former_name_until=1_700_000_000)
        at.box.vendor.add_payer("停用有限公司", "9134", active=False)
        assert await items(at, "payers") == [
            {
                "name": "新名有限公司",
                "payerNo": "9133",
                "active": True,
                "historicalName": "旧名有限公司",
                "historicalNameExpirationTime": 1_700_000_000_000,
            },
            {
                "name": "停用有限公司",
                "payerNo": "9134",
                "active": False,
                "historicalName": None,
                "historicalNameExpirationTime": None,
            },
        ]


class TestLocation:
    async def test_another_platform(self, at: Connected) -> None:
        """With the rule `platform_url`, the answer names another platform, with one slash at its end."""
        at.box.vendor.rules.platform_url = "https://dd2.hosecloud.com"
        answer = await at.answer("location", corpId=at.box.vendor.rules.corporation)
        assert answer.content == {"value": "https://dd2.hosecloud.com/"}

    async def test_unknown_enterprise(self, at: Connected) -> None:
        """An enterprise that does not exist, and none at all, is refused with 400."""
        for query in ({"corpId": "other"}, {"corpId": ""}, {}):
            assert (await at.answer("location", **query)).status == 400


@pytest.mark.parametrize("call", ["staff", "licences", "payers", "documents", "document_files"])
async def test_token_method_faults_and_log(at: Connected, call: str) -> None:
    """These calls need a token and their method, take faults, and are logged by name."""
    method, path = PATHS[call]
    async with at.http.request(method, path) as answer:
        assert answer.status == 401
    assert (await at.answer_at("GET" if method == "POST" else "POST", path)).status == 405
    at.box.faults.append(Fault.answer(503, calls=call, times=1))
    assert (await at.answer(call)).status == 503
    assert [(entry.call, entry.status) for entry in at.box.log] == [(call, 401), (call, 405), (call, 503)]
