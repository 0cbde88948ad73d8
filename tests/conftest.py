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
from tests.support.fast_times import ENVIRONMENT

pytest_plugins = ["tests.support.postgres"]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Mark tests that use a PostgreSQL, and let some workers of a parallel run begin with the longest."""
    _mark_postgres(items)
    yield  # tests are selected by their marks
    if (workers := getattr(config, "workerinput", {}).get("workercount", 1)) > 1:
        items[:] = _longest_first(items, workers)


def _longest_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests in an order in which no long one is left for the end, when others have nothing more to do.

    Of the whole list each worker is given an equal part at first. Long tests mostly wait, so that only some of the
    workers begin with them.
    """
    is_long = [bool(item.get_closest_marker("slow") and item.get_closest_marker("process")) for item in items]
    long = [item for item, at_first in zip(items, is_long, strict=True) if at_first]
    others = [item for item, at_first in zip(items, is_long, strict=True) if not at_first]
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        share = long[worker :: workers // 2] if worker < workers // 2 else []
        size = (len(items) - len(ordered)) // (workers - worker) - len(share)
        ordered += [*share, *others[:size]]
        del others[:size]
    return ordered


def _mark_postgres(items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures, or by the home they are run in."""
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
