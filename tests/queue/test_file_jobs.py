"""Files given as content in memory, and stream inputs with their own staff ID, name and key."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, assert_type

import pytest

from ekb_async import (
    AppCredentials,
    Attachment,
    ConfigError,
    EkbSession,
    FileJob,
    InvoiceFile,
    OcrResult,
    Outcome,
    RecognitionError,
    SessionConfig,
    VerifyResult,
)
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.conftest import session_on

PNG = b"\x89PNG\r\n\x1a\n"
MEGABYTE = 1024 * 1024


def sent(box: Sandbox, field: str) -> list[str]:
    """Return the values of a field in the bodies of all verifying calls."""
    return [entry.body.split(f'"{field}":"')[1].split('"')[0] for entry in box.log if entry.call == "verify"]


# Content in memory


async def test_content_is_recognised_and_verified(ekb: EkbSession, quick_box: Sandbox) -> None:
    """`bytes` are uploaded under their name, which the verifying call sends too."""
    assert (await ekb.ocr(PNG + b"1", file_name="酒店.png")).invoices
    assert (await ekb.verify(PNG + b"2", staff_id="c:s", file_name="出租车.png")).invoices
    assert quick_box.count("upload") == 2
    assert sent(quick_box, "fileName") == ["出租车.png"]


async def test_content_is_uploaded_just_before_its_call() -> None:
    """Content is uploaded shortly before its call, and released afterwards."""
    content = PNG + bytes(1000)
    held_by_caller = sys.getrefcount(content)
    async with Sandbox(ocr_rate=0, latency=30.0) as box, session_on(box, ocr_rate=1.0, close_timeout=0) as ekb:
        first = ekb.submit_ocr(content, file_name="0.png")
        await box.arrived("ocr")
        assert first.state == "running"
        assert sys.getrefcount(content) == held_by_caller
        jobs = [ekb.submit_ocr(PNG + bytes([n]), file_name=f"{n}.png") for n in range(60)]
        await box.arrived("upload", 2)
        assert box.count("upload") <= 15
        assert {job.state for job in jobs} == {"queued"}


@pytest.mark.parametrize(
    ("content", "file_name", "said"),
    [
        (PNG, None, "file_name is needed"),
        (b"", "空.png", "空.png cannot be read and sent: the file is empty"),
        (
            b"x" * (30 * MEGABYTE + 1),
            "large.pdf",
            r"large.pdf cannot be .*: the file has 31,457,281 bytes; at most 31,457,280",
        ),
        (PNG, "12:30.png", "must not hold ':'"),
        (PNG, "../a.png", "must not hold '/'"),
        (PNG, "", "not empty"),
        (PNG, 7, "not empty"),
        (bytearray(PNG), "a.png", "bytes, not bytearray"),
        (memoryview(PNG), "a.png", "bytes, not memoryview"),
    ],
)
async def test_wrong_content_is_refused_at_once(
    ekb: EkbSession, quick_box: Sandbox, content: Any, file_name: Any, said: str
) -> None:
    """Content that the vendor does not accept raises `ConfigError` before anything is queued or sent."""
    with pytest.raises(ConfigError, match=said):
        ekb.submit_ocr(content, file_name=file_name)
    with pytest.raises(ConfigError, match=said):
        ekb.submit_verify(content, staff_id="c:s", file_name=file_name)
    with pytest.raises(ConfigError, match=said):
        await ekb.ocr(content, file_name=file_name)
    assert quick_box.log == []


async def test_the_largest_content(ekb: EkbSession, quick_box: Sandbox) -> None:
    """Content of exactly 30 MB is uploaded."""
    assert (await ekb.ocr(PNG + bytes(30 * MEGABYTE - len(PNG)), file_name="large.png")).invoices


async def test_content_needs_its_upload_once() -> None:
    """After a refused URL another is fetched for the same upload: the content has been released by then."""
    fault = Fault.answer(400, "识别失败", calls="ocr", times=1)
    async with Sandbox(ocr_rate=0, faults=[fault]) as box, session_on(box) as ekb:
        assert (await ekb.ocr(PNG, file_name="a.png")).invoices
        assert (box.count("ocr"), box.count("upload"), box.count("download_urls")) == (2, 1, 2)
        box.faults.append(Fault.answer(400, "识别失败", calls="ocr", times=2))
        with pytest.raises(RecognitionError):
            await ekb.ocr(PNG, file_name="a.png")


async def test_a_local_file_under_another_name(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """With `file_name`, a local file is uploaded under that name, which is checked first."""
    path = tmp_path / "tmp7c9e0b1f"
    path.write_bytes(PNG)
    assert (await ekb.ocr(path, file_name="酒店.png")).invoices
    assert any("酒店.png" in entry.body for entry in quick_box.log if entry.call == "download_urls")
    with pytest.raises(ConfigError, match="must not hold"):
        ekb.submit_ocr(path, file_name="酒店?.png")


# Inputs of streams


async def test_each_file_with_its_own_values(ekb: EkbSession, quick_box: Sandbox, tmp_path: Path) -> None:
    """A job's staff ID and name are sent with its file, and the job itself is the outcome's input."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG + b"a")
    jobs = [
        FileJob(path, staff_id="c:one", key=1),
        FileJob(PNG + b"b", staff_id="c:two", file_name="b.png", key={"row": 2}),
        FileJob("https://files.example/c.png", file_name="given.png"),
    ]
    outcomes = [outcome async for outcome in ekb.verify_many(jobs, staff_id="c:all")]
    assert all(outcome.result for outcome in outcomes)
    assert sorted(jobs.index(outcome.input) for outcome in outcomes) == [0, 1, 2]
    assert {outcome.input.key == job.key for outcome in outcomes for job in jobs if outcome.input is job} == {True}
    sent_together = set(zip(sent(quick_box, "staffId"), sent(quick_box, "fileName"), strict=True))
    assert sent_together == {("c:one", "a.png"), ("c:two", "b.png"), ("c:all", "given.png")}


async def test_pairs_of_file_and_staff(ekb: EkbSession, quick_box: Sandbox) -> None:
    """A pair gives a file and its staff ID, and the same object is the outcome's input."""
    pairs = [(f"https://files.example/{n}.png", f"c:{n}") for n in range(3)]
    outcomes = [outcome async for outcome in ekb.verify_many(pairs)]
    assert {id(outcome.input) for outcome in outcomes} == set(map(id, pairs))
    assert sorted(sent(quick_box, "staffId")) == ["c:0", "c:1", "c:2"]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("https://files.example/a.png", "staff_id is needed"),
        (FileJob("https://files.example/a.png"), "staff_id is needed"),
        (("https://files.example/a.png", None), "staff_id is needed"),
        (("https://files.example/a.png", ""), "staff_id must be a text that is not empty"),
        (("https://files.example/a.png", 7), "staff_id must be a text that is not empty"),
        (("https://files.example/a.png", "c:s", "a.png"), "tuple of 2 entries, not of 3"),
        ((), "tuple of 2 entries, not of 0"),
        ((PNG, "c:s"), "file_name is needed"),
        (FileJob(b"", staff_id="c:s", file_name="a.png"), "the file is empty"),
        (FileJob(FileJob("https://files.example/a.png"), staff_id="c:s"), "not FileJob"),  # type: ignore[arg-type]
        (FileJob(["https://files.example/a.png"], staff_id="c:s"), "not list"),  # type: ignore[arg-type]
        (None, "staff_id is needed"),
    ],
)
async def test_a_wrong_input_fails_alone(ekb: EkbSession, quick_box: Sandbox, item: Any, said: str) -> None:
    """An invalid input is an outcome with its error and is not sent; the others go on."""
    good = ("https://files.example/good.png", "c:s")
    outcomes = [outcome async for outcome in ekb.verify_many([item, good])]
    failed = {outcome.input is item: outcome.error for outcome in outcomes}
    assert failed[False] is None
    assert isinstance(failed[True], ConfigError)
    assert said in str(failed[True])
    assert quick_box.count("verify") == 1


async def test_recognition_takes_jobs_as_well(ekb: EkbSession, quick_box: Sandbox) -> None:
    """`ocr_many` accepts the same jobs and ignores their staff IDs."""
    jobs = [FileJob(PNG + bytes([n]), staff_id="c:s", file_name=f"{n}.png", key=n) for n in range(5)]
    outcomes = [outcome async for outcome in ekb.ocr_many(jobs)]
    assert sorted(outcome.input.key for outcome in outcomes if outcome.result) == [0, 1, 2, 3, 4]
    assert quick_box.count("upload") == 5


@pytest.mark.parametrize("staff_id", ["", " ", 7])
async def test_a_wrong_staff_id_for_all(ekb: EkbSession, staff_id: Any) -> None:
    """An invalid staff ID for all inputs raises `ConfigError` when the stream is made."""
    with pytest.raises(ConfigError, match="staff_id"):
        ekb.verify_many([], staff_id=staff_id)


def test_content_held_by_a_stream_is_bounded() -> None:
    """A stream accepts only some 128 MB of content ahead of its consumer."""
    content = PNG + bytes(30 * MEGABYTE - len(PNG))
    taken = 0

    def jobs() -> Iterator[FileJob]:
        nonlocal taken
        for n in range(8):
            taken += 1
            yield FileJob(content, file_name=f"{n}.png", key=n)

    async def main() -> None:
        vendor = Vendor(ocr_rate=0)
        config = SessionConfig(ocr_rate=1000.0, rate_guard=0.0)
        credentials = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
        async with EkbSession(credentials, config=config, transport=InMemoryTransport(vendor)) as ekb:
            seen = 0
            async for outcome in ekb.ocr_many(jobs()):
                seen += 1
                assert outcome.result
                assert taken - seen <= 5
            assert seen == taken == 8

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


# What is shown


def test_no_signature_and_no_content_is_shown() -> None:
    """The `repr` of a job or outcome shows neither the query of a URL nor content."""
    signed = "https://files.example/a.png?Signature=secret"
    assert repr(FileJob(signed, staff_id="c:s", key=7)) == (
        "FileJob(file='https://files.example/a.png', staff_id='c:s', key=7)"
    )
    assert repr(FileJob(PNG + bytes(2000), file_name="a.png")) == "FileJob(file=<2,008 bytes>, file_name='a.png')"
    for item in (FileJob(signed), (signed, "c:s"), signed, (PNG, "c:s")):
        assert "secret" not in repr(Outcome(item))
        assert "PNG" not in repr(Outcome(item))


# Types


async def test_inputs_keep_their_types(ekb: EkbSession) -> None:
    """Type checkers infer the type of `outcome.input` from the inputs; at run time this test checks nothing."""

    async def paths() -> AsyncIterator[Path]:
        for path, _ in pairs:
            yield path

    jobs: list[FileJob] = []
    files: list[InvoiceFile] = []
    pairs: list[tuple[Path, str]] = []
    async for job in ekb.ocr_many(jobs):
        assert_type(job, Outcome[FileJob, OcrResult])
    async for at in ekb.ocr_many(paths()):
        assert_type(at, Outcome[Path, OcrResult])
    async for file in ekb.ocr_many(files):
        assert_type(file, Outcome[InvoiceFile, OcrResult])
    async for verified in ekb.verify_many(jobs):
        assert_type(verified, Outcome[FileJob, VerifyResult])
    async for pair in ekb.verify_many(pairs):
        assert_type(pair, Outcome[tuple[Path, str], VerifyResult])
    async for made in ekb.verify_many(FileJob(path, staff_id=staff) for path, staff in pairs):
        assert_type(made.input, FileJob)
    async for alike in ekb.verify_many(["https://files.example/a.png"], staff_id="c:s"):
        assert_type(alike, Outcome[str, VerifyResult])
    mixed = ekb.ocr_many(["https://files.example/a.png", Attachment("a", "b"), FileJob(PNG, file_name="a.png")])
    await mixed.aclose()
