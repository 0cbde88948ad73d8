"""A vendor and a session for the calls about records."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async.sandbox import Sandbox


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A vendor that knows the invoices that were added."""
    async with Sandbox(corporation="c", knows=lambda _: False) as running:
        yield running


@pytest.fixture
async def ekb(box: Sandbox) -> AsyncIterator[EkbSession]:
    """A session with the vendor, which makes each call once."""
    async with EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(max_tries=1)) as session:
        yield session
