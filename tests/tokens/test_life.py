"""The life of an access token: when it is fetched, renewed, replaced after a rejection, and dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ekb_async import AppCredentials, AuthError, ConfigError, EkbSession, PermissionDeniedError, StaticToken
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Sandbox, VendorReply, VendorRequest
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.conftest import session_on


async def test_one_token_for_all_first_calls(ekb: EkbSession, quick_box: Sandbox) -> None:
    """The token is fetched on first use, once for any number of callers."""
    assert quick_box.count("token") == 0
    await asyncio.gather(*(ekb.flow_invoices(codes=[f"B{n}"]) for n in range(30)))
    assert quick_box.count("token") == 1


async def test_a_cancelled_first_caller_leaves_the_token_to_the_others() -> None:
    """Cancelling the call that began fetching the token does not affect other calls that wait for it."""
    async with Sandbox(latency={"token": 0.1}) as box, session_on(box) as ekb:
        first = asyncio.create_task(ekb.flow_invoices(codes=["B1"]))
        second = asyncio.create_task(ekb.flow_invoices(codes=["B2"]))
        await box.arrived("token")
        first.cancel()
        assert await second == {}
        assert box.count("token") == 1
        assert first.cancelled()


def test_renewed_ahead_while_calls_go_on() -> None:
    """Over ten hours of one call a minute, tokens are refreshed before they expire, and no call uses an expired one."""
    vendor = Vendor(token_lifetime=7200)
    transport = InMemoryTransport(vendor)

    async def ten_hours() -> None:
        keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
        async with EkbSession(keys, transport=transport) as ekb:
            for minute in range(600):
                await ekb.flow_invoices(codes=[f"B{minute}"])
                await asyncio.sleep(60)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(ten_hours())
    assert {status for _, _, status in transport.arrivals} == {200}
    names = [name for _, name, _ in transport.arrivals]
    assert names.count("token") == 1
    assert 5 <= names.count("refresh") <= 6


def test_a_refused_refresh_falls_back_to_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a refresh is refused, a token is fetched with the keys, and no call uses an expired one."""
    vendor = Vendor(token_lifetime=7200)
    transport, reply = InMemoryTransport(vendor), vendor.reply

    def refuse_refresh(request: VendorRequest, at: float) -> VendorReply:
        answered = reply(request, at)
        if answered.call != "refresh":
            return answered
        return VendorReply(403, '{"errorCode": 403, "errorMessage": "未授权"}'.encode(), {}, call="refresh")

    monkeypatch.setattr(vendor, "reply", refuse_refresh)

    async def five_hours() -> None:
        keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
        async with EkbSession(keys, transport=transport) as ekb:
            for minute in range(300):
                await ekb.flow_invoices(codes=[f"B{minute}"])
                await asyncio.sleep(60)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(five_hours())
    answers = [(name, status) for _, name, status in transport.arrivals if name != "flow_invoices"]
    assert answers == [("token", 200), *[("refresh", 403), ("token", 200)] * (len(answers) // 2)]
    assert len(answers) >= 5
    assert {status for _, name, status in transport.arrivals if name == "flow_invoices"} == {200}


async def test_wrong_keys_are_not_tried_again() -> None:
    """A hundred callers with wrong keys fail after one token call, whatever they call, and later ones at once."""
    async with Sandbox(ocr_rate=0) as box:
        wrong = AppCredentials(app_key="key", app_security="wrong-secret")
        async with EkbSession(wrong, base_url=box.base_url) as ekb:
            calls = [ekb.ocr(f"https://f.example/{n}.png") for n in range(50)]
            calls += [ekb.invoice_url(f"c:1:{n}") for n in range(50)]  # type: ignore[misc]
            failures = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(failure, AuthError) for failure in failures)
            with pytest.raises(AuthError, match="密钥无效"):
                await ekb.invoice_details("c:1:1")
        assert box.count("token") == 1
        assert box.count("ocr") == box.count("invoice_url") == 0


def test_a_token_refused_after_the_keys_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the keys were refused in renewing a token, and then the token itself, later calls fail without being sent."""
    vendor = Vendor(token_lifetime=7200)
    transport, reply, refused = InMemoryTransport(vendor), vendor.reply, {"refresh", "token"}

    def refuse(request: VendorRequest, at: float) -> VendorReply:
        answered = reply(request, at)
        if len(transport.arrivals) < 2 or answered.call not in refused:
            return answered
        return VendorReply(401, '{"errorCode": 401, "errorMessage": "未授权"}'.encode(), {}, call=answered.call)

    monkeypatch.setattr(vendor, "reply", refuse)

    async def main() -> None:
        keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
        async with EkbSession(keys, transport=transport) as ekb:
            await ekb.ocr("https://f.example/0.png")
            await asyncio.sleep(6650)
            await ekb.ocr("https://f.example/1.png")
            refused.add("ocr")
            for number in range(5):
                with pytest.raises(AuthError):
                    await ekb.ocr(f"https://f.example/{number}.png")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert [status for _, name, status in transport.arrivals if name == "ocr"] == [200, 200, 401]


async def test_patience_with_a_fresh_token() -> None:
    """A 403 right after issue leads to a repetition with the same token."""
    async with Sandbox(token_settle=0.5, ocr_rate=0) as box, session_on(box) as ekb:
        assert await ekb.flow_invoices(codes=["B1"]) == {}
        assert (await ekb.ocr("https://f.example/1.png")).platform
        assert box.vendor.tokens_issued == 1


async def test_a_revoked_token_in_the_queue(ekb: EkbSession, quick_box: Sandbox) -> None:
    """Queued calls whose token was revoked are repeated with one new token and all succeed."""
    await ekb.ocr("https://f.example/0.png")
    quick_box.revoke_tokens()
    await asyncio.gather(*(ekb.ocr(f"https://f.example/{n}.png") for n in range(1, 21)))
    assert quick_box.vendor.tokens_issued == 2
    assert sum(quick_box.vendor.billed["ocr"].values()) == 21


async def test_a_static_token_is_never_renewed() -> None:
    """A given token that is refused fails its callers, and then all later ones, without a token call."""
    async with Sandbox() as box, EkbSession(StaticToken("ID01:gone"), base_url=box.base_url) as ekb:
        with pytest.raises(AuthError):
            await ekb.flow_invoices(codes=["B1"])
        sent = box.count("flow_invoices")
        with pytest.raises(AuthError):
            await ekb.flow_invoices(codes=["B1"])
        assert box.count("flow_invoices") == sent == 1
        assert box.count("token") == 0


async def test_a_missing_permission_is_no_token_problem() -> None:
    """403 未开通功能 is not taken for a refused token and causes no new one."""
    async with Sandbox(permissions=set()) as box, session_on(box) as ekb:
        with pytest.raises(PermissionDeniedError):
            await ekb.ocr("https://f.example/1.png")
        assert box.vendor.tokens_issued == 1
        assert box.count("ocr") == 1


async def test_clocks_that_disagree() -> None:
    """A clock three hours off the vendor's causes no more tokens and no more download URLs."""
    for ahead in (10_800.0, -10_800.0):
        async with Sandbox(clock_ahead=ahead, ocr_rate=0) as box, session_on(box) as ekb:
            file = box.vendor.add_file(b"\x89PNG\r\n\x1a\n1", "a.png")
            for _ in range(3):
                await ekb.ocr(file)
            assert box.vendor.tokens_issued == 1
            assert box.count("download_urls") <= 2


@pytest.mark.parametrize("end", ["null", "0", "-5", '"soon"', "1", "1e30", "true", "[]"])
async def test_odd_ends_of_a_token(end: str) -> None:
    """Whatever the vendor says about a token's end, the token is fetched once and used."""
    odd = f'{{"value":{{"accessToken":"ID01:odd","refreshToken":null,"expireTime":{end},"corporationId":null}}}}'
    sent: list[str | None] = []

    class Odd:
        async def send(
            self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
        ) -> Reply:
            sent.append(token)
            return Reply(200, {}, odd.encode() if token is None else b'{"items":[]}')

        async def download(self, url: str, *, timeout: float, write: object) -> Reply:
            raise NotImplementedError

        async def close(self) -> None:
            pass

    async with EkbSession(AppCredentials(app_key="k", app_security="s"), transport=Odd()) as ekb:
        for _ in range(3):
            assert await ekb.invoice_details("c:1:1") == []
    assert sent == [None, "ID01:odd", "ID01:odd", "ID01:odd"]


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and address come from the environment; the error names a missing one."""
    for name in ("EKB_BASE_URL", "EKB_APP_KEY", "EKB_APP_SECURITY", "EKB_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="EKB_APP_KEY"):
        EkbSession.from_env()
    monkeypatch.setenv("EKB_ACCESS_TOKEN", "ID01:secret")
    monkeypatch.setenv("EKB_BASE_URL", "https://dd2.hosecloud.com/")
    assert "https://dd2.hosecloud.com new" in repr(EkbSession.from_env())
