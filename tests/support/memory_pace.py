"""A shared pace in memory, whose store may be slow or in trouble."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from ekb_async.pacing.rule import Bucket
from ekb_async.pacing.shared import PaceStore, Reading, Rule, SharedPace
from tests.support.pace_homes import now

T = TypeVar("T")


class Shelf(SharedPace):
    """Buckets in memory, in a store that may take some seconds to answer, or be in trouble."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket()
        self.delays: list[float] = []
        self.changes = 0
        self.trouble: Exception | None = None

    def _open(self) -> PaceStore:
        return self

    async def change(self, key: str, rule: Rule[T]) -> T:
        self.changes += 1
        reading = Reading(now=now(), requested_at=now())
        # What a rule makes of a bucket does not count where somebody else was quicker.
        rule(Bucket(latest=now(), issued=7, served=3), reading)
        result = rule(self.bucket, reading)
        await asyncio.sleep(self.delays.pop(0) if self.delays else 0.0)
        if self.trouble is not None:
            raise self.trouble
        return result

    async def close(self) -> None:
        """Nothing is open."""
