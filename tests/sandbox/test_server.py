"""The sandbox's web server: faults on the way to it and back, its log, and its end."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.faults import Strikes
from ekb_async.sandbox.vendor.routes import PATHS
from tests.support.sandbox_calls import (
    OTHER_HOST,
    connected,
    verify_body,
)


class TestFaults:
    async def test_reset_before_and_after(self) -> None:
        """A reset before the vendor receives the request bills nothing; a lost answer is billed."""
        async with connected(ocr_rate=0) as at:
            for fault, billed in ((Fault.reset(times=1), 0), (Fault.lost_answer(times=1), 1)):
                at.box.faults[:] = [fault]
                with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
                    await at.post("ocr", {"fileUrl": OTHER_HOST})
                assert at.box.vendor.billed["ocr"].total() == billed
                assert (at.box.log[-1].status, at.box.faults) == (0, [])

    async def test_gateway_times_out_after_the_call(self) -> None:
        """A gateway's time-out can come after the vendor has carried out the call, which is then billed."""
        async with connected(faults=(Fault.gateway_page(504, carried_out=True),)) as at:
            async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                assert (answer.status, answer.content_type) == (504, "text/html")
            assert at.box.vendor.billed["ocr"].total() == 1

    async def test_spoilt_bodies(self) -> None:
        """A body can be cut off, not JSON, a gateway's page, or an error code with status 200."""
        async with connected(ocr_rate=0) as at:
            at.box.faults.append(Fault.cut_off(times=1))
            with pytest.raises(aiohttp.ClientPayloadError):
                async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                    await answer.read()
            at.box.faults += [Fault.not_json(times=1), Fault.gateway_page(times=1), Fault.error_in_200("忙", times=1)]
            seen = []
            for _ in range(4):
                async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                    seen.append((answer.status, (await answer.read())[:6]))
            assert seen == [(200, b"\x00\xff<<ga"), (502, b"<html>"), (200, b'{"code'), (200, b'{"valu')]
            assert at.box.vendor.billed["ocr"].total() == 3

    async def test_only_the_named_calls(self) -> None:
        """A fault strikes only the calls it names; a status fault has its text and headers."""
        fault = Fault.answer(503, "限流", calls="verify", times=1, headers={"Retry-After": "1"})
        async with connected(faults=(fault,)) as at:
            async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                assert answer.status == 200
            async with at.post("verify", verify_body()) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert (await answer.json())["errorMessage"] == "限流"

    async def test_same_seed_same_faults(self) -> None:
        """The same seed gives the same faults, and rates add up."""

        async def statuses() -> list[int]:
            faults = (Fault.answer(500, rate=0.25), Fault.answer(502, rate=0.25))
            async with connected(faults=faults) as at:
                for _ in range(40):
                    async with at.post("invoice_url", {"invoiceId": ["a"]}):
                        pass
                return [entry.status for entry in at.box.log]

        first = await statuses()
        assert set(first) == {200, 500, 502}
        assert await statuses() == first

    @pytest.mark.parametrize("strikes", [{"rate": 1.5}, {"times": 0}, {"calls": "orc"}], ids=str)
    def test_wrong_arguments(self, strikes: Strikes) -> None:
        """An invalid rate, count or call name raises `ValueError` at once."""
        with pytest.raises(ValueError, match="must be"):
            Fault.reset(**strikes)


class TestServer:
    async def test_location(self) -> None:
        """The location call answers with the sandbox's own address and needs no token."""
        async with connected() as at:
            corporation = {"corpId": at.box.vendor.rules.corporation}
            async with at.http.get(PATHS["location"][1], params=corporation) as answer:
                assert await answer.json() == {"value": f"{at.box.base_url}/"}

    async def test_no_secret_in_the_log(self) -> None:
        """The log has no keys, tokens or signatures of file URLs, but it has the IDs that were sent."""
        async with connected() as at:
            keys = {"appKey": at.box.credentials.app_key, "appSecurity": at.box.credentials.app_security}
            async with at.post("token", keys) as answer:
                fresh = (await answer.json())["value"]
            await at.http.post(PATHS["refresh"][1], params=fresh | {"powerCode": "219904"})
            await at.post("verify", verify_body())
            await at.post("invoice_url", {"invoiceId": ["a:b:1"]})
            text = repr(at.box.log)
            secrets = (at.box.credentials.app_security, at.query["accessToken"], *fresh.values(), "Signature")
            assert not [secret for secret in secrets if str(secret) in text]
            assert "a:b:1" in at.box.log[-1].body
            assert [entry.call for entry in at.box.log] == ["token", "refresh", "verify", "invoice_url"]
            assert at.box.count("verify") == at.box.count("verify", status=200) == len(at.box.starts("verify")) == 1

    async def test_throttled_call_is_answered_at_once(self) -> None:
        """Only accepted calls have latency: a refused one is answered while an accepted one is running."""
        async with connected(latency=60) as at:
            accepted = asyncio.ensure_future(at.post("ocr", {"fileUrl": OTHER_HOST}))
            await at.box.arrived("ocr")
            async with at.post("ocr", {"fileUrl": OTHER_HOST}) as answer:
                assert answer.status == 429
            assert not accepted.done()
            accepted.cancel()
            await asyncio.wait([accepted])

    async def test_closing_with_requests_in_flight(self) -> None:
        """Leaving the block aborts running calls at once and leaves no task, connection or listener."""
        async with connected(latency=3600, ocr_rate=0) as at:
            mine = asyncio.all_tasks()
            calls = [asyncio.ensure_future(at.post("ocr", {"fileUrl": OTHER_HOST})) for _ in range(30)]
            await at.box.arrived("ocr", 30)
            address = at.box.base_url
            await asyncio.wait_for(at.box.__aexit__(None, None, None), 5)
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(error) for error in errors} <= {aiohttp.ServerDisconnectedError, aiohttp.ClientOSError}
            assert asyncio.all_tasks() <= mine
            with pytest.raises(aiohttp.ClientConnectorError):
                await at.http.get(address)

    async def test_clock_ahead(self) -> None:
        """With `clock_ahead`, the `Date` header and the log are ahead of this machine's clock."""
        async with (
            Sandbox(clock_ahead=86_400) as box,
            aiohttp.ClientSession(box.base_url) as http,
            http.get(PATHS["location"][1]) as answer,
        ):
            shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            assert shown == int(box.log[0].at) > time.time() + 86_000

    async def test_address_only_while_running(self) -> None:
        """Outside of the block, `base_url` raises `RuntimeError`."""
        with pytest.raises(RuntimeError, match="async with"):
            _ = Sandbox().base_url
