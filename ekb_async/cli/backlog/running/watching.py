"""`ekb backlog watch`: the progress of runs that other processes make, on this host or on others."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

import typer

from ekb_async.backlog import Backlog, Progress
from ekb_async.backlog.store.places import check_version
from ekb_async.cli.backlog.options import Database, check_exists
from ekb_async.cli.backlog.running.progress import RunProgress
from ekb_async.cli.backlog.showing.status import counts_text
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.cli.output import say
from ekb_async.cli.progress import Display, display
from ekb_async.cli.runner import ExitStatus
from ekb_async.storage.timing import StorageTiming

Once = Annotated[bool, typer.Option("--once", help="Look once, and end.")]


async def watch(db: Database, once: Once = False) -> ExitStatus:
    """Show the progress of runs that are at work on a backlog, until nothing is left to do. Nothing is changed.

    Ctrl-C ends only this command; the runs go on.
    """
    place = Location(db)
    await check_exists(place)
    # A run of an older version may be at work, and would miss what a newer one changes.
    await check_version(place.where, StorageTiming.from_env())
    async with Backlog.open(place.where) as backlog:
        last: Progress | None = None
        with display(texts("backlog"), stays=True) as screen:
            show, runs = RunProgress(screen, place, watches=True), _Runs(screen, place)
            async with aclosing(backlog.watch(interval=LIMITS.watch_seconds)) as views:
                async for last in views:
                    runs.show(last)
                    show(last)
                    if once:
                        break
    if last is not None and not once:
        say(texts("Nothing is left to do: {counts}", counts=counts_text(last.counts)))
        say(texts("Show everything on one page with: ekb backlog report {place}", place=place))
    return ExitStatus.OK


class _Runs:
    """Says which runs begin and end."""

    def __init__(self, screen: Display, place: Location) -> None:
        self._screen = screen
        self._place = place
        self._before: frozenset[tuple[str, int, float]] | None = None

    def show(self, progress: Progress) -> None:
        now = frozenset((run.host, run.pid, run.started_at) for run in progress.runs)
        before = self._before or frozenset()
        for host, pid, _ in sorted(now - before):
            self._screen.say(texts("A run is at work on {host}, process {pid}", host=host, pid=pid))
        for host, pid, _ in sorted(before - now):
            self._screen.say(texts("The run on {host}, process {pid}, is not at work any more", host=host, pid=pid))
        is_left = any(kind.left for kind in progress.kinds.values())
        if not now and is_left and now != self._before:
            self._screen.say(
                texts("No run is active. Make the pending calls with: ekb backlog run {place}", place=self._place)
            )
        self._before = now
