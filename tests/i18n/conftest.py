"""A walk in each language, and what it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ekb_async.sandbox import Sandbox
from tests.support.command import PNG
from tests.support.walk import TO_BE_TYPED, VENDOR_TEXTS, Walk


@pytest.fixture(params=["zh", "en"])
def walk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    """Walk in a language, and look at what was found there at the end."""
    monkeypatch.chdir(tmp_path)
    walk = Walk(request.param, tmp_path, (*VENDOR_TEXTS, *TO_BE_TYPED))
    yield walk
    assert walk.foreign == []


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A sandbox without rates."""
    async with Sandbox(ocr_rate=0, verify_rate=0, corporation="corp", staff={"corp:1001"}) as box:
        yield box


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image file."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    return path
