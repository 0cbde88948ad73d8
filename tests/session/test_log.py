"""The lines and levels of the logger `ekb_async`, and the secrets that it must never show."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ekb_async.backlog import Backlog
from ekb_async.sandbox import Fault, Sandbox
from tests.conftest import session_on
from tests.support import command
from tests.support.fast_times import FAST_BACKLOG

URL = "https://files.example.com/a.png?Expires=1&Signature=the-signature"
OCR = "/api/openapi/v2/invoice/processImageByFileUrl"


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture all lines from INFO up."""
    with caplog.at_level(logging.INFO, "ekb_async"):
        yield caplog


def lines(caplog: pytest.LogCaptureFixture, area: str) -> list[tuple[str, str]]:
    """Return the levels and texts of one area's lines."""
    of_area = [record for record in caplog.records if record.name == f"ekb_async.{area}"]
    return [(record.levelname, record.getMessage()) for record in of_area]


async def test_success_is_not_logged(quick_box: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """Successful calls log only the issue of their token."""
    async with session_on(quick_box) as ekb:
        for _ in range(3):
            await ekb.ocr(URL)
    assert [record.name for record in logged.records] == ["ekb_async.tokens"]


async def test_a_retry(quick_box: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """Each retry logs the number of the failed attempt, the wait and the reason."""
    quick_box.faults.append(Fault.answer(503, "网关维护中", calls="ocr", times=2))
    async with session_on(quick_box) as ekb:
        await ekb.ocr(URL)
    (level, first), (_, second) = lines(logged, "calls")
    assert level == "INFO"
    assert first.startswith(f"{OCR}: attempt 1 failed, retrying in 0.02 s: 503 网关维护中")
    assert second.startswith(f"{OCR}: attempt 2 failed")


async def test_a_refusal_for_the_rate(logged: pytest.LogCaptureFixture) -> None:
    """A call that the vendor refused for its rate is logged."""
    async with Sandbox(ocr_rate=0) as box, session_on(box) as ekb:
        box.faults.append(Fault.answer(429, "请求过于频繁", calls="ocr", times=1))
        await ekb.ocr(URL)
    [(level, text)] = lines(logged, "calls")
    assert level == "INFO"
    assert text.startswith(f"{OCR}: refused for its rate, call repeated: 429 请求过于频繁")


async def test_a_token(quick_box: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """Issuing a token, and renewing a refused one, are logged without the token."""
    async with session_on(quick_box) as ekb:
        await ekb.ocr(URL)
        quick_box.revoke_tokens()
        await ekb.ocr(URL)
    assert lines(logged, "tokens") == [("INFO", "a new access token was issued for 7200 s")] * 2
    assert f"{OCR}: its token was refused, call repeated: 403" in logged.text


async def test_a_lost_answer(quick_box: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """A billed call that is sent again, and so may be billed twice, is a warning."""
    quick_box.faults.append(Fault.lost_answer(calls="ocr", times=1))
    async with session_on(quick_box) as ekb:
        await ekb.ocr(URL)
        assert ekb.stats().ocr.maybe_billed == 1
    assert lines(logged, "queue") == [("WARNING", f"{OCR}: repeated after a lost answer, may be billed twice")]


async def test_jobs_dropped_by_closing(quick_box: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """Closing a session logs how many queued jobs it dropped and how many running calls it broke off."""
    quick_box.latency["ocr"] = 30
    async with session_on(quick_box, max_running=2, close_timeout=0) as ekb:
        for _ in range(7):
            ekb.submit_ocr(URL)
        await quick_box.arrived("ocr", 2)
    assert lines(logged, "queue") == [
        ("WARNING", f"{OCR}: 5 queued jobs were dropped by closing"),
        ("WARNING", f"{OCR}: 2 running calls were broken off by closing after 0 s; they may be billed"),
    ]


async def test_nothing_dropped(quick_box: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """Closing a session whose jobs have all ended logs nothing; cancelled jobs are not counted."""
    quick_box.latency["ocr"] = 30
    async with session_on(quick_box, max_running=1) as ekb:
        jobs = [ekb.submit_ocr(URL) for _ in range(3)]
        await quick_box.arrived("ocr")
        for job in jobs:
            job.cancel()
    assert lines(logged, "queue") == []


async def test_an_outage(quick_box: Sandbox, logged: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A backlog's pause is a warning with its reason, and its end is logged."""
    quick_box.faults.append(Fault.answer(503, "网关维护中", calls="ocr", times=6))
    rows = [f"ocr,https://files.example.com/{number}.png,," for number in range(10)]
    (tmp_path / "manifest.csv").write_text("\n".join(["kind,file,invoice_id,ref", *rows, "url,,corp:1:2,"]))
    async with (
        session_on(quick_box, max_tries=1, max_running=1) as ekb,
        Backlog.open(tmp_path / "backlog.sqlite", timing=FAST_BACKLOG) as backlog,
    ):
        await backlog.add_manifest(tmp_path / "manifest.csv")
        assert (await backlog.run(ekb)).counts["done"] == 11
    first, *_, last = lines(logged, "backlog")
    assert first[0] == "WARNING"
    assert first[1].startswith("calls pause for 0.05 s: 503 网关维护中")
    assert last[0] == "INFO"
    assert last[1].startswith("calls go on after ")


async def test_a_text_of_the_vendor_is_data(quick_box: Sandbox, logged: pytest.LogCaptureFixture) -> None:
    """A text of the vendor is logged on one line, cut, and with its secrets masked."""
    said = f"\r\n2026-01-01 ERROR forged \x1b[31m {URL} accessToken=the-token " + "长" * 5_000
    quick_box.faults.append(Fault.answer(503, said, calls="ocr", times=1))
    async with session_on(quick_box) as ekb:
        await ekb.ocr(URL)
    [(_, text)] = lines(logged, "calls")
    assert text.isprintable()
    assert len(text) < 700
    for secret in ("the-signature", "the-token", quick_box.credentials.app_security, *quick_box.vendor.tokens.secrets):
        assert secret not in logged.text


class TestCommand:
    async def test_verbose(self, quick_box: Sandbox) -> None:
        """`ekb -v` writes log lines to standard error; standard output has only results."""
        quick_box.faults.append(Fault.answer(503, "网关维护中", calls="token", times=1))
        ended = await command.ekb("-v", "ocr", URL, box=quick_box)
        assert ended.status == 0
        assert len(ended.lines) == 1
        assert "attempt 1 failed" in ended.messages
        assert "a new access token was issued" in ended.messages
        assert "the-signature" not in ended.messages

    async def test_quiet(self, quick_box: Sandbox) -> None:
        """Without `-v` a retry is not logged, and no handler stays on the logger."""
        quick_box.faults.append(Fault.answer(503, "网关维护中", calls="token", times=1))
        ended = await command.ekb("urls", "corp:1:2", box=quick_box)
        assert ended.status == 0
        assert "attempt" not in ended.messages
        assert logging.getLogger("ekb_async").handlers == []

    async def test_an_outage_is_reported_once(self, quick_box: Sandbox, tmp_path: Path) -> None:
        """The progress of a run reports why it waits, so the log does not without `-v`."""
        quick_box.faults.append(Fault.reset(calls="token", times=1))
        (tmp_path / "manifest.csv").write_text("kind,file\nocr,https://files.example.com/a.png\n")
        backlog = tmp_path / "backlog.sqlite"
        await command.ekb("backlog", "add", backlog, tmp_path / "manifest.csv")
        ended = await command.ekb("backlog", "run", backlog, box=quick_box)
        assert "calls pause" not in ended.messages
