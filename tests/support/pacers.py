"""The pacers on which the rule of the pace is tested: of one process, of one machine, and on a PostgreSQL.

The first two run in virtual time, where all times are exact. The database has a clock of its own, so there a second of
a test is a fiftieth of a real one, and nothing is asserted that would fail on a slow machine.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, cast

import pytest

from ekb_async import MachinePace
from ekb_async.pacing import sqlite as machine_pace
from ekb_async.pacing.process import ProcessPacer
from ekb_async.pacing.rule import Pace, Pacer, Slot
from ekb_async.postgres import PostgresPace
from ekb_async.simulation import VirtualTimeLoop

_REAL_SECOND = 0.02
_CLOCK_STEP = 1e-6


class Inline(Executor):
    """A replacement for a thread, whose work would take no virtual time and so never end."""

    def __init__(self, **_: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future raises it, as a thread's would
            future.set_exception(error)
        return future


class _Punctual:
    """A pace as call queues use it: a claimed slot is waited for until it opens."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pace, name)

    async def claim(self) -> Slot:
        slot = await self._pace.claim()
        try:
            if (seconds_until := self._pace.seconds_until(slot)) > 0:
                await asyncio.sleep(seconds_until)
        except asyncio.CancelledError:
            self._pace.give_back(slot)
            raise
        return slot


class Scene:
    """Paces on one bucket, and the seconds of the test."""

    def __init__(self, pacers: Iterator[Pacer], *, virtual: bool) -> None:
        self._pacers = pacers
        self.virtual = virtual
        self._paces: list[Pace] = []
        self.second = 1.0 if virtual else _REAL_SECOND

    def pace(self, rate: float = 1.0, margin: float = 0.01, most_wait: float = 30.0) -> Pace:
        """Return a pace of the next pacer, for a rate per second of the test."""
        second = self.second
        pace = next(self._pacers).pace("call", rate / second, margin * second, most_wait * second)
        self._paces.append(pace)
        return cast(Pace, _Punctual(pace))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.second)

    def passed(self, time: float, seconds: float, *, exact: float = 2e-3) -> bool:
        """Return whether a time equals so many seconds of the test; in real time it may be longer."""
        if self.virtual:
            return abs(time - seconds) <= exact
        return time >= seconds * self.second - _CLOCK_STEP

    async def close(self) -> None:
        for pace in self._paces:
            await pace.close()


Main = Callable[[Scene], Awaitable[None]]
Play = Callable[[Main], None]


def play_on(kind: str, request: pytest.FixtureRequest, *, separate: bool) -> Play:
    """Return what runs a test on pacers of a kind: `"process"`, `"machine"` or `"postgres"`.

    With `separate` each pace has a pacer of its own, as in several processes.
    """
    virtual = kind != "postgres"
    directory: Path = request.getfixturevalue("tmp_path")
    dsn: str = "" if virtual else request.getfixturevalue("database")
    request.getfixturevalue("monkeypatch").setattr(machine_pace, "ThreadPoolExecutor", Inline)

    def pacer() -> Pacer:
        if kind == "process":
            return ProcessPacer()
        return PostgresPace(dsn) if kind == "postgres" else MachinePace(directory, clock=now)

    async def run(main: Main) -> None:
        pacers = (pacer() for _ in itertools.count()) if separate else itertools.repeat(pacer())
        scene = Scene(pacers, virtual=virtual)
        try:
            await main(scene)
        finally:
            await scene.close()

    def play(main: Main) -> None:
        with asyncio.Runner(debug=True, loop_factory=VirtualTimeLoop if virtual else None) as runner:
            runner.run(run(main))

    return play


def now() -> float:
    return asyncio.get_running_loop().time()
