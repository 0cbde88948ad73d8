"""What the tests share: a session on a sandbox without waiting, and a check that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from ekb_async import EkbSession, SessionConfig
from ekb_async.sandbox import Sandbox
from tests.fast_times import ENVIRONMENT

pytest_plugins = ["tests.postgres"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use a PostgreSQL are marked as such, by their fixtures or by the home they are run in."""
    for item in items:
        assert isinstance(item, pytest.Function)
        homes = item.callspec.params.values() if hasattr(item, "callspec") else ()
        # Some name two homes, and some parameters are megabytes.
        in_postgres = any(isinstance(home, str | tuple) and "postgres" in home for home in homes)
        if in_postgres or any("postgres" in name or "database" in name for name in item.fixturenames):
            item.add_marker("postgres")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Only a test that is marked so starts processes, which take their time."""
    _processes.allowed = any(item.get_closest_marker(name) for name in ("process", "postgres"))
    try:
        return (yield)
    finally:
        _processes.allowed = True


class _Processes:
    """An audit hook, which Python never takes away again."""

    def __init__(self) -> None:
        self.allowed = True
        sys.addaudithook(self._look)

    def _look(self, event: str, _: object) -> None:
        if not self.allowed and event in {"subprocess.Popen", "os.posix_spawn", "os.fork"}:
            raise RuntimeError("a test that starts a process is marked with @pytest.mark.process")


_processes = _Processes()
_numbers = itertools.count(1)

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
    # It is made when it is first used; a directory for each of thousands of tests takes its time.
    directory = tmp_path_factory.getbasetemp() / f"state-{next(_numbers)}"
    monkeypatch.setenv("EKB_STATE_DIR", str(directory))


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


def pytest_collection_finish() -> None:
    """Keep what was imported and collected from being looked through again and again for garbage."""
    gc.collect()
    gc.freeze()
