"""Local files of a backlog: a file that cannot be sent fails alone, and only the content that was added is sent."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ekb_async import ConfigError, EkbSession
from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.exchange import VendorReply, VendorRequest
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, manifest, picture, session

PNG = b"\x89PNG\r\n\x1a\n"
TOO_LARGE = 30 * 1024 * 1024 + 1

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such files")


def pictures(directory: Path, count: int) -> list[str]:
    return [f"ocr,{picture(directory, f'{number}.png')},,,," for number in range(count)]


def sparse(path: Path, size: int) -> None:
    """Create a file of a size that takes no space on disk."""
    with path.open("wb") as file:
        file.truncate(size)


def replace(path: Path, change: str) -> None:
    """Change a file so that it can no longer be sent as it was added."""
    path.unlink()
    match change:
        case "empty":
            path.touch()
        case "too large":
            sparse(path, TOO_LARGE)
        case "another":
            path.write_bytes(PNG + b"another")
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)


@pytest.mark.parametrize(
    "name",
    [
        "12:30打车.pdf",
        'a?b*c<d>e|f"g\\h.pdf',
        "Screenshot 2024-01-01 at 10.00.00\u202fAM.png",
        "发票\u3000一.pdf",
        "a\u00a0b.pdf",
        "👨\u200d👩.pdf",
        "line\nbreak\tand\x7f.pdf",
        "\u3000",
        os.fsdecode(b"\xff\xfe.pdf"),
    ],
)
@posix
async def test_any_name_of_a_file_is_made_one_that_the_vendor_accepts(
    tmp_path: Path, quick_box: Sandbox, ekb: EkbSession, name: str
) -> None:
    """A file is sent under a name that the vendor accepts; the accepted characters of its name are kept."""
    path = tmp_path / name
    path.write_bytes(PNG)
    assert (await ekb.ocr(path)).invoices
    assert (await ekb.verify(path, staff_id="c:s")).invoices
    attachment = await ekb.upload(path)
    accepted = {"12:30打车.pdf": "12_30打车.pdf", 'a?b*c<d>e|f"g\\h.pdf': "a_b_c_d_e_f_g_h.pdf", "\u3000": "file"}
    accepted |= {"line\nbreak\tand\x7f.pdf": "line_break_and_.pdf", os.fsdecode(b"\xff\xfe.pdf"): "__.pdf"}
    assert attachment.key.partition("-")[2] == accepted.get(name, name)


@pytest.mark.parametrize("name", ["12:30.pdf", "a/b.pdf", "a\\b", "line\nbreak.pdf", " ", "", "\ud800.pdf"])
async def test_a_name_that_was_given_is_not_changed(quick_box: Sandbox, ekb: EkbSession, name: str) -> None:
    """A name given by the caller that the vendor forbids is refused before anything is sent."""
    with pytest.raises(ConfigError, match="name of an uploaded file"):
        await ekb.upload(PNG, name)
    assert quick_box.count("upload") == 0
    await ekb.upload(PNG, "a\u202fb\u200d\u3000c\u00a0.pdf")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("empty", "the file is empty"),
        ("too large", "the file has 31,457,281 bytes; at most 31,457,280 can be uploaded"),
        ("directory", "this is not a regular file"),
        pytest.param("pipe", "this is not a regular file", marks=posix),
    ],
)
async def test_a_file_that_cannot_be_sent_is_refused_when_it_is_added(
    tmp_path: Path, place: Location, wrong: str, reason: str
) -> None:
    """The error names line and column as for every malformed row, and nothing from the manifest is added."""
    rows = pictures(tmp_path, 3)
    replace(tmp_path / "1.png", wrong)
    async with Backlog.open(place) as backlog, asyncio.timeout(10):
        with pytest.raises(ConfigError) as caught:
            await backlog.add_manifest(manifest(tmp_path, *rows))
        assert f"m.csv, line 3, column file: {reason}" in str(caught.value)
        assert sum((await backlog.counts()).values()) == 0


async def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file of 40 GB is refused by its size, without reading it."""
    sparse(tmp_path / "film.mp4", 40 << 30)
    async with Backlog.open(tmp_path / "b.sqlite") as backlog, asyncio.timeout(5):
        with pytest.raises(ConfigError, match="42,949,672,960 bytes"):
            await backlog.add_manifest(manifest(tmp_path, "ocr,film.mp4,,,,"))


@pytest.mark.parametrize(
    "change", ["empty", "too large", "another", "gone", "directory", pytest.param("pipe", marks=posix)]
)
async def test_a_file_that_can_no_longer_be_sent_fails_alone(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, change: str
) -> None:
    """A file that has changed since it was added fails its row unsent; the other rows are done and nothing waits."""
    troubles: set[str] = set()
    async with Backlog.open(place) as backlog, asyncio.timeout(30):
        await backlog.add_manifest(manifest(tmp_path, *pictures(tmp_path, 7)))
        replace(tmp_path / "3.png", change)
        summary = await backlog.run(ekb, progress=lambda now: troubles.add(now.trouble))
        [failed] = await all_tasks(backlog, "failed")
    assert summary.counts == {"pending": 0, "running": 0, "done": 6, "failed": 1}
    assert (failed.file, failed.attempts, failed.error_type) == ("3.png", 0, "ConfigError")
    assert "3.png" in str(failed.error)
    assert troubles == {""}
    assert quick_box.count("ocr") == 6


def on_first_upload(box: Sandbox, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call `act` when the first upload has arrived."""
    reply, acts = box.vendor.reply, [act]

    def answer(request: VendorRequest, at: float) -> VendorReply:
        if request.upload is not None and acts:
            acts.pop()()
        return reply(request, at)

    monkeypatch.setattr(box.vendor, "reply", answer)


async def test_what_is_uploaded_is_what_was_added(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file overwritten while its row is queued fails; its new content is neither billed nor recorded."""
    rows = pictures(tmp_path, 40)
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    added = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def overwrite() -> None:
        for path in paths:  # replaced atomically: a file that is being written is empty for a moment
            path.with_suffix(".new").write_bytes(PNG + b"new " + path.name.encode())
            path.with_suffix(".new").replace(path)

    on_first_upload(quick_box, monkeypatch, overwrite)
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        summary = await backlog.run(ekb)
        failed = await all_tasks(backlog, "failed")
    assert set(quick_box.vendor.billed["ocr"]) <= added
    assert summary.counts["done"] == quick_box.vendor.billed["ocr"].total() >= 1
    assert summary.counts["failed"] == 40 - summary.counts["done"] >= 1
    assert all("the file was changed since it was added" in str(task.error) for task in failed)


async def test_a_file_emptied_while_it_waits_fails_alone(
    tmp_path: Path, place: Location, quick_box: Sandbox, ekb: EkbSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be uploaded when its upload starts fails its row only."""
    rows = pictures(tmp_path, 20)
    on_first_upload(quick_box, monkeypatch, lambda: replace(tmp_path / "19.png", "empty"))
    async with Backlog.open(place) as backlog, asyncio.timeout(30):
        await backlog.add_manifest(manifest(tmp_path, *rows))
        summary = await backlog.run(ekb)
    assert summary.counts == {"pending": 0, "running": 0, "done": 19, "failed": 1}
    assert summary.failures == {"ConfigError": 1}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (VendorReply(500, b'{"errorMessage": "NullPointerException"}', {}), "ServerError"),
        (VendorReply(413, b"Request Entity Too Large", {}), "InvalidRequestError"),
        (VendorReply(400, "第三方出现问题请稍后再试".encode(), {}), "ProviderError"),
        (VendorReply(200, b'{"value": {}}', {}), "ResponseError"),
    ],
)
async def test_a_file_that_the_vendor_cannot_take_fails_alone(
    tmp_path: Path, place: Location, monkeypatch: pytest.MonkeyPatch, reply: VendorReply, error: str
) -> None:
    """An upload that is always refused, with whatever answer, does not block the rows after it."""
    async with (
        Sandbox(ocr_rate=0) as box,
        session(box, max_tries=1, max_running=1) as ekb,
        Backlog.open(place) as backlog,
        asyncio.timeout(30),
    ):
        answer = box.vendor.reply

        def refuse(request: VendorRequest, at: float) -> VendorReply:
            if request.upload is not None and request.upload[0] == "1.png":
                return reply
            return answer(request, at)

        monkeypatch.setattr(box.vendor, "reply", refuse)
        await backlog.add_manifest(manifest(tmp_path, *pictures(tmp_path, 12)))
        summary = await backlog.run(ekb)
    assert summary.counts == {"pending": 0, "running": 0, "done": 11, "failed": 1}
    assert summary.failures == {error: 1}
