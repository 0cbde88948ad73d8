"""What a person has to notice while runs are at work: that the backlog is away, and which tenants are given up."""

from __future__ import annotations

import time
from collections.abc import Callable

from ekb_async.backlog import Progress
from ekb_async.cli.backlog.showing.states import given_up_text
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.progress import duration


class TroubleLines:
    """Writes a line with `say` when some trouble begins, and when it has ended."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._away_since: float | None = None
        self._given_up: set[tuple[str, str]] = set()

    def update(self, progress: Progress) -> None:
        """Write what is new."""
        self._update_storage(next((wait.text for wait in progress.waits if wait.reason == "storage"), ""))
        self._update_given_up(progress)

    def _update_storage(self, trouble: str) -> None:
        if trouble and self._away_since is None:
            self._away_since = time.monotonic()
            self._say(
                texts(
                    "The backlog cannot be read or written, and nothing is sent until it can be: {text}",
                    text=texts.rendered(trouble),
                )
            )
        elif not trouble and self._away_since is not None:
            seconds = time.monotonic() - self._away_since
            self._away_since = None
            self._say(texts("The backlog can be read and written again, after {time}", time=duration(seconds)))

    def _update_given_up(self, progress: Progress) -> None:
        now = {(each.tenant, each.reason) for each in progress.given_up if each.tenant}
        for tenant in sorted({tenant for tenant, _ in self._given_up} - {tenant for tenant, _ in now}):
            self._say(texts("Tenant {tenant} is served again", tenant=tenant))
        new = [each for each in progress.given_up if each.tenant and (each.tenant, each.reason) not in self._given_up]
        said = len(self._given_up)
        for each in new[: max(0, LIMITS.announced_tenants - said)]:
            self._say(given_up_text(each))
        if new and said < LIMITS.announced_tenants <= said + len(new) - 1:
            self._say(texts("More tenants are given up; see: ekb backlog status"))
        self._given_up = now
