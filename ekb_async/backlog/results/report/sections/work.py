"""The sections about the work itself: causes of failures, kinds of calls, speed, tenants, and how figures are made."""

from __future__ import annotations

from collections.abc import Iterable

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.report import charts
from ekb_async.backlog.results.report.charts import Bar, Caption
from ekb_async.backlog.results.report.collected.aggregate import Aggregate
from ekb_async.backlog.results.report.collected.groups import Work
from ekb_async.backlog.results.report.collected.throughput import Throughput
from ekb_async.backlog.results.report.formats import Formats, shown
from ekb_async.backlog.results.report.view import Cell, Chart, Column, Drawing, Items, Line, Paragraph, Section, Table


def failures_section(formats: Formats, aggregate: Aggregate) -> Section:
    """Return the section that sums up failed rows by cause."""
    texts, names = formats.texts, formats.names
    largest, rest = aggregate.failures.largest(LIMITS.reasons_listed)
    if not largest:
        return Section("failures", "", [])
    limit = LIMITS.reason_characters
    rows = []
    for cause, group in largest:
        text = shown(texts.rendered(cause.text), limit)
        advice = shown(names.advice(cause.error_type, cause.hint), limit)
        head = Cell(names.cause(cause.error_type), text)
        rows.append(Line(head, [[Cell(advice), Cell(formats.number(group.count))]]))
    if rest.count:
        rows.append(Line(Cell(texts("All others")), [[Cell(""), Cell(formats.number(rest.count))]]))
    columns = [Column(texts("Cause")), Column(texts("What to do")), Column(texts("Failed rows"), is_number=True)]
    title = texts("Failures by cause")
    note = texts("Once the cause is gone, failed rows are put back in the queue with:")
    table = Table(id="by-cause", caption=title, columns=columns, rows=rows, as_cards=True)
    return Section("failures", title, [Paragraph(note, is_quiet=True, code="ekb backlog retry DB"), table])


def throughput_section(formats: Formats, throughput: Throughput) -> Section:
    """Return the section about calls over time, if any has ended."""
    texts = formats.texts
    columns = list(throughput.columns())
    if not columns:
        return Section("throughput", "", [])
    one_day = columns[0].start.date() == columns[-1].start.date()
    bars = [
        Bar(formats.column(start, throughput.width, one_day=one_day), (done, failed), formats.number(done + failed))
        for start, done, failed in columns
    ]
    title = formats.calls_per(throughput.width)
    described = texts(
        "From {first} to {last}, {most:,} in the busiest; the table below has the figures.",
        first=bars[0].label,
        last=bars[-1].label,
        most=max(done + failed for _, done, failed in columns),
    )
    drawn = charts.columns(Caption("throughput-chart", title, described), bars, formats.brief)
    series = [formats.names.state("done"), formats.names.state("failed")]
    rows = [
        Line(Cell(formats.time(start)), [[Cell(formats.number(done)), Cell(formats.number(failed))]])
        for start, done, failed in columns
        if done or failed
    ]
    heads = [Column(texts("Time from")), *(Column(name, is_number=True) for name in series)]
    table = Table(id="throughput-table", caption=title, columns=heads, rows=rows, is_folded=True)
    chart = Chart(title=title, drawn=Drawing(drawn), series=series)
    return Section("throughput", texts("Throughput"), [chart, table])


def work_section(formats: Formats, aggregate: Aggregate) -> Section:
    """Return the section with one line per kind of call."""
    texts = formats.texts
    named = [(formats.names.call(kind), work) for kind, work in aggregate.work.items()]
    return Section(
        "work",
        texts("By kind of call"),
        [_table(formats, "by-call", texts("By kind of call"), texts("Kind of call"), named)],
    )


def tenants_section(formats: Formats, aggregate: Aggregate) -> Section:
    """Return the section with one line per tenant, if rows have tenants."""
    texts, tenants = formats.texts, aggregate.tenants
    if tenants.groups.keys() <= {""}:
        return Section("tenants", "", [])
    largest, rest = tenants.largest(LIMITS.tenants_listed)
    named = [(shown(tenant) or texts("None stated"), work) for tenant, work in largest]
    if rest.count:
        named.append((texts("All others"), rest))
    title = texts("By tenant")
    return Section("tenants", title, [_table(formats, "by-tenant", title, texts("Tenant"), named)])


def _table(formats: Formats, name: str, caption: str, first: str, works: Iterable[tuple[str, Work]]) -> Table:
    texts, names = formats.texts, formats.names
    columns = [
        Column(first),
        *(
            Column(heading, is_number=True)
            for heading in (
                texts("Row count"),
                names.state("done"),
                names.state("failed"),
                names.state("pending"),
                texts("Share a call"),
                texts("Calls sent"),
                texts("Maybe billed without a result"),
            )
        ),
    ]
    rows = []
    for label, work in works:
        states = work.states
        by_state = (work.count, states["done"], states["failed"], states["pending"] + states["running"])
        counts = (*by_state, work.shared, work.attempts, work.maybe_billed)
        rows.append(Line(Cell(label), [[Cell(formats.number(count)) for count in counts]]))
    return Table(id=name, caption=caption, columns=columns, rows=rows, as_cards=True, has_search=len(rows) > 10)


def notes_section(formats: Formats, aggregate: Aggregate) -> Section:
    """Return the section that says how the figures are made."""
    texts = formats.texts
    notes = [
        texts(
            "Amounts of different currencies are never added. They are summed as exact decimals and shown to the cent."
        ),
        texts(
            "Rows of the same file or invoice share one call: it is paid once and its invoices count once. The "
            "additional rows are under “Share a call”."
        ),
        texts(
            "An invoice counts once, however many files or calls returned it: with the row whose call was made, and"
            " with the first of several such rows."
        ),
        texts("An amount without a currency counts as yuan: recognition and the tax authority state none."),
        texts(
            "Long numbers in messages are shown as “…” so that equal reasons are counted together; the least frequent "
            "ones are under “All others”."
        ),
    ]
    if unreadable := aggregate.unreadable:
        notes.append(
            texts(
                "Answers that cannot be read, and are not among the invoices: {count:,}; an export has them as they "
                "came.",
                count=unreadable,
            )
        )
    return Section("notes", texts("How the figures are made"), [Items(notes)])
