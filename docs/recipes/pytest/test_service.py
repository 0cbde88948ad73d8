"""Tests of the service: what it returns, what it costs, and what it does in trouble."""

import asyncio
import hashlib
from decimal import Decimal

import httpx
import pytest

from ekb_async.sandbox import Fault, SampleInvoice, Sandbox

PNG = b"\x89PNG\r\n\x1a\n"  # the sandbox takes what begins as a picture or a PDF does
TICKET = SampleInvoice(kind="train", number="K083651", total=Decimal("58.50"), tax=Decimal("4.83"))


async def verify(client: httpx.AsyncClient, staff_id: str = "corp:staff") -> httpx.Response:
    return await client.post("/verify", files={"file": ("ticket.png", PNG)}, data={"staff_id": staff_id})


@pytest.mark.ekb_sandbox(recognises={hashlib.sha256(PNG).hexdigest(): [TICKET]})
async def test_a_ticket(client: httpx.AsyncClient, ekb_sandbox: Sandbox) -> None:
    answer = await verify(client)
    assert answer.status_code == 200
    (invoice,) = answer.json()["invoices"]
    assert (invoice["form"]["number"], invoice["form"]["total"]) == ("K083651", "58.50")
    assert ekb_sandbox.count("verify") == 1  # one billed call


@pytest.mark.ekb_sandbox(staff={"corp:staff"})
async def test_an_unknown_person(client: httpx.AsyncClient) -> None:
    answer = await verify(client, "corp:nobody")
    assert answer.status_code == 422
    assert "人员不存在" in answer.json()["detail"]


@pytest.mark.ekb_sandbox(permissions={"ocr"})
async def test_verification_is_not_enabled(client: httpx.AsyncClient, ekb_sandbox: Sandbox) -> None:
    assert (await verify(client)).status_code == 502
    assert ekb_sandbox.count("verify") == 1  # hopeless calls are not repeated


async def test_the_vendor_recovers(client: httpx.AsyncClient, ekb_sandbox: Sandbox) -> None:
    ekb_sandbox.faults.append(Fault.answer(503, "服务暂不可用", calls="verify", times=1))
    assert (await verify(client)).status_code == 200
    assert ekb_sandbox.count("verify") == 2


async def test_a_lost_answer(client: httpx.AsyncClient, ekb_sandbox: Sandbox) -> None:
    ekb_sandbox.faults.append(Fault.lost_answer(calls="verify", times=1))
    assert (await verify(client)).status_code == 200
    assert ekb_sandbox.count("verify") == 2  # the first may be billed as well
    assert (await client.get("/health")).json()["verify.maybe_billed"] == 1


async def test_a_slow_vendor_and_many_callers(client: httpx.AsyncClient, ekb_sandbox: Sandbox) -> None:
    ekb_sandbox.latency["verify"] = 30.0
    calls = [asyncio.create_task(verify(client)) for _ in range(30)]
    done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert {call.result().status_code for call in done} == {429}
    assert all(int(call.result().headers["Retry-After"]) >= 15 for call in done)
    for call in waiting:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_empty_upload_costs_nothing(client: httpx.AsyncClient, ekb_sandbox: Sandbox) -> None:
    answer = await client.post("/verify", files={"file": ("a.png", b"")}, data={"staff_id": "corp:staff"})
    assert answer.status_code == 400
    assert ekb_sandbox.log == []
