"""No local variable in a traceback of the package holds a secret, because error reporters send them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from ekb_async import AppCredentials, Attachment, EkbSession, QueueFullError, SessionConfig, StaticToken
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.routes import CALL_NAMES
from tests.conftest import FAST
from tests.support.frames import package_locals

pytestmark = pytest.mark.slow

SECRET = "5ecret-of-the-app"
IN_URL = "https://files.example/a.png"

CALLS: dict[str, Callable[[EkbSession, Path], Awaitable[object]]] = {
    "upload": lambda ekb, _: ekb.upload(b"\x89PNG\r\n\x1a\n", "a.png"),
    "download_urls": lambda ekb, _: ekb.download_urls([Attachment("id", "key")]),
    "flow_invoices": lambda ekb, _: ekb.flow_invoices(codes=["B1"]),
    "ocr": lambda ekb, _: ekb.ocr(IN_URL),
    "ocr an attachment": lambda ekb, _: ekb.ocr(Attachment("id", "key")),
    "verify": lambda ekb, _: ekb.verify(IN_URL, staff_id="c:s"),
    "verify_by_id": lambda ekb, _: ekb.verify_by_id("c:1:1"),
    "verify_by_fields": lambda ekb, _: ekb.verify_by_fields(code="1", number="2", date="20240101"),
    "invoice_url": lambda ekb, _: ekb.invoice_url("c:1:1"),
    "invoice_details": lambda ekb, _: ekb.invoice_details("c:1:1"),
    "download": lambda ekb, folder: ekb.downloads(folder).fetch("c:1:1"),
}
OWN = ("upload", "download_urls", "flow_invoices", "ocr", "verify", "verify_by_id", "verify_by_fields")
FAULTS = [
    Fault.reset(),
    Fault.cut_off(),
    Fault.not_json(),
    Fault.answer(400, f"no {SECRET}"),
    Fault.answer(401, "请先登录"),
    Fault.answer(500, "x" * 100),
    Fault.error_in_200(),
]
WITH_A_TOKEN = frozenset(CALL_NAMES) - {"token", "refresh"}


async def failure_of(call: Awaitable[object]) -> BaseException:
    try:
        await call
    except BaseException as error:  # noqa: BLE001 - any error is returned
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("struck", [None, WITH_A_TOKEN], ids=["every call", "with a token"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind} {fault.status}")
@pytest.mark.parametrize("name", CALLS)
async def test_no_frame_shows_a_secret(name: str, fault: Fault, struck: frozenset[str] | None, tmp_path: Path) -> None:
    """After any failure, no local of the package's frames holds the app secret or a token."""
    faults = [msgspec.structs.replace(fault, calls=struck)]
    async with Sandbox(ocr_rate=0, verify_rate=0, app_key="key", app_security=SECRET, faults=faults) as box:
        await check(box, AppCredentials(app_key="key", app_security=SECRET), name, tmp_path)


@pytest.mark.parametrize("name", CALLS)
async def test_no_frame_shows_a_given_token(name: str, tmp_path: Path) -> None:
    """No local of the package's frames holds a given token that was refused."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        await check(box, StaticToken(SECRET), name, tmp_path)


async def check(box: Sandbox, credentials: AppCredentials | StaticToken, name: str, folder: Path) -> None:
    async with EkbSession(credentials, base_url=box.base_url, config=SessionConfig(**{**FAST, "max_tries": 2})) as ekb:
        error = await failure_of(CALLS[name](ekb, folder))
    tokens = [token.partition(":")[0] for token in box.vendor.tokens.secrets]
    for shown in package_locals(error):
        assert not any(secret in shown for secret in (SECRET, *tokens)), shown


@pytest.mark.parametrize("name", OWN)
async def test_a_call_broken_off_shows_no_secret(name: str, tmp_path: Path) -> None:
    """A call cancelled by its caller's time limit shows no secret in its frames."""
    keys = AppCredentials(app_key="key", app_security=SECRET)
    latency: dict[str, float] = dict.fromkeys(OWN, 30.0)
    async with Sandbox(ocr_rate=0, verify_rate=0, app_key="key", app_security=SECRET, latency=latency) as box:
        config = SessionConfig(**{**FAST, "close_timeout": 0})
        async with EkbSession(keys, base_url=box.base_url, config=config) as ekb:
            call = asyncio.ensure_future(CALLS[name](ekb, tmp_path))
            await box.arrived(name)
            call.cancel()
            error = await failure_of(call)
        tokens = [token.partition(":")[0] for token in box.vendor.tokens.secrets]
    assert tokens
    for shown in package_locals(error):
        assert not any(secret in shown for secret in (SECRET, *tokens)), shown


async def test_no_frame_of_a_download_shows_a_signature(tmp_path: Path) -> None:
    """No local of the package's frames holds the signature of a URL that the file host refuses."""
    async with Sandbox(faults=[Fault.answer(400, "no", calls="file")]) as box:
        box.vendor.add_invoice("c:1:1", content=b"%PDF-1.4", file_name="a.pdf")
        async with EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(**FAST)) as ekb:
            error = await failure_of(ekb.downloads(tmp_path).fetch("c:1:1"))
    assert box.count("file")
    for shown in package_locals(error):
        assert "Signature=" not in shown, shown


async def test_a_call_without_room_in_the_queue_shows_no_signature(quick_box: Sandbox) -> None:
    """A call that is refused since the queue is full shows no signed URL in its frames."""
    signed = "https://files.example/a.png?Signature=the-signature"
    config = SessionConfig(queue_size=1, close_timeout=0)
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, config=config) as ekb:
        ekb.submit_ocr(IN_URL)
        ekb.submit_verify(IN_URL, staff_id="c:s")
        errors = [await failure_of(ekb.ocr(signed)), await failure_of(ekb.verify(signed, staff_id="c:s"))]
    for error in errors:
        assert isinstance(error, QueueFullError)
        for shown in package_locals(error):
            assert "the-signature" not in shown, shown
