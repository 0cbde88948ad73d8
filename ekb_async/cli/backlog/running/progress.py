"""The progress of a run of a backlog: the rate of each kind of call beside its limit, the time left, what waits.

Kinds run side by side, each at its own rate, so the time left is that of the slowest. Computed from the rate of all
calls together, a million look-ups, which take minutes, would seem to take a week.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from ekb_async.backlog import KindProgress, Progress
from ekb_async.backlog.results.names import Names
from ekb_async.cli.backlog.showing.causes import CauseLines
from ekb_async.cli.backlog.showing.states import auto_pause_text, some_lines
from ekb_async.cli.backlog.showing.trouble import TroubleLines
from ekb_async.cli.backlog.showing.waits import wait_text
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.progress import Display, Meter, Outlook, rate_text


class RunProgress:
    """Shows the progress of a run on a display; `place` stands for the backlog in suggested commands.

    With `watches`, it is that of the runs of other processes, which may begin and end meanwhile.
    """

    def __init__(self, screen: Display, place: object, *, watches: bool = False) -> None:
        self._screen = screen
        self._watches = watches
        self._names = Names(texts.lang)
        self._meters: defaultdict[str, Meter] = defaultdict(Meter)
        self._slow_meters: defaultdict[str, Meter] = defaultdict(partial(Meter, LIMITS.left_window_seconds))
        self._causes = CauseLines(screen.say, place)
        self._trouble = TroubleLines(screen.say)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._watches and not progress.runs:
            # The time without a run says nothing of the rate.
            self._meters.clear()
            self._slow_meters.clear()
        for name, kind in progress.kinds.items():
            self._meters[name].mark(now, kind.ended)
            self._slow_meters[name].mark(now, kind.ended)
        self._causes.update(progress.causes)
        self._trouble.update(progress)
        waits = {wait.reason: wait for wait in progress.waits}
        kinds = {name: kind for name, kind in progress.kinds.items() if kind.left}
        if "directory" in waits:
            kinds.pop("download", None)
        times = [self._left(name, kind) for name, kind in kinds.items()]
        self._screen.update(
            done=progress.done,
            failed=progress.counts["failed"],
            total=progress.total,
            outlook=Outlook("", max((seconds for seconds in times if seconds is not None), default=None)),
            details=[
                *(tuple(self._about(name, kind)) for name, kind in kinds.items()),
                *((wait_text(wait),) for wait in progress.waits),
                *((line,) for line in self._tenant_lines(progress)),
            ],
        )

    def _tenant_lines(self, progress: Progress) -> Iterator[str]:
        """Yield lines about tenants whose calls are not made; without tenants, `waits` says the same."""
        paused = [pause for pause in progress.auto_pauses if pause.tenant]
        yield from some_lines([*map(auto_pause_text, paused[: LIMITS.shown_tenants])], len(paused))
        if given_up := len(progress.given_up):
            yield texts("{count:,} tenant given up", "{count:,} tenants given up", count=given_up)

    def _about(self, name: str, kind: KindProgress) -> Iterator[str]:
        """Yield what is shown of a kind of call."""
        call, rate = self._names.call(name), rate_text(self._meters[name].rate)
        allowed = None if kind.allowed is None else texts("{rate}/s", rate=f"{kind.allowed:,.10g}")
        if rate and allowed is not None:
            yield texts("{kind} {rate} of {allowed}", kind=call, rate=rate, allowed=allowed)
        elif allowed is not None:
            yield texts("{kind}, at most {allowed}", kind=call, allowed=allowed)
        else:
            yield f"{call} {rate}".rstrip()
        if kind.in_flight:
            yield texts("{count:,} call running", "{count:,} calls running", count=kind.in_flight)
        yield texts("{count:,} call left", "{count:,} calls left", count=kind.left)

    def _left(self, name: str, kind: KindProgress) -> float | None:
        rate = self._slow_meters[name].rate or kind.allowed
        return kind.left / rate if rate else None
