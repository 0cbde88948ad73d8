"""Fixtures of all tests: a fast session on a sandbox, which fails the test if a task is left running."""

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

pytest_plugins = ["tests.support.backlog_stores", "tests.support.postgres"]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Mark tests that use PostgreSQL, and let some workers of a parallel run start with the longest tests."""
    _mark_postgres(items)
    yield  # tests are selected by their marks
    if (workers := getattr(config, "workerinput", {}).get("workercount", 1)) > 1:
        items[:] = _longest_first(items, workers)


def _longest_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests in an order in which no long test is left for the end, when the other workers are idle.

    Each worker is first given an equal part of the list. Long tests mostly wait, so only some of the workers start with
    them.
    """
    is_long = [bool(item.get_closest_marker("slow") and item.get_closest_marker("process")) for item in items]
    long = [item for item, comes_first in zip(items, is_long, strict=True) if comes_first]
    others = [item for item, comes_first in zip(items, is_long, strict=True) if not comes_first]
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        share = long[worker :: workers // 2] if worker < workers // 2 else []
        size = (len(items) - len(ordered)) // (workers - worker) - len(share)
        ordered += [*share, *others[:size]]
        del others[:size]
    return ordered


def _mark_postgres(items: list[pytest.Item]) -> None:
    """Mark tests that use PostgreSQL, by their fixtures or their parameters."""
    for item in items:
        assert isinstance(item, pytest.Function)
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        # A tuple names two stores. Other types are not searched: some parameters have megabytes.
        in_postgres = any(isinstance(each, str | tuple) and "postgres" in each for each in parameters)
        if in_postgres or any("postgres" in name or "database" in name for name in item.fixturenames):
            item.add_marker("postgres")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Allow only marked tests to start processes, because those are slow."""
    _processes.allowed = any(item.get_closest_marker(name) for name in ("process", "postgres"))
    try:
        return (yield)
    finally:
        _processes.allowed = True


class _Processes:
    """An audit hook that forbids processes; it is added once, because Python cannot remove one."""

    def __init__(self) -> None:
        self.allowed = True
        sys.addaudithook(self._check)

    def _check(self, event: str, _: object) -> None:
        if not self.allowed and event in {"subprocess.Popen", "os.posix_spawn", "os.fork"}:
            raise RuntimeError("a test that starts a process is marked with @pytest.mark.process")


_processes = _Processes()
_numbers = itertools.count(1)

FAST: dict[str, Any] = {"ocr_rate": 1000.0, "verify_rate": 1000.0, "rate_guard": 0.0, "max_backoff": 0.02}
"""Settings without pacing and with almost no wait before a retry."""

OpenSession = Callable[..., AbstractAsyncContextManager[EkbSession]]


@asynccontextmanager
async def session_on(box: Sandbox, **config: Any) -> AsyncIterator[EkbSession]:
    """Open a fast session on a sandbox, and check afterwards that no task of the package is left."""
    async with EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(**{**FAST, **config})) as ekb:
        yield ekb
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ekb ")]
    assert left == []


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a state directory, so that commands share their pace within one test only."""
    # The package creates the directory on first use: creating thousands of them takes time.
    directory = tmp_path_factory.getbasetemp() / f"state-{next(_numbers)}"
    monkeypatch.setenv("EKB_STATE_DIR", str(directory))


@pytest.fixture(autouse=True)
def fast_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits of backlogs and workers, also in processes that the test starts."""
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
async def quick_box() -> AsyncIterator[Sandbox]:
    """A sandbox without rate limits."""
    async with Sandbox(ocr_rate=0, verify_rate=0) as box:
        yield box


@pytest.fixture
async def ekb(quick_box: Sandbox) -> AsyncIterator[EkbSession]:
    """A fast session on `quick_box`."""
    async with session_on(quick_box) as session:
        yield session


def pytest_collection_finish() -> None:
    """Exempt all objects of imports and collection from further garbage collection."""
    gc.collect()
    gc.freeze()
