"""The attempts of a billed call as they are counted for budgets, and what a call meets whose budget is spent.

Every attempt is counted when it is marked. One that was not billed (refused for its rate or its token, or never sent)
leaves a spare, which the next attempt uses on the same day; the rest is given back when the call is recorded.
"""

from __future__ import annotations

import dataclasses

from ekb_async.errors import EkbError

_TEXT = "the budget of billed calls is spent"


class BudgetSpentError(EkbError):
    """Raised when a call must not be sent before `until` (epoch seconds, `wait` seconds from now), since a budget of
    billed calls is spent. It never leaves this package."""

    def __init__(self, text: str = _TEXT, *, until: float = 0.0, wait: float = 0.0) -> None:
        super().__init__(text)
        self.until = until
        self.wait = wait


@dataclasses.dataclass
class Counted:
    """The counted attempts of one call; `checks` is how many of its attempts were billed or may have been."""

    day: int = 0
    """The day on which the latest attempt was counted, 0 before the first."""
    checks_before: int = 0
    """How many attempts were billed before that."""
    spares: tuple[int, ...] = ()
    """The days of earlier ones that were not billed and that no later attempt could use."""

    def spare_on(self, checks: int) -> int:
        """Return the day on which the latest attempt was counted if it was not billed, 0 if it was."""
        return self.day if checks == self.checks_before else 0

    def note(self, day: int, checks: int) -> None:
        """Note that the next attempt is counted on this day."""
        if (spare := self.spare_on(checks)) and spare != day:
            self.spares += (spare,)
        self.day, self.checks_before = day, checks

    def unspent(self, checks: int) -> tuple[int, ...]:
        """Return the days of attempts that were not billed, once the call has ended."""
        spare = self.spare_on(checks)
        return (*self.spares, spare) if spare else self.spares
