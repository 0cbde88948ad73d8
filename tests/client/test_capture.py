"""A captured session: what its bundle contains, and that the calls are as without a capture."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ekb_async import (
    ConfigError,
    EkbConnectionError,
    EkbError,
    EkbSession,
    EkbTimeoutError,
    InvalidRequestError,
    SessionConfig,
    StaticToken,
    StorageError,
)
from ekb_async.client.capture.bundle import DESCRIPTION, EXCHANGES, read_bundle
from ekb_async.client.capture.limits import CaptureLimits
from ekb_async.client.capture.recording import Recorder
from ekb_async.client.capture.transport import CapturingTransport
from ekb_async.client.transport import AiohttpTransport
from ekb_async.protocol import endpoints
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import FAST
from tests.support.canned_vendor import CREDENTIALS, TOKEN, CannedVendor, reply
from tests.support.captures import captured_session, exchanges, text_of
from tests.support.full_disk import room_for
from tests.support.personal import PERSONAL, check_nothing_is_left


def capturing(vendor: CannedVendor, directory: Path, **settings: int) -> tuple[EkbSession, CapturingTransport]:
    """Return a session on a prepared vendor whose exchanges are captured."""
    capture = CapturingTransport(vendor, directory, limits=CaptureLimits(**settings))
    config = SessionConfig(**{**FAST, "max_tries": 1})
    return EkbSession(CREDENTIALS, transport=capture, config=config), capture


async def test_a_bundle_describes_itself(quick_box: Sandbox, tmp_path: Path) -> None:
    """A bundle has a description and the exchanges in their order, and only its owner can read it."""
    directory = tmp_path / "deep" / "bundle"
    async with captured_session(quick_box, directory) as (ekb, capture):
        await ekb.invoice_urls(["corp:1:12345678"])
        with pytest.raises(InvalidRequestError):
            await ekb.invoice_url("corp:1:bad")
    assert capture.problem is None
    about, recorded = read_bundle(directory)
    assert about == capture.captured
    assert (about.exchanges, about.left_out, about.withheld, about.limits_reached) == (3, 0, 0, [])
    assert about.host == quick_box.base_url.partition("//")[2]
    assert about.package.startswith("ekb-async ")
    assert about.began <= about.ended
    assert [(each.number, each.method, each.reply and each.reply.status) for each in recorded] == [
        (1, "POST", 200),
        (2, "POST", 200),
        (3, "POST", 400),
    ]
    assert [each.path.rpartition("/")[2] for each in recorded] == ["getAccessToken", "url", "url"]
    assert recorded[1].query == [("accessToken", "***")]
    assert {"Date", "Content-Type"} <= set(recorded[1].reply.headers if recorded[1].reply else ())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())}
    assert modes == {"bundle": 0o700, DESCRIPTION: 0o600, EXCHANGES: 0o600}


async def test_a_session_without_calls_has_an_empty_bundle(tmp_path: Path) -> None:
    """A session that makes no call has a bundle that says so."""
    ekb = EkbSession(StaticToken("ID01:t"))
    ekb.capture(tmp_path / "bundle")
    await ekb.close()
    about, recorded = read_bundle(tmp_path / "bundle")
    assert (about.exchanges, recorded) == (0, [])


async def test_a_directory_with_something_in_it_is_refused(quick_box: Sandbox, tmp_path: Path) -> None:
    """Nothing is written beside other files or to an older bundle, and the reason is named; an empty one is used."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "bundle").mkdir()
    async with captured_session(quick_box, tmp_path / "bundle") as (ekb, _):
        await ekb.invoice_urls(["c:1:1"])
        with pytest.raises(ConfigError, match="has been used already"):
            ekb.capture(tmp_path / "other")
    for name, reason in (("mine", "not empty"), ("file", "no directory"), ("bundle", "holds a bundle already")):
        session = EkbSession(quick_box.credentials, base_url=quick_box.base_url)
        with pytest.raises(ConfigError, match=reason):
            session.capture(tmp_path / name)
        with pytest.raises(ConfigError, match="directory must be a path"):
            session.capture(7)  # type: ignore[arg-type]
        await session.close()
    assert len(exchanges(tmp_path / "bundle")) == 1


async def test_it_wraps_any_transport(quick_box: Sandbox, tmp_path: Path) -> None:
    """A program can build the capture itself, around a transport of its own."""
    config = SessionConfig(**FAST)
    network = AiohttpTransport(quick_box.base_url, config, None)
    transport = CapturingTransport(network, tmp_path / "bundle")
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, transport=transport) as ekb:
        assert await ekb.invoice_url("corp:1:12345678")
    assert read_bundle(tmp_path / "bundle")[0].host == network.host == transport.host
    assert transport.proxy == network.proxy == ""


async def test_what_exceeds_a_limit_is_left_out(tmp_path: Path) -> None:
    """A bundle has a most number of exchanges and bytes, says what it lacks, and the calls go on."""
    for name, settings, reached in (
        ("a", {"exchanges": 3}, "exchanges"),
        ("b", {"bundle_bytes": 1500}, "bundle_bytes"),
        ("c", {"waiting_bytes": 10}, "waiting_bytes"),
    ):
        vendor = CannedVendor(invoice_url=reply(200, {"items": []}))
        session, capture = capturing(vendor, tmp_path / name, **settings)
        async with session as ekb:
            for number in range(6):
                assert await ekb.invoice_urls([f"c:1:{number}"]) == {f"c:1:{number}": None}
        about, recorded = read_bundle(tmp_path / name)
        assert about.limits_reached == [reached]
        assert about.left_out == 7 - len(recorded) > 0
        assert capture.problem is None


async def test_no_call_waits_for_its_record(tmp_path: Path) -> None:
    """A call returns before its exchange has been masked and written."""
    lines = [{"id": f"ID01{number}", "masterId": "c:1:1", "name": f"{number}"} for number in range(3000)]
    session, capture = capturing(CannedVendor(invoice_details_many=reply(200, {"items": lines})), tmp_path / "bundle")
    async with session as ekb:
        assert len(await ekb.invoice_details("c:1:1")) == 3000
        assert capture.captured.exchanges < 2
    assert capture.captured.exchanges == 2


async def test_a_long_body_is_cut(tmp_path: Path) -> None:
    """Of a body that is longer than the limit the beginning is stored, with its whole length."""
    items = [{"id": f"c:1:{number}", "url": ""} for number in range(200)]
    vendor = CannedVendor(
        invoice_url=reply(200, {"items": items}), flow_invoices=reply(500, "Gateway " * 500, "text/plain")
    )
    session, _ = capturing(vendor, tmp_path / "bundle", body_bytes=1000, text_bytes=100)
    async with session as ekb:
        await ekb.invoice_urls(["c:1:1"])
        with pytest.raises(EkbError):
            await ekb.flow_invoices(codes=["B1"])
    replies = [each.reply for each in exchanges(tmp_path / "bundle") if each.reply is not None]
    assert [(each.is_cut, len(each.body or ""), each.size > 3000) for each in replies] == [
        (True, 1000, True),
        (True, 100, True),
    ]


@pytest.mark.parametrize("place", ["under a file", "after the start"])
async def test_a_bundle_that_cannot_be_written_stops_no_call(
    quick_box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """If the bundle cannot be written, the calls succeed or fail as ever, and the reason is logged once."""
    caplog.set_level(logging.WARNING, "ekb_async")
    directory = tmp_path / "parent" / "bundle"
    async with captured_session(quick_box, directory) as (ekb, capture):
        if place == "under a file":
            (tmp_path / "parent").write_text("x")
        else:
            directory.mkdir(parents=True)
            (directory / "thesis.txt").write_text("x")
        for _ in range(3):
            assert await ekb.invoice_url("corp:1:12345678")
            with pytest.raises(InvalidRequestError):
                await ekb.invoice_url("corp:1:bad")
    assert isinstance(capture.problem, ConfigError)
    assert str(directory) in str(capture.problem)
    assert len([each for each in caplog.messages if "capture" in each]) == 1


async def test_a_full_disk_stops_no_call(quick_box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On a full disk the bundle ends after a whole exchange, and the calls go on."""
    caplog.set_level(logging.WARNING, "ekb_async")
    with room_for(4000):
        async with captured_session(quick_box, tmp_path / "bundle") as (ekb, capture):
            for number in range(20):
                assert await ekb.invoice_url(f"corp:1:{number}")
    assert isinstance(capture.problem, StorageError)
    assert len([each for each in caplog.messages if "capture" in each]) == 1
    _, recorded = read_bundle(tmp_path / "bundle")
    assert 0 < len(recorded) < 20


async def test_a_cancelled_call(tmp_path: Path) -> None:
    """A call that is cancelled is recorded as such, and the cancellation passes through."""
    async with (
        Sandbox(latency=60, ocr_rate=0) as box,
        captured_session(box, tmp_path / "bundle", close_timeout=0) as (ekb, _),
    ):
        call = asyncio.create_task(ekb.ocr("https://files.example/a.png"))
        await box.arrived("ocr")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    (recorded,) = exchanges(tmp_path / "bundle")
    assert recorded.reply is None
    assert recorded.error is not None
    assert (recorded.error.kind, recorded.error.text) == ("CancelledError", "")


async def test_a_refused_start_is_no_exchange(tmp_path: Path) -> None:
    """A request that was not sent because its job was dropped at that moment did not go over the wire."""

    def drop() -> None:
        raise RuntimeError("not sent")

    class Asking(CannedVendor):
        async def send(self, request: Any, *, on_sent: Callable[[], None], **_: Any) -> Reply:
            on_sent()
            raise AssertionError

    capture = CapturingTransport(Asking(), tmp_path / "bundle")
    with pytest.raises(RuntimeError):
        await capture.send(endpoints.invoice_urls(["c:1:1"]), token=None, timeout=1, on_sent=drop)
    await capture.close()
    assert read_bundle(tmp_path / "bundle")[1] == []


async def test_network_trouble_is_recorded(quick_box: Sandbox, tmp_path: Path) -> None:
    """A broken connection and a missing answer are recorded by class and text, without the names of hosts."""
    quick_box.faults += [Fault.reset(calls="invoice_url", times=1), Fault.delay(5, calls="invoice_url", times=1)]
    async with captured_session(quick_box, tmp_path / "bundle", max_tries=1, request_timeout=0.3) as (ekb, _):
        for kind in (EkbConnectionError, EkbTimeoutError):
            with pytest.raises(kind):
                await ekb.invoice_url("corp:1:12345678")
    errors = [each.error for each in exchanges(tmp_path / "bundle") if each.error is not None]
    assert [(each.kind, each.sent) for each in errors] == [("EkbConnectionError", True), ("EkbTimeoutError", True)]
    assert "connection" in errors[0].text
    assert "127.0.0.1" not in "".join(each.text for each in errors)


async def test_files_are_recorded_without_content(quick_box: Sandbox, tmp_path: Path) -> None:
    """Of an upload and a download the size is recorded, and the error of a file host with its text."""
    content = b"%PDF-1.7 of " + PERSONAL[0].encode()
    quick_box.vendor.add_invoice("corp:1:12345678", content=content, file_name="张无忌.pdf")
    async with captured_session(quick_box, tmp_path / "bundle") as (ekb, _):
        await ekb.upload(b"\x89PNG of Wuji Zhang", "张无忌.png")
        outcomes = [each async for each in ekb.download_invoices(["corp:1:12345678"], tmp_path / "files")]
        assert [each.error for each in outcomes] == [None]
    recorded = exchanges(tmp_path / "bundle")
    upload = recorded[0].upload
    assert upload is not None
    assert (upload.size, upload.name[-4:]) == (len(b"\x89PNG of Wuji Zhang"), ".png")
    assert (recorded[-1].method, recorded[-1].upload) == ("GET", None)
    file = recorded[-1].reply
    assert file is not None
    assert (file.status, file.body, file.size, bytes.fromhex(file.begins)) == (200, None, len(content), b"%PDF-")
    check_nothing_is_left(text_of(tmp_path / "bundle"))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "literal": lambda secret: secret,
    "in a URL": lambda secret: quote(secret, safe=""),
    "escaped in JSON": lambda secret: "".join(f"\\u{ord(each):04x}" for each in secret),
    "in HTML": lambda secret: "".join(f"&#{ord(each)};" for each in secret),
    "Basic": lambda secret: "Basic " + base64.b64encode(f"key:{secret}".encode()).decode(),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "in upper case": lambda secret: f"token={secret}".upper(),
}


FORMS = ("{}", "<html><title>{}</title>", '{{"errorMessage": "{}"}}', '{{"{}": 1}}', '{{"items": "{}')


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    "form", ["{}", "<html><title>{}</title>", '{{"errorMessage": "{}"}}', '{{"{}": 1}}', '{{"items": "{}']
)
async def test_no_secret_is_in_a_bundle(tmp_path: Path, spelling: str, form: str) -> None:
    """Keys, tokens and signatures that a reply quotes are in no file of the bundle, however they are spelled."""
    signature = "s1gnAture%2Fof+a=file"
    secrets = (CREDENTIALS.app_security, TOKEN, "ID01:a-refresh-token", signature)
    spelled = [SPELLINGS[spelling](each) for each in secrets]
    vendor = CannedVendor(ocr=reply(400, form.format(" ".join(spelled)), "text/html"))
    session, capture = capturing(vendor, tmp_path / "bundle")
    async with session as ekb:
        with pytest.raises(EkbError):
            await ekb.ocr(f"https://files.example/a.png?Signature={signature}")
    text = text_of(tmp_path / "bundle")
    for each in (*secrets, *spelled, json.dumps(spelled[0])[1:-1]):
        assert each not in text
    assert capture.captured.exchanges == 2


async def test_an_exchange_with_a_secret_left_in_it_is_withheld(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If a secret is left after masking, the exchange is not written; the call is as ever, and it is reported once."""
    caplog.set_level(logging.WARNING, "ekb_async")
    vendor = CannedVendor(invoice_url=reply(200, {"items": []}))
    capture = CapturingTransport(vendor, tmp_path / "bundle")
    # A token that is also a value that is kept.
    async with EkbSession(StaticToken("application/json"), transport=capture) as ekb:
        for _ in range(2):
            assert await ekb.invoice_urls(["c:1:1"]) == {"c:1:1": None}
    assert (capture.captured.exchanges, capture.captured.withheld) == (0, 2)
    assert "SecretInTextError" in str(capture.problem)
    assert len(caplog.messages) == 1
    assert "application/json" not in text_of(tmp_path / "bundle")


async def test_no_personal_data_is_in_a_bundle(tmp_path: Path) -> None:
    """What was asked for and what came is in no file of the bundle: values, names of files, IDs in paths and errors."""
    items = [
        {"id": each, "url": f"https://f.example/{quote(each)}.pdf?e=1&token=t1", "fileName": each} for each in PERSONAL
    ]
    vendor = CannedVendor(
        invoice_url=reply(200, {"items": items}),
        invoice_details_many=reply(404, ""),
        invoice_details=reply(400, {"errorMessage": f"{' '.join(PERSONAL)}不存在", "errorDetails": list(PERSONAL)}),
        flow_invoices=reply(200, {"value": {each: [{"invoiceId": each}] for each in PERSONAL}}),
        verify=reply(502, f"<html><title>{PERSONAL[0]}</title>{PERSONAL}</html>", "text/html; charset=gb2312"),
    )
    session, capture = capturing(vendor, tmp_path / "bundle")
    async with session as ekb:
        assert await ekb.invoice_urls(PERSONAL)
        assert await ekb.flow_invoices(codes=PERSONAL)
        for value in PERSONAL:
            for call in (ekb.invoice_details(value), ekb.verify("https://f.example/a.png", staff_id=value)):
                with pytest.raises(EkbError):
                    await call
            await ekb.upload(value.encode(), f"{value.replace(':', ' ')}.png")
    assert capture.problem is None
    assert capture.captured.exchanges > 3 * len(PERSONAL)
    check_nothing_is_left(text_of(tmp_path / "bundle"))


def test_the_host_of_a_single_enterprise_is_not_named() -> None:
    """The address of a private deployment names an enterprise; those of the vendor's platforms do not."""
    hosts = ("app.ekuaibao.com:443", "dd2.hosecloud.com:443", "127.0.0.1:80", "erp.mingjiao.example:443", "")
    assert [Recorder(each, CaptureLimits()).public_host for each in hosts] == [*hosts[:3], "", ""]


async def test_a_captured_session_ends_with_its_bundle(quick_box: Sandbox, tmp_path: Path) -> None:
    """Closing the session, also several times and by a cancelled caller, completes the bundle."""
    ekb = EkbSession(quick_box.credentials, base_url=quick_box.base_url)
    ekb.capture(tmp_path / "bundle")
    await ekb.invoice_urls(["c:1:1"])
    closing = asyncio.create_task(ekb.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, ekb.close(), return_exceptions=True)
    assert read_bundle(tmp_path / "bundle")[0].ended


CLOSED_AT_EXIT = """
import asyncio, atexit, sys
from ekb_async import EkbSession
from ekb_async.sandbox import Sandbox

loop = asyncio.new_event_loop()
session = EkbSession(Sandbox().credentials, base_url=sys.argv[1])
session.capture(sys.argv[2])
loop.run_until_complete(session.ocr("https://files.example/a.png"))
atexit.register(loop.close)
atexit.register(lambda: loop.run_until_complete(session.close()))
"""


@pytest.mark.process
async def test_a_session_that_is_closed_at_exit(quick_box: Sandbox, tmp_path: Path) -> None:
    """The bundle of a session that is closed by `atexit` is complete, though Python has ended the threads."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "dev", "-W", "error", "-c", CLOSED_AT_EXIT, quick_box.base_url, str(tmp_path / "bundle")),
        stderr=subprocess.PIPE,
    )
    _, messages = await process.communicate()
    assert (process.returncode, messages.decode()) == (0, "")
    about, recorded = read_bundle(tmp_path / "bundle")
    assert about.exchanges == len(recorded) == 2
