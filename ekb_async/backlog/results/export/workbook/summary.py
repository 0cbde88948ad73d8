"""The first sheet: what became of the invoices, by kind, month and person, and the calls paid and saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from xlsxwriter.format import Format

from ekb_async.backlog.results.export.about import About
from ekb_async.backlog.results.export.columns import Value
from ekb_async.backlog.results.export.workbook.look import Look, set_up_print, style
from ekb_async.backlog.results.export.workbook.sheet import Sheet, cell_writer, empty_cell
from ekb_async.backlog.results.export.workbook.totals import Groups, Sum, Sums, Totals
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.store.transactions.accounting import Accounting, KindAccounting
from ekb_async.backlog.store.transactions.purged import Purged
from ekb_async.backlog.store.values.calls import STATES
from ekb_async.models.wire.coerce import CHINA

_WIDTHS = (34, 11, 11, 17, 15, 12, 17, 12, 17, 14, 17, 10, 10)
_TITLE_POINTS = 26.0
_SECTION_POINTS = 22.0
_HEADING_POINTS = 28.0


class Summary:
    """Writes the sheet, at the end."""

    def __init__(self, sheet: Sheet, look: Look, names: Names) -> None:
        self._sheet, self._look, self._names = sheet, look, names
        self._texts = names.texts
        for index, width in enumerate(_WIDTHS):
            sheet.set_column(index, index, width, look.values[str])
        sheet.hide_gridlines(2)
        set_up_print(sheet)

    def write(self, totals: Totals, about: About) -> None:
        """Write all sums."""
        texts = self._texts
        self._line([texts("Results of the invoices")], self._look.title, height=_TITLE_POINTS)
        self._line([self._about(about)], self._look.note)
        for line in self._selected(about):
            self._line([line], self._look.note)
        self._line([texts("Amounts are summed within a currency; those without one are in CNY.")], self._look.note)
        self._line(
            [texts("An invoice that several rows have is counted once; its rows are on the sheet Duplicates.")],
            self._look.note,
        )
        self._write_rows(totals)
        self._write_verdicts(totals)
        self._write_groups(texts("By kind of invoice"), texts("Invoice kind"), totals.kinds)
        self._write_groups(texts("By month of the invoice date"), texts("Month"), totals.months, by_name=True)
        self._write_people(totals)
        if totals.tenants.sums:
            self._write_groups(texts("By tenant"), texts("Tenant"), totals.tenants)
        if about.accounting is not None:
            self._write_calls(about.accounting)
        if about.purged is not None and about.purged.calls:
            self._write_purged(about.purged)
        self._sheet.print_area(0, 0, max(self._sheet.row_count - 1, 1), len(_WIDTHS) - 1)
        self._sheet.end(len(_WIDTHS))

    def _about(self, about: About) -> str:
        texts, names = self._texts, self._names
        moment = "" if about.moment is None else f"{about.moment:%Y-%m-%d %H:%M}"
        state = names.state(about.state) if about.state else texts.word("rows", "all")
        kind = names.call(about.kind) if about.kind else texts.word("rows", "all")
        return texts(
            "Exported at {moment} (UTC+8). State: {state}. Task: {kind}.", moment=moment, state=state, kind=kind
        )

    def _selected(self, about: About) -> Iterator[str]:
        """Yield what else the rows were selected by."""
        texts = self._texts
        if about.tenant is not None:
            yield texts("Only rows of tenant: {tenant}.", tenant=about.tenant)
        if about.ref is not None:
            yield texts("Only rows with the reference: {ref}.", ref=about.ref)
        if about.since is not None:
            moment = about.since.astimezone(CHINA)
            yield texts("Only rows that ended since {moment} (UTC+8).", moment=f"{moment:%Y-%m-%d %H:%M}")

    def _write_rows(self, totals: Totals) -> None:
        texts = self._texts
        headings = [texts("All rows"), *map(self._names.state, STATES), texts("Repeated rows"), texts("No invoice")]
        counts = [totals.states.total(), *(totals.states[state] for state in STATES), totals.repeated, totals.empty]
        self._section(texts("Rows"), headings, 0)
        self._line(counts)

    def _write_verdicts(self, totals: Totals) -> None:
        texts = self._texts
        headings = [texts("Invoices"), texts("Currency"), texts("Number"), texts("Total"), texts("Tax")]
        self._section(texts("What is usable"), headings, 2)
        for currency, sums in sorted(totals.kinds.by_currency().items(), key=lambda item: -item[1].count):
            for name, each in (
                (texts("Usable"), sums.usable),
                (texts("Not usable"), sums.refused),
                (texts("Recognised, not verified"), sums.read),
            ):
                if each.count:
                    self._line([name, currency, each.count, each.total, each.tax])

    def _write_groups(self, title: str, heading: str, groups: Groups, *, by_name: bool = False) -> None:
        self._section(title, [heading, *self._group_headings()], 2)
        for (key, currency), sums in _ranked(groups, by_name=by_name):
            self._line([self._name(key), currency, *_values(sums)])
        self._write_total(groups)

    def _write_people(self, totals: Totals) -> None:
        states = dict(totals.open_rows.counts)
        open_states = [self._names.state(state) for state in ("failed", "pending")]
        self._section(self._texts("By person"), [self._texts("Staff ID"), *self._group_headings(), *open_states], 2)
        for (key, currency), sums in _ranked(totals.people):
            self._line([self._name(key), currency, *_values(sums), *_open_rows(states.pop(key, Counter()))])
        for key, counts in states.items():
            if any(open_rows := _open_rows(counts)):
                self._line([self._name(key), "", *_values(Sums()), *open_rows])
        self._write_total(totals.people)

    def _write_total(self, groups: Groups) -> None:
        for currency, sums in groups.by_currency().items():
            self._line([self._texts("Sum"), currency, *_values(sums)], is_total=True)

    def _write_calls(self, accounting: Accounting) -> None:
        texts = self._texts
        headings = (
            texts("Task"),
            texts("Calls made"),
            texts("Maybe billed in vain"),
            texts("Saved: same file"),
            texts("Saved: same invoice"),
            texts("Saved: ledger"),
            texts("Saved in all"),
        )
        self._section(texts("Billed calls of the whole backlog"), headings)
        for kind, each in accounting.kinds.items():
            self._line([self._names.call(kind), *_calls(each)])
        self._line([texts("Sum"), *_calls(accounting)], is_total=True)

    def _write_purged(self, purged: Purged) -> None:
        texts, names = self._texts, self._names
        headings = (
            texts("Rows"),
            names.state("done"),
            names.state("failed"),
            texts("Calls made"),
            texts("Maybe billed in vain"),
        )
        self._section(texts("Purged from the backlog, and not in the sums above"), headings, 0)
        self._line([purged.rows, purged.done, purged.failed, purged.billed, purged.maybe_billed])
        if not purged.invoices:
            return
        headings = texts("Task"), texts("Result"), texts("Currency"), texts("Number"), texts("Total")
        self._section(texts("Invoices of purged rows"), headings, 3)
        for each in purged.invoices:
            name = names.call(each.kind), names.verdict(each.verdict)
            self._line([*name, each.currency or texts("Not stated"), each.invoices, each.total])

    def _group_headings(self) -> Sequence[str]:
        texts = self._texts
        return (
            texts("Currency"),
            texts("Verified"),
            texts("Total"),
            texts("Tax"),
            texts("Usable"),
            texts("Usable: total"),
            texts("Not usable"),
            texts("Not usable: total"),
            texts("Recognised, not verified"),
            texts("Recognised: total"),
        )

    def _name(self, key: str | None) -> str:
        return self._texts("All others") if key is None else key or self._texts("Not stated")

    def _section(self, title: str, headings: Sequence[str], texts: int = 1) -> None:
        """Begin a section; its first columns, so many, have texts, the others numbers."""
        self._sheet.skip()
        self._line([title], self._look.section, height=_SECTION_POINTS)
        number = self._sheet.row_count + 1
        formats = [self._look.heading_of(str if index < texts else int) for index in range(len(headings))]
        cells = (
            cell_writer(index, style(form), str)(number, text)
            for index, (form, text) in enumerate(zip(formats, headings, strict=True))
        )
        self._sheet.append(cells, height=_HEADING_POINTS)

    def _line(
        self,
        values: Sequence[Value],
        form: Format | None = None,
        *,
        is_total: bool = False,
        height: float | None = None,
    ) -> None:
        number, cells = self._sheet.row_count + 1, []
        for index, value in enumerate(values):
            used = style(form or self._format(value, is_total=is_total))
            is_empty = value is None or value == ""
            cell = empty_cell(index, number, used) if is_empty else cell_writer(index, used, type(value))(number, value)
            cells.append(cell)
        self._sheet.append(cells, height=height)

    def _format(self, value: Value, *, is_total: bool) -> Format:
        if is_total:
            return self._look.total if isinstance(value, Decimal) else self._look.total_count
        if isinstance(value, Decimal):
            return self._look.values[Decimal]
        return self._look.count if isinstance(value, int) else self._look.values[str]


def _ranked(groups: Groups, *, by_name: bool = False) -> list[tuple[tuple[str | None, str], Sums]]:
    """Return the groups by name, or those with the most invoices first; several currencies of one are together."""
    if by_name:
        return sorted(groups.sums.items(), key=lambda item: (item[0][0] is None, item[0]))
    counts: Counter[str | None] = Counter()
    for (key, _), sums in groups.sums.items():
        counts[key] += sums.count
    return sorted(
        groups.sums.items(), key=lambda item: (item[0][0] is None, -counts[item[0][0]], item[0][0] or "", item[0][1])
    )


def _values(sums: Sums) -> list[Value]:
    """Return the values of a group; nothing where there are no invoices."""
    usable, refused, read = sums.usable, sums.refused, sums.read
    verified = Sum(usable.count + refused.count, usable.total + refused.total, usable.tax + refused.tax)
    columns = ((verified, True), (usable, False), (refused, False), (read, False))
    values: list[Value] = []
    for each, with_tax in columns:
        shown = (each.count, each.total, each.tax) if with_tax else (each.count, each.total)
        values += shown if each.count else [None] * len(shown)
    return values


def _open_rows(counts: Counter[str]) -> list[Value]:
    return [counts[state] or None for state in ("failed", "pending")]


def _calls(each: Accounting | KindAccounting) -> list[Value]:
    saved = each.same_content, each.same_invoice, each.ledger
    return [each.calls, each.maybe_billed, *saved, sum(saved)]
