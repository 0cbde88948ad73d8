"""The time of a sandbox and of the backlogs that use it, which a test sets to any day."""

from __future__ import annotations

import asyncio
from datetime import datetime

from ekb_async.models.wire.coerce import CHINA
from ekb_async.sandbox import Sandbox

_TEN_YEARS = 10 * 366 * 86_400


class Calendar:
    """The clock of a sandbox; pass it to `Backlog.open` as `clock`. Times are texts such as `2030-03-10 15:00`, UTC+8.

    They are later than the real time, so that tokens of the sandbox seem valid to the session; tokens stay valid
    whatever the time.
    """

    def __init__(self, box: Sandbox, time: str) -> None:
        self._box = box
        self._loop = asyncio.get_running_loop()
        self.set(time)
        box.vendor.rules.token_lifetime = _TEN_YEARS
        for licence in ("110407", "219902"):
            box.vendor.set_licence(licence, expires_at=self() + _TEN_YEARS)

    def __call__(self) -> float:
        return self._box._epoch + self._loop.time()

    def set(self, time: str) -> None:
        moment = datetime.fromisoformat(time).replace(tzinfo=CHINA)
        self._box._epoch = moment.timestamp() - self._loop.time()
        for pair in self._box.vendor.tokens._pairs.values():
            pair.issued_at = 0.0


def at(moment: datetime | None) -> str:
    """Return a moment as a text, to the minute."""
    return "" if moment is None else f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M}"
