"""Counting the requests of each interface, and waiting for them in any event loop of any thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter


class Arrivals:
    """The number of requests of each interface; counted in the sandbox's thread, read and awaited in any."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._waiting: list[tuple[str, int, asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    def __getitem__(self, call: str) -> int:
        return self._counts[call]

    def note(self, call: str) -> None:
        """Count a request and wake the callers that wait for it."""
        with self._lock:
            self._counts[call] += 1
            count = self._counts[call]
            reached = [each for each in self._waiting if each[0] == call and each[1] <= count]
            for each in reached:
                self._waiting.remove(each)
        for _, _, loop, event in reached:
            if loop is asyncio.get_running_loop():
                event.set()
            else:
                # The loop may have been closed in the meantime.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(event.set)

    async def wait(self, call: str, times: int) -> None:
        """Wait until `times` requests of an interface have arrived."""
        event = asyncio.Event()
        entry = (call, times, asyncio.get_running_loop(), event)
        with self._lock:
            if self._counts[call] >= times:
                return
            self._waiting.append(entry)
        try:
            await event.wait()
        finally:
            with self._lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)
