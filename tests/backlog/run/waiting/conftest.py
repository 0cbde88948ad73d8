"""A vendor whose tax authority does not know today's invoices, a session with it, and the time for both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ekb_async import EkbSession
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import session
from tests.support.calendar import Calendar


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A vendor whose tax authority is a day late."""
    async with Sandbox(ocr_rate=0, verify_rate=0, not_yet_known=True) as box:
        yield box


@pytest.fixture
async def ekb(box: Sandbox) -> AsyncIterator[EkbSession]:
    async with session(box) as ekb:
        yield ekb


@pytest.fixture
async def calendar(box: Sandbox) -> Calendar:
    """The afternoon of the day on which the invoices are issued."""
    return Calendar(box, "2030-03-10 15:00")
