"""A sandbox's log that tests can wait on."""

from __future__ import annotations

import asyncio

from ekb_async.sandbox import LogEntry


class WatchedLog(list[LogEntry]):
    """A sandbox's log that sets events when requests arrive."""

    def __init__(self) -> None:
        super().__init__()
        self._watched: list[tuple[str, bool, int, asyncio.Event]] = []

    def append(self, entry: LogEntry) -> None:
        super().append(entry)
        for watched in self._watched:
            self._check(*watched)

    def arrival(self, call: str, number: int) -> asyncio.Event:
        """Return an event that is set when `number` requests of a call have been accepted."""
        return self._watch(call, number, accepted=True)

    def refusals(self, call: str, number: int) -> asyncio.Event:
        """Return an event that is set when `number` requests of a call have been refused."""
        return self._watch(call, number, accepted=False)

    def _watch(self, call: str, number: int, *, accepted: bool) -> asyncio.Event:
        watched = (call, accepted, number, asyncio.Event())
        self._watched.append(watched)
        self._check(*watched)
        return watched[-1]

    def _check(self, call: str, accepted: bool, number: int, arrived: asyncio.Event) -> None:
        if sum(each.call == call and each.accepted == accepted for each in self) >= number:
            arrived.set()
