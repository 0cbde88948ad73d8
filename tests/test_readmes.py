"""The READMEs in English and Chinese: they link one another, and their programs run."""

from __future__ import annotations

import asyncio
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ekb_async import SessionConfig
from ekb_async.sandbox import SampleInvoice, Sandbox
from tests.support.documented import ROOT, program_of

ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
BOTH = pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=lambda readme: readme.name)
STAFF = "corp:staff"
UNPACED = SessionConfig(ocr_rate=1000.0, verify_rate=1000.0, rate_guard=0.0)
INVOICE = SampleInvoice(code="044", number="40218836", total=Decimal("10.60"))


@pytest.mark.parametrize(("readme", "other"), [(ENGLISH, CHINESE), (CHINESE, ENGLISH)])
def test_the_other_language_is_linked_first(readme: Path, other: Path) -> None:
    """The link is the first thing below the title."""
    assert readme.read_text(encoding="utf-8").splitlines()[2].endswith(f"]({other.name})")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the file that the first program sends."""
    (tmp_path / "hotel.pdf").write_bytes(b"%PDF-1.4\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _replaced(program: str, shown: str, own: str) -> str:
    """Return a program with what is only an example replaced."""
    assert program.count(shown) == 1
    return program.replace(shown, own)


@BOTH
@pytest.mark.usefixtures("folder")
async def test_the_program(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what was recognised and what was verified."""
    program = program_of(readme, "async def main")
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        box.vendor.add_staff(id=STAFF, name="张三")
        keys = box.credentials
        program = _replaced(program, 'app_key="…"', f"app_key={keys.app_key!r}")
        program = _replaced(program, 'app_security="…"', f"app_security={keys.app_security!r}")
        program = _replaced(program, '"https://app.ekuaibao.com"', f"{box.base_url!r}, config=config")
        await asyncio.to_thread(exec, compile(program, readme.name, "exec", dont_inherit=True), {"config": UNPACED})
        assert [box.count(call) for call in ("ocr", "verify", "invoice_url", "invoice_details_many")] == [1, 1, 1, 1]
    recognised, verified = capsys.readouterr().out.splitlines()
    assert Decimal(recognised)
    assert verified.endswith(" True")


@BOTH
async def test_the_snippet(
    readme: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call is sent first, a job is awaited, many files are verified, and the files of invoices are downloaded."""
    snippet = program_of(readme, "submit_verify")
    names: dict[str, Any] = {
        "config": UNPACED,
        "file": folder / "hotel.pdf",
        "files": ["https://files.example/a.png"],
        "invoice_ids": ["c:044:40218836"],
    }
    snippet = _replaced(snippet, "from_env()", "from_env(config=config)")
    program = f"async def main():\n{textwrap.indent(snippet, '    ')}"
    exec(compile(program, readme.name, "exec", dont_inherit=True), names)  # noqa: S102 - the README's own
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        box.vendor.add_staff(id=STAFF, name="张三")
        box.vendor.add_invoice("c:044:40218836", INVOICE)
        monkeypatch.setenv("EKB_BASE_URL", box.base_url)
        monkeypatch.setenv("EKB_APP_KEY", box.credentials.app_key)
        monkeypatch.setenv("EKB_APP_SECURITY", box.credentials.app_security)
        await names["main"]()
    job, verified, downloaded = capsys.readouterr().out.splitlines()
    assert job.startswith("queued 0 ")
    assert verified.startswith("https://files.example/a.png VerifyResult(")
    assert len(list((folder / "files").iterdir())) == 1, downloaded
