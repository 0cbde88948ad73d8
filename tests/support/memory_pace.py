"""A shared pacer in memory, whose store may be slow or fail."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from ekb_async.pacing.rule import Bucket
from ekb_async.pacing.shared import PaceStore, Reading, Rule, SharedPacer
from tests.support.pacers import now

T = TypeVar("T")


class MemoryPace(SharedPacer):
    """A pacer with one bucket in memory, whose store may take some seconds to answer, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket()
        self.delays: list[float] = []
        self.changes = 0
        self.error: Exception | None = None

    def _open(self) -> PaceStore:
        return self

    async def change(self, key: str, rule: Rule[T]) -> T:
        self.changes += 1
        reading = Reading(now=now(), requested_at=now())
        # Like a store in which another process was quicker: the first application of a rule has no effect.
        rule(Bucket(latest=now(), issued=7, served=3), reading)
        result = rule(self.bucket, reading)
        await asyncio.sleep(self.delays.pop(0) if self.delays else 0.0)
        if self.error is not None:
            raise self.error
        return result

    async def close(self) -> None:
        """Do nothing: nothing is open."""
