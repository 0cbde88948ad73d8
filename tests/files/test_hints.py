"""What to check when a file is not recognised fits what was given: a file, an attachment or a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from ekb_async import EkbSession, LocalFile, ProviderError, RecognitionError, SessionConfig
from ekb_async.models import Attachment
from ekb_async.models.files import FileContent
from ekb_async.sandbox import Fault, Sandbox
from tests.support.command import PNG

_NOT_RECOGNISED = Fault.answer(400, "识别失败", calls="verify")
_PROVIDER_AWAY = Fault.answer(400, "第三方出现问题请稍后再试", calls="ocr")


async def _hints(file: FileContent, file_name: str | None = None) -> list[str]:
    async with (
        Sandbox(ocr_rate=0, verify_rate=0, faults=[_NOT_RECOGNISED, _PROVIDER_AWAY]) as box,
        EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(max_tries=1)) as ekb,
    ):
        if isinstance(file, Attachment):
            file = box.vendor.add_file(PNG, file.key)
        with pytest.raises(RecognitionError) as not_recognised:
            await ekb.verify(file, staff_id="corp:staff", file_name=file_name)
        with pytest.raises(ProviderError) as provider_away:
            await ekb.ocr(file, file_name=file_name)
    return [not_recognised.value.hint, provider_away.value.hint]


async def test_hint_about_a_local_file(tmp_path: Path) -> None:
    """A file of this machine, or its content, is called a file: its URL is not what the person gave."""
    (tmp_path / "a.png").write_bytes(PNG)
    expected = [
        "Check that the file opens and shows an invoice.",
        "Check that the file opens and is an image or a PDF; otherwise try later.",
    ]
    assert await _hints(LocalFile(tmp_path / "a.png")) == expected
    assert await _hints(PNG, file_name="a.png") == expected


async def test_hint_about_an_attachment() -> None:
    """An attachment of the vendor is called one."""
    assert await _hints(Attachment(id="a", key="a.png")) == [
        "Check that the attachment opens and shows an invoice.",
        "Check that the attachment opens and is an image or a PDF; otherwise try later.",
    ]


async def test_hint_about_a_url() -> None:
    """A URL may be wrong or have expired."""
    assert await _hints("http://127.0.0.1:9/a.png") == [
        "Check that the file URL opens, has not expired, and shows an invoice.",
        "Check that the file URL opens in a browser and is an image or a PDF; otherwise try later.",
    ]
