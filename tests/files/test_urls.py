"""Files of queued calls: when they are uploaded and when their URLs are fetched."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ekb_async import (
    AppCredentials,
    Attachment,
    ConfigError,
    EkbSession,
    InvalidRequestError,
    LocalFile,
    SessionClosedError,
    SessionConfig,
)
from ekb_async.errors import EkbError
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.conftest import session_on

PNG = b"\x89PNG\r\n\x1a\n"


async def test_a_local_file_is_uploaded_just_before_its_call(tmp_path: Path) -> None:
    """A queued file is uploaded shortly before its call is sent, not when it is queued."""
    async with Sandbox(ocr_rate=0) as box, session_on(box, ocr_rate=1.0, close_timeout=0) as ekb:
        jobs = []
        for n in range(60):
            path = tmp_path / f"发票{n}.png"
            path.write_bytes(PNG + bytes([n]))
            jobs.append(ekb.submit_ocr(LocalFile(path)))
        assert (await jobs[0]).invoices
        assert 1 <= box.count("upload") <= 15


async def test_every_kind_of_file(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """A URL, an attachment, a local file and a path are all sent, under the documented names."""
    path = tmp_path / "local.png"
    path.write_bytes(PNG + b"local")
    attachment = await ekb.upload(PNG + b"bytes", "bytes.png")
    for file in ("https://files.example/a/web%20page.png?x=1", attachment, LocalFile(path), path):
        assert (await ekb.verify(file, staff_id="c:s")).invoices
    names = [entry.body.split('"fileName":"')[1].split('"')[0] for entry in quick_box.log if entry.call == "verify"]
    assert names == ["web page.png", attachment.key, "local.png", "local.png"]
    assert await ekb.verify(attachment, staff_id="c:s", file_name="given.png", is_ex_ocr=False)
    assert '"fileName":"given.png"' in quick_box.log[-1].body
    assert '"isExOcr":false' in quick_box.log[-1].body


async def test_urls_are_fetched_together(ekb: EkbSession, quick_box: Sandbox) -> None:
    """Recognising and verifying a hundred queued attachments takes no more than two URL requests."""
    files = [quick_box.vendor.add_file(PNG + bytes([n]), f"{n}.png") for n in range(100)]
    recognised = asyncio.gather(*(ekb.ocr(file) for file in files))
    await asyncio.gather(recognised, *(ekb.verify(file, staff_id="c:s") for file in files))
    assert quick_box.count("download_urls") <= 2


async def test_one_unknown_attachment_fails_alone(ekb: EkbSession, quick_box: Sandbox) -> None:
    """An attachment unknown to the vendor fails its own call and no other of its batch."""
    files = [quick_box.vendor.add_file(PNG + bytes([n]), f"{n}.png") for n in range(20)]
    files.insert(7, Attachment("nowhere", "nothing.png"))
    outcomes = [outcome async for outcome in ekb.ocr_many(files)]
    failed = [outcome for outcome in outcomes if outcome.error]
    assert len(outcomes) == 21
    assert [outcome.input for outcome in failed] == [Attachment("nowhere", "nothing.png")]
    assert isinstance(failed[0].error, InvalidRequestError)


async def test_uploads_do_not_hold_up_the_others(tmp_path: Path) -> None:
    """While a file is being uploaded, ready jobs behind it use the slots."""
    path = tmp_path / "slow.png"
    path.write_bytes(PNG)
    async with Sandbox(ocr_rate=0, latency={"upload": 0.5}) as box, session_on(box) as ekb:
        slow = ekb.submit_ocr(path)
        await asyncio.gather(*(ekb.ocr(f"https://files.example/{n}.png") for n in range(10)))
        assert slow.state == "queued"
        assert await slow


@pytest.mark.parametrize("name", ["a?b.png", "a/b.png", 'a"b.png', "a|b.png", "", " ", "a\nb.png"])
async def test_upload_names_are_checked_first(ekb: EkbSession, quick_box: Sandbox, name: str) -> None:
    """A name that the vendor does not accept raises `ConfigError` before anything is sent."""
    with pytest.raises(ConfigError, match="name"):
        await ekb.upload(PNG, name)
    assert quick_box.count("upload") == quick_box.count("token") == 0


async def test_uploads_are_checked_first(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """A file that is too large, empty, missing or a folder raises `ConfigError` before anything is sent."""
    large, empty = tmp_path / "large.png", tmp_path / "empty.png"
    with large.open("wb") as file:
        file.truncate(30 * 1024 * 1024 + 1)
    empty.touch()
    for source, reason in [
        (large, "bytes"),
        (empty, "empty"),
        (tmp_path / "none.png", "read"),
        (tmp_path, "read|empty"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            await ekb.upload(source)
        with pytest.raises(ConfigError, match=reason):
            await ekb.ocr(LocalFile(source))
    with pytest.raises(ConfigError, match="name"):
        await ekb.upload(PNG)
    assert quick_box.count("upload") == quick_box.count("ocr") == 0


async def test_a_large_upload_arrives_whole(ekb: EkbSession) -> None:
    """A file of nearly 30 MB is uploaded completely."""
    content = PNG + bytes(29 * 1024 * 1024)
    attachment = await ekb.upload(content, "large.png")
    assert (await ekb.ocr(attachment)).invoices


async def test_many_download_urls(ekb: EkbSession, quick_box: Sandbox) -> None:
    """URLs of any number of attachments are requested a hundred at a time; an invalid `expires_in` is refused."""
    files = [quick_box.vendor.add_file(PNG + str(n).encode(), f"{n}.png") for n in range(250)]
    found = await ekb.download_urls([*files, *files], expires_in=60)
    assert list(found) == files
    assert quick_box.count("download_urls") == 3
    assert "Signature" not in repr(found[files[0]])
    assert await ekb.download_urls([]) == {}
    for life in (0, 1801, True, 1.5):
        with pytest.raises(ConfigError, match="expires_in"):
            await ekb.download_urls(files, expires_in=life)  # type: ignore[arg-type]


async def test_trouble_with_urls_costs_few_jobs() -> None:
    """While URLs cannot be fetched, only the jobs next in line fail, after the usual tries."""
    fault = Fault.answer(503, calls="download_urls", times=3)
    async with Sandbox(ocr_rate=0, faults=[fault]) as box, session_on(box, max_tries=3) as ekb:
        files = [box.vendor.add_file(PNG + bytes([n]), f"{n}.png") for n in range(50)]
        outcomes = await asyncio.gather(*(ekb.ocr(file) for file in files), return_exceptions=True)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert 1 <= len(failed) <= 4
        assert all(isinstance(error, EkbError) for error in failed)


async def test_queues_share_the_limit_on_uploads(tmp_path: Path) -> None:
    """Uploads that fail in one queue make room for those of another."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    async with Sandbox(ocr_rate=0, verify_rate=0) as box, session_on(box) as ekb:
        missing = [ekb.submit_ocr(tmp_path / f"missing{n}.png") for n in range(4)]
        assert (await ekb.verify(path, staff_id="c:s")).invoices
        assert {job.state for job in missing} == {"failed"}


@pytest.mark.parametrize(
    "file",
    [
        Path("a\0b.png"),
        Path("\ud800.png"),
        Attachment(id=object(), key="k"),  # type: ignore[arg-type]
        Attachment("\ud800", "k"),
        Attachment("i", ""),
        "https://files.example/\ud800.png",
        "https://[broken",
    ],
)
async def test_files_that_cannot_be(ekb: EkbSession, file: object) -> None:
    """A file that can never be sent raises `ConfigError` and holds up no later job."""
    with pytest.raises(ConfigError):
        await ekb.ocr(file)  # type: ignore[arg-type]
    assert (await ekb.ocr("https://files.example/1.png")).invoices


async def test_an_upload_that_is_rejected_is_its_own_trouble(tmp_path: Path) -> None:
    """Rejected uploads and URL requests fail their own jobs only; jobs with URLs go on."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    faults = [
        Fault.answer(401, "请先登录", calls="upload"),
        Fault.answer(403, "未开通功能，无权访问", calls="download_urls"),
    ]
    async with Sandbox(ocr_rate=0, faults=faults) as box, session_on(box, ocr_rate=50) as ekb:
        doomed = [ekb.submit_ocr(path), ekb.submit_ocr(box.vendor.add_file(PNG, "b.png"))]
        results = await asyncio.gather(*(ekb.ocr(f"https://files.example/{n}.png") for n in range(20)))
        assert len(results) == 20
        assert [job.state for job in doomed] == ["failed", "failed"]


@pytest.mark.parametrize(("rate", "life"), [(1 / 2000, 1800), (1 / 40, 30)])
def test_slots_further_apart_than_urls_live(rate: float, life: float) -> None:
    """If the interval exceeds a URL's lifetime, each URL is fetched when its slot opens, without busy waiting."""
    vendor = Vendor(ocr_rate=0, url_lifetime=life)
    transport = InMemoryTransport(vendor)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        async with EkbSession(keys, config=SessionConfig(ocr_rate=rate), transport=transport) as ekb:
            files = [vendor.add_file(PNG + bytes([n]), f"{n}.png") for n in range(4)]
            await asyncio.gather(*(ekb.ocr(file) for file in files))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert vendor.expired_urls_sent == 0
    assert sum(call == "download_urls" for _, call, _ in transport.arrivals) <= 12


async def test_calls_of_their_own_end_with_the_session(tmp_path: Path) -> None:
    """A call under way when the session closes finishes within `close_timeout` or raises `SessionClosedError`."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    async with Sandbox(latency={"upload": 0.1, "flow_invoices": 30.0}) as box:
        async with session_on(box, close_timeout=1.0) as ekb:
            uploading = asyncio.create_task(ekb.upload(path))
            searching = asyncio.create_task(ekb.flow_invoices(codes=["B1"]))
            await box.arrived("upload")
            await box.arrived("flow_invoices")
        assert (await uploading).key
        with pytest.raises(SessionClosedError):
            await searching


async def test_cancelling_during_an_upload(tmp_path: Path) -> None:
    """A job that is cancelled while its file is uploaded is not sent, and the queue goes on."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    async with Sandbox(latency={"upload": 30.0}, ocr_rate=0) as box, session_on(box) as ekb:
        caller = asyncio.create_task(ekb.ocr(path))
        await box.arrived("upload")
        caller.cancel()
        assert (await ekb.ocr("https://files.example/1.png")).invoices
        assert box.count("ocr") == 1
        assert caller.cancelled()


async def test_closing_during_an_upload(tmp_path: Path) -> None:
    """With `close_timeout=0` a session closes at once although a file is being uploaded."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    async with Sandbox(latency={"upload": 30.0}) as box:
        async with EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(close_timeout=0)) as ekb:
            job = ekb.submit_ocr(path)
            await box.arrived("upload")
        assert job.state == "failed"
