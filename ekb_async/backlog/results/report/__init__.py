"""A report on a backlog: one HTML page that needs no network and that people in finance can read.

`findings` gathers the figures while the tasks pass by, `page` writes them down, `words` has every text in both
languages, `charts` draws.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ekb_async.backlog.results.report.aggregate import Findings
from ekb_async.backlog.results.report.i18n import LANGUAGES, Words
from ekb_async.backlog.results.report.page import Page
from ekb_async.backlog.results.tasks import Task
from ekb_async.errors import ConfigError
from ekb_async.models.wire.exact import exactly


class Report:
    """Takes all tasks of a backlog in their order, any number at a time, and then tells about them.

    `lang` is `zh` or `en`; raises `ConfigError` for another one. Its memory does not grow with the number of tasks.
    """

    def __init__(self, lang: str = "zh") -> None:
        if lang not in LANGUAGES:
            raise ConfigError(f"lang must be one of {', '.join(LANGUAGES)}, not {lang!r}")
        self._words = Words(lang)
        self._findings = Findings()

    @exactly
    def add(self, tasks: Iterable[Task]) -> None:
        """Counts tasks in."""
        for task in tasks:
            self._findings.add(task)

    @exactly
    def html(self, title: str, now: datetime) -> str:
        """The page about what was added so far; `title` names the backlog, `now` is when the page is made."""
        return Page(self._findings, self._words).html(title, now)
