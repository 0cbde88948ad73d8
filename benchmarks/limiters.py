"""What a vendor's limiter of one call a period may be, as seen from outside. Moments are seconds."""

from __future__ import annotations

import math
from collections.abc import Callable

Limiter = Callable[[float], bool]
"""Takes the moment of an arrival, in order, and returns whether the call is accepted."""

_NEVER = float("-inf")


def spacing(period: float) -> Limiter:
    """Refuse what arrives within a period of the last accepted call."""
    latest = _NEVER

    def accepts(at: float) -> bool:
        nonlocal latest
        if at - latest < period:
            return False
        latest = at
        return True

    return accepts


def sliding_window(period: float) -> Limiter:
    """Refuse what arrives within a period of the last call, accepted or not."""
    latest = _NEVER

    def accepts(at: float) -> bool:
        nonlocal latest
        before, latest = latest, at
        return at - before >= period

    return accepts


def fixed_window(period: float) -> Limiter:
    """Accept one call in each period of the vendor's clock."""
    window = -1

    def accepts(at: float) -> bool:
        nonlocal window
        before, window = window, math.floor(at / period)
        return window != before

    return accepts


def leaky_bucket(period: float, room: int = 2) -> Limiter:
    """Let one call leak out in each period, and refuse what finds no room for it."""
    level, latest = 0.0, 0.0

    def accepts(at: float) -> bool:
        nonlocal level, latest
        level, latest = max(0.0, level - (at - latest) / period), at
        if level > room - 1 + 1e-9:
            return False
        level += 1
        return True

    return accepts


LIMITERS: dict[str, Callable[[float], Limiter]] = {
    "spacing": spacing,
    "sliding window": sliding_window,
    "fixed window": fixed_window,
    "leaky bucket": leaky_bucket,
}
