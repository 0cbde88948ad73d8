"""How large a margin between two starts has to be, learned from what the vendor accepts and refuses.

What limiters look like from outside, if a call takes a varying time to reach them:

- *Spacing* refuses a call that arrives within a period of the last accepted one. If the gaps between two arrivals
  deviate by s, a margin of m leads to the share of refusals that a normal distribution has beyond m / s: 0.5 % at
  m = 2.58 s. This is the strictest one, and the margin is chosen for it.
- A *sliding window* of one call is the same; some count refused calls as well.
- A *fixed window* accepts one call in each period of its own clock. Starts that are a period and a margin apart get two
  calls into one window only while their phase passes its edge, so fewer are refused with the same margin.
- A *leaky bucket* with room for more than one call hardly ever refuses starts that are a period apart.

A refusal costs the way to the vendor and back, and with the last two limiters, or if refused calls count, up to a
period. So a small share of refusals is cheaper than a margin that excludes them: from 0.5 % on, further refusals cost
more than a smaller margin gains.

The margin follows that share by stochastic approximation: each accepted call lowers its logarithm by a small step, each
refusal raises it by a larger one, and the steps are in balance at that share, whatever the distribution. Refusals that
come close together take larger steps, up to a doubling. This needs hundreds of calls to narrow, since refusals that do
not occur are rare anyway.

A call that is refused although none was accepted since the refusal before, or with a margin as long as the period, is
no case of jitter: some other program uses the same account. That adds to the margin what is taken back soon, a tenth
with each accepted call.

The times that answers take show more, if they vary little: a call's way to the vendor varies by no more than its whole
time. So 2.6 times the deviation of successive answers is an upper bound of the margin, which follows a line that has
become calm within a minute. Where calls take seconds and vary by seconds, it has no effect. If calls are refused at
this bound (those of another host may vary more), it grows as the margin does.
"""

from __future__ import annotations

import math

from ekb_async.pacing.limits import LIMITS

_NARROWING = math.exp(-LIMITS.gain * LIMITS.aimed_refusals)


def widening(accepted: int) -> float:
    """Return the factor by which a refusal raises the margin, after so many accepted calls since the one before."""
    gain = min(LIMITS.largest_gain, max(LIMITS.gain, LIMITS.gain * LIMITS.close_refusals / max(1, accepted)))
    return math.exp(gain * (1 - LIMITS.aimed_refusals))


def narrowing(calls: int) -> float:
    """Return the factor by which so many accepted calls lower the margin."""
    return _NARROWING if calls == 1 else math.exp(-LIMITS.gain * LIMITS.aimed_refusals * calls)


class AnswerTimes:
    """The spread of the times that answers take, and the bound of the margin that follows from it."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._variance = 0.0
        self._count = 0
        self._factor = LIMITS.margin_per_deviation
        self._accepted = 0

    @property
    def deviation(self) -> float:
        """The deviation of the difference between one answer and the next, in seconds; 0 before the first two."""
        return math.sqrt(self._variance)

    @property
    def most_margin(self) -> float:
        """The largest margin that is needed, in seconds; infinite as long as that is not known."""
        if self._count < LIMITS.answers_needed:
            return math.inf
        return self._factor * max(self.deviation, LIMITS.least_deviation_seconds)

    def add(self, seconds: float) -> None:
        """Add the time that an accepted call took."""
        self._accepted += 1
        if self._factor > LIMITS.margin_per_deviation:
            self._factor = max(LIMITS.margin_per_deviation, self._factor * narrowing(1))
        if self._last is not None:
            self._count += 1
            weight = max(1 / self._count, 1 / LIMITS.answers_remembered)
            self._variance += weight * ((seconds - self._last) ** 2 - self._variance)
        self._last = seconds

    def widen(self) -> None:
        """Raise the bound, since a call was refused that kept to it."""
        self._factor *= widening(self._accepted)
        self._accepted = 0
