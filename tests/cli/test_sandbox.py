"""`ekb sandbox`: what its options enforce, what it says, and its log of requests."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ekb_async.cli.sandbox.settings import KINDS
from ekb_async.errors import OutcomeUnknownError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.loopback import Answered
from tests.conftest import session_on
from tests.support.command import PNG, ekb, start

OFF = ("--ocr-rate", "off", "--verify-rate", "off")


class Running(NamedTuple):
    """A sandbox that runs as a command: the settings of a program that uses it, and what it says later on."""

    settings: dict[str, Any]
    process: asyncio.subprocess.Process

    async def said(self, last: str) -> str:
        """Return what it says up to a line with the text `last`."""
        text = ""
        assert self.process.stderr is not None
        while last not in text:
            line = await self.process.stderr.readline()
            assert line, text
            text += line.decode()
        return text


@asynccontextmanager
async def running(*options: str, **variables: str) -> AsyncIterator[Running]:
    """Run a sandbox as a command; interrupting it ends it with status 130."""
    process = await start("sandbox", *options, box=None, **variables)
    try:
        assert process.stdout is not None
        exports = [(await process.stdout.readline()).decode().split()[1] for _ in range(3)]
        yield Running(dict(export.split("=", 1) for export in exports), process)
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file that the sandbox recognises as an invoice."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    return path


@pytest.mark.process
async def test_it_says_what_it_enforces_and_verifies_for_its_people(image: Path) -> None:
    """The people that are named can verify at once, others do not exist; each request is a line of the log."""
    options = (*OFF, "--latency", "0.01", "--staff", "corp:new", "--fault", "lost=0.5%", "--log")
    async with running(*options) as box:
        said = await box.said("corp:new")
        assert "OCR: any number of calls per second" in said
        assert "a paid call takes 0.01 s" in said
        assert "fault in 0.5% of the paid calls: billed, and the answer is lost" in said
        [staff_id] = re.findall(r"(\S+:1001)  王小明", said)
        for person in (staff_id, "corp:new", "工号：1001"):
            assert (await ekb("verify", image, "--staff-id", person, **box.settings)).status == 0, person
        refused = await ekb("verify", image, "--staff-id", "corp:other", **box.settings)
        assert refused.lines[0]["error"]["class"] == "StaffNotFoundError"
        unknown = await ekb("verify", image, "--staff-id", "code:9", **box.settings)
        assert (unknown.status, unknown.messages.splitlines()[-2]) == (1, "ekb: no active person has this staff number")
        logged = await box.said("multiple_items 400")
    lines = logged.split("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d POST /api/openapi/v1/auth/getAccessToken 200 \d+ ms", lines[1])
    assert any(re.search(r"POST /api/openapi/v2/invoice/multiple_items 200 \d\d ms", line) for line in lines)
    assert "accessToken=" not in logged


@pytest.mark.process
async def test_permissions_and_keys(image: Path) -> None:
    """A feature that is not enabled and keys that are refused fail as with the vendor; both languages say so."""
    async with running("--without", "verify", "--ocr-rate", "5", EKB_LANG="zh") as box:
        assert "企业未开通“识别并验真”" in await box.said("王小明")
        refused = await ekb("verify", image, "--staff-id", "corp:staff", **box.settings)
        assert (refused.status, refused.lines[0]["error"]["class"]) == (3, "PermissionDeniedError")
        assert (await ekb("ocr", image, **box.settings)).status == 0
    async with running("--refuse-keys") as box:
        assert "the keys above are refused" in await box.said("王小明")
        refused = await ekb("ocr", image, **box.settings)
        assert (refused.status, refused.lines[0]["error"]["class"]) == (3, "AuthError")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--ocr-rate", "0"), "--ocr-rate must be a number of calls per second above 0, or off, not '0'"),
        (("--verify-rate", "nan"), "--verify-rate must be a number of calls per second above 0"),
        (("--fault", "fire=1%"), "--fault must be one of recognition, provider, throttled, busy, 500, gateway"),
        (("--fault", "lost"), "--fault lost needs a share of the calls above 0% and up to 100%, such as lost=5%"),
        (("--fault", "lost=0"), "--fault lost needs a share"),
        (("--fault", "lost=101%"), "--fault lost needs a share"),
        (("--fault", "lost=60%", "--fault", "recognition=0.5"), "the shares of --fault are more than 100% together"),
        (("--without", "url"), "--without must be one of ocr, verify, not 'url'"),
        (("--staff", "王小明"), "'王小明' is no ID of a person, which has the form corporation:staff"),
        (("--replay", "none", "--ocr-rate", "2"), "--replay answers as recorded, so only --port and --log go with it"),
        (("--replay", "none"), "none"),
    ],
)
async def test_wrong_options(options: tuple[str, ...], reason: str) -> None:
    """A wrong option is refused with a plain error, before anything is served: status 2."""
    refused = await ekb("sandbox", *options)
    assert (refused.status, refused.output) == (2, b"")
    assert reason in refused.messages


async def test_a_port_that_is_taken() -> None:
    """A port that another program uses is named in the error: status 2."""
    async with Sandbox() as box:
        port = box.base_url.rpartition(":")[2]
        refused = await ekb("sandbox", "--port", port)
    assert (refused.status, f"port {port} is taken" in refused.messages) == (2, True)


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_every_kind_of_fault_strikes(image: Path, kind: str) -> None:
    """Each kind of fault strikes the calls that it names, and those only."""
    about = KINDS[kind]
    async with Sandbox(ocr_rate=0, faults=[about.make(about.calls, 1.0)]) as box, session_on(box) as ekb_session:
        struck = asyncio.create_task(ekb_session.ocr(image))
        await box.arrived("ocr")
        assert next(entry for entry in box.log if entry.call == "ocr").fault
        assert all(not entry.fault for entry in box.log if entry.call != "ocr")
        struck.cancel()
        await asyncio.gather(struck, return_exceptions=True)


async def test_answers_are_reported(image: Path) -> None:
    """`on_answer` gets each request with its status and time, 0 for an answer that was lost, and no query."""
    seen: list[Answered] = []
    lost = KINDS["lost"].make(("ocr",), 1.0)
    async with (
        Sandbox(ocr_rate=0, faults=[lost], on_answer=seen.append) as box,
        session_on(box, repeat_unknown=False) as ekb_session,
    ):
        with pytest.raises(OutcomeUnknownError):
            await ekb_session.ocr(image)
    by_path = {each.path.rpartition("/")[2]: each for each in seen}
    assert by_path["getAccessToken"].status == 200
    assert by_path["processImageByFileUrl"].status == 0
    assert all(each.seconds >= 0 and "?" not in each.path for each in seen)
