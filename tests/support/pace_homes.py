"""Where the rule of the pace is tried out: in one process, on one machine, and on a PostgreSQL.

The first two run in virtual time, where all that happens is exact. The database has a clock of its own, so there a
second of a test is a fiftieth of one, and nothing is asserted that a slow machine would break.
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
from ekb_async.pacing.rule import Pace, Pacer, ProcessPace, Slot
from ekb_async.postgres import PostgresPace
from ekb_async.simulation import VirtualTimeLoop

_REAL_SECOND = 0.02
_CLOCK_STEP = 1e-6


class Inline(Executor):
    """In place of a thread, whose work would take no virtual time and so never end."""

    def __init__(self, **_: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it on, as a thread's would
            future.set_exception(error)
        return future


class _Punctual:
    """A pacer as lanes use it: who has claimed a slot waits until it opens."""

    def __init__(self, pacer: Pace) -> None:
        self._pacer = pacer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pacer, name)

    async def claim(self) -> Slot:
        slot = await self._pacer.claim()
        try:
            if (seconds_until := self._pacer.seconds_until(slot)) > 0:
                await asyncio.sleep(seconds_until)
        except asyncio.CancelledError:
            self._pacer.give_back(slot)
            raise
        return slot


class Scene:
    """Pacers on one bucket, and the seconds of the test."""

    def __init__(self, homes: Iterator[Pacer], *, virtual: bool) -> None:
        self._homes = homes
        self.virtual = virtual
        self._paces: list[Pace] = []
        self.second = 1.0 if virtual else _REAL_SECOND

    def pace(self, rate: float = 1.0, margin: float = 0.01, most_wait: float = 30.0) -> Pace:
        """A pacer from the next home, for a rate per second of the test."""
        second = self.second
        pacer = next(self._homes).pace("call", rate / second, margin * second, most_wait * second)
        self._paces.append(pacer)
        return cast(Pace, _Punctual(pacer))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.second)

    def passed(self, time: float, seconds: float, *, exact: float = 2e-3) -> bool:
        """Whether a time is as long as so many seconds of the test; or longer, where other things take time too."""
        if self.virtual:
            return abs(time - seconds) <= exact
        return time >= seconds * self.second - _CLOCK_STEP

    async def close(self) -> None:
        for pacer in self._paces:
            await pacer.close()


Main = Callable[[Scene], Awaitable[None]]
Play = Callable[[Main], None]


def play_in(place: str, request: pytest.FixtureRequest, *, homes_apart: bool) -> Play:
    """How to run a test in a place: `"process"`, `"machine"` or `"postgres"`. Homes apart are as in many processes."""
    virtual = place != "postgres"
    directory: Path = request.getfixturevalue("tmp_path")
    dsn: str = "" if virtual else request.getfixturevalue("database")
    request.getfixturevalue("monkeypatch").setattr(machine_pace, "ThreadPoolExecutor", Inline)

    def home() -> Pacer:
        if place == "process":
            return ProcessPace()
        return PostgresPace(dsn) if place == "postgres" else MachinePace(directory, clock=now)

    async def run(main: Main) -> None:
        homes = (home() for _ in itertools.count()) if homes_apart else itertools.repeat(home())
        scene = Scene(homes, virtual=virtual)
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
