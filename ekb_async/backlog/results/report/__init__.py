"""A report on a backlog: one HTML page that needs no network and that people in finance can read.

`aggregate` collects the figures task by task, `page` lays them out with the help of `html`, `charts` draws, and `i18n`
has all texts in both languages.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ekb_async.backlog.results.report.aggregate import Aggregate
from ekb_async.backlog.results.report.i18n import LANGUAGES, Texts
from ekb_async.backlog.results.report.page import Page
from ekb_async.backlog.results.tasks import Task
from ekb_async.errors import ConfigError
from ekb_async.models.wire.exact import exactly


class Report:
    """Builds the report of a backlog from its tasks, added in order and any number at a time.

    `lang` is `zh` or `en`; raises `ConfigError` for another language. Memory does not grow with the number of tasks.
    """

    def __init__(self, lang: str = "zh") -> None:
        if lang not in LANGUAGES:
            raise ConfigError(f"lang must be one of {', '.join(LANGUAGES)}, not {lang!r}")
        self._texts = Texts(lang)
        self._aggregate = Aggregate()

    @exactly
    def add(self, tasks: Iterable[Task]) -> None:
        """Add tasks to the figures."""
        for task in tasks:
            self._aggregate.add(task)

    @exactly
    def html(self, title: str, now: datetime) -> str:
        """Return the page about all tasks added so far; `title` names the backlog, `now` is shown as its time."""
        return Page(self._aggregate, self._texts).html(title, now)
