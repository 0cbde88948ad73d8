"""What the tests share: a session on a sandbox without waiting, and a check that nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async.sandbox import Sandbox
from tests.fast_times import ENVIRONMENT

pytest_plugins = ["tests.postgres"]

FAST: dict[str, Any] = {"ocr_rate": 1000.0, "verify_rate": 1000.0, "rate_guard": 0.0, "max_backoff": 0.02}
"""Settings under which nothing is paced and retries hardly wait."""

OpenSession = Callable[..., AbstractAsyncContextManager[EkbSession]]


@asynccontextmanager
async def session_on(box: Sandbox, **config: Any) -> AsyncIterator[EkbSession]:
    """A fast session on a sandbox, after which no task of the package may be left."""
    async with EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(**{**FAST, **config})) as ekb:
        yield ekb
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ekb ")]
    assert left == []


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands share their pace with those of the same test only."""
    monkeypatch.setenv("EKB_STATE_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def fast_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backlogs and workers, also of processes that the test starts, do not wait long for one another."""
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
async def quick_box() -> AsyncIterator[Sandbox]:
    """A sandbox without limits on the rate."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        yield box


@pytest.fixture
async def ekb(quick_box: Sandbox) -> AsyncIterator[EkbSession]:
    """A fast session on `quick_box`."""
    async with session_on(quick_box) as session:
        yield session
