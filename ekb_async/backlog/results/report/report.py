"""The report of a backlog: its rows go in, a page comes out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ekb_async.backlog.results.report.collected.aggregate import Aggregate
from ekb_async.backlog.results.report.formats import Formats
from ekb_async.backlog.results.report.rendering import Live, Renderer
from ekb_async.backlog.results.report.sections.attention import attention_section
from ekb_async.backlog.results.report.sections.calls import accounting_section, duplicates_section
from ekb_async.backlog.results.report.sections.head import head
from ekb_async.backlog.results.report.sections.money import kinds_section, months_section, refused_section
from ekb_async.backlog.results.report.sections.parties import people_section, sellers_section, tax_section
from ekb_async.backlog.results.report.sections.purged import purged_section
from ekb_async.backlog.results.report.sections.work import (
    failures_section,
    notes_section,
    tenants_section,
    throughput_section,
    work_section,
)
from ekb_async.backlog.results.report.view import Section
from ekb_async.backlog.store.transactions.accounting import Accounting
from ekb_async.backlog.store.transactions.purged import Purged
from ekb_async.backlog.store.values.calls import StoredRow
from ekb_async.models.wire.exact import exactly


class Report:
    """Builds the report of a backlog from its rows, added in order and any number at a time.

    `lang` is `zh` or `en`. Raises `ConfigError` for another language, and without the extra `report`. Memory does not
    grow with the number of rows.
    """

    def __init__(self, lang: str = "zh") -> None:
        self._formats = Formats(lang)
        self._renderer = Renderer(self._formats)
        self._aggregate = Aggregate()
        self._purged = Purged()

    @exactly
    def add(self, rows: Iterable[StoredRow]) -> None:
        """Add rows to the figures."""
        add = self._aggregate.add
        for row in rows:
            add(row)

    @property
    def missing(self) -> list[int]:
        """The numbers of rows that the page names and that are still to be added with `add_named`; at most some 200."""
        return self._aggregate.duplicates.missing

    def add_named(self, rows: Iterable[StoredRow]) -> None:
        """Add rows that the page names, after all rows were added."""
        for row in rows:
            self._aggregate.duplicates.add_first(row)

    def add_purged(self, purged: Purged) -> None:
        """Set what was purged, which the page sums up apart from all rows."""
        self._purged = purged

    @exactly
    def html(
        self,
        now: datetime,
        *,
        title: str | None = None,
        accounting: Accounting | None = None,
        live: Live | None = None,
    ) -> str:
        """Return the page about all rows added so far; `now` is shown as its time, `title` at its top.

        With the accounting of the backlog, the page shows it if there are billed calls. With `live`, the page asks for
        itself again from time to time.
        """
        beginning = head(self._formats, self._aggregate, accounting, title, now, purged=self._purged.rows)
        is_empty = not (self._aggregate.work or self._purged.calls)
        sections = [] if is_empty else self._sections(accounting)
        return self._renderer.page(beginning, [each for each in sections if each.parts], live)

    def _sections(self, accounting: Accounting | None) -> list[Section]:
        formats, aggregate = self._formats, self._aggregate
        verified, recognised = aggregate.verified, aggregate.recognised
        main, usable = (verified, True) if verified.total.count else (recognised, False)
        return [
            attention_section(formats, aggregate.attention),
            kinds_section(formats, "verified", verified),
            months_section(formats, verified),
            people_section(formats, aggregate),
            sellers_section(formats, main, usable=usable),
            tax_section(formats, main),
            duplicates_section(formats, aggregate.duplicates),
            accounting_section(formats, accounting),
            purged_section(formats, self._purged),
            kinds_section(formats, "recognised", recognised),
            refused_section(formats, verified),
            failures_section(formats, aggregate),
            work_section(formats, aggregate),
            throughput_section(formats, aggregate.throughput),
            tenants_section(formats, aggregate),
            notes_section(formats, aggregate),
        ]
