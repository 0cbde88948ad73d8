"""The status of a backlog, as lines for a person and as one JSON object.

The lines mention tenants and active runs only if there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Self

import msgspec

from ekb_async.backlog import Accounting, ActiveRun, Backlog, Cause, TenantCounts, Waiting
from ekb_async.cli.backlog.options import AsJson, Database, existing
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.cli.output import counted, need_output, write_line
from ekb_async.cli.runner import ExitStatus

_NO_TENANT = "(none)"
_WIDTH = 12


class BacklogStatus(msgspec.Struct, frozen=True, kw_only=True, rename={"unconfirmed": "doubtful"}):
    """The status of a backlog; its fields are those of the JSON object, with `unconfirmed` as `doubtful`."""

    counts: dict[str, int]
    maybe_billed: int
    unconfirmed: int
    """Failed rows whose outcome is unknown: a person has to decide whether to retry them."""
    waiting: Waiting
    """Pending rows that wait for another day."""
    causes: list[Cause]
    accounting: Accounting
    """Billed calls made, and those saved."""
    tenants: list[TenantCounts]
    hosts: list[ActiveRun]

    @classmethod
    async def of(cls, backlog: Backlog) -> Self:
        tenants = await backlog.tenants()
        return cls(
            counts=await backlog.counts(),
            maybe_billed=await backlog.maybe_billed(),
            unconfirmed=sum(each.unconfirmed for each in tenants),
            waiting=await backlog.waiting(),
            causes=await backlog.causes(LIMITS.shown_causes),
            accounting=await backlog.accounting(),
            tenants=tenants,
            hosts=await backlog.active_runs(),
        )

    def lines(self, place: object) -> Iterator[str]:
        """Yield the lines for a person; `place` stands for the backlog in suggested commands."""
        yield from (f"{state:<8}{count:>12,}" for state, count in self.counts.items())
        yield from waiting_lines(self.waiting)
        yield from lines_of(self.causes, self.counts["failed"])
        yield from accounting_lines(self.accounting)
        if self.maybe_billed:
            yield f"Lost answers of billed calls, which may have been paid for: {self.maybe_billed:,}"
        if self.unconfirmed:
            waiting = counted(self.unconfirmed, "row waits")
            yield f"{waiting} for a decision; retry with: ekb backlog retry {place} --unknown"
        if any(each.tenant for each in self.tenants):
            yield from _table(self.tenants)
        yield from (f"{run.running:>{_WIDTH},} running on {run.host}, process {run.pid}" for run in self.hosts)


async def status(db: Database, as_json: AsJson = False) -> ExitStatus:
    """Show the number of rows by state, why rows failed and what to do, and the active runs."""
    need_output()
    place = Location(db)
    async with existing(place) as backlog:
        found = await BacklogStatus.of(backlog)
    if as_json:
        write_line(msgspec.json.encode(found))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in found.lines(place)))
    return ExitStatus.OK


def waiting_lines(waiting: Waiting) -> Iterator[str]:
    """Yield a line about the rows that wait for another day, if there are any."""
    if waiting.first is None or waiting.last is None:
        return
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (waiting.first, waiting.last))
    until = first if first == last else f"{first} to {last}"
    yield f"{waiting.rows:>12,} waiting until {until} (UTC+8): the tax authority refuses them today"


def accounting_lines(accounting: Accounting) -> Iterator[str]:
    """Yield lines about billed calls made and saved, if there are any."""
    if accounting.calls:
        kinds = ", ".join(f"{each.calls:,} {kind}" for kind, each in accounting.kinds.items() if each.calls)
        yield f"{accounting.calls:>12,} billed {'call' if accounting.calls == 1 else 'calls'} made: {kinds}"
    for count, why in (
        (accounting.same_content, "the same file or ID as another row"),
        (accounting.same_invoice, "another file of the same invoice"),
        (accounting.ledger, "answered by the ledger"),
    ):
        if count:
            yield f"{count:>12,} saved: {why}"


async def causes_of(backlog: Backlog, failed: int) -> list[str]:
    """Return lines that say why rows failed; `failed` is the number of all failed rows."""
    return lines_of(await backlog.causes(LIMITS.shown_causes), failed)


def lines_of(causes: list[Cause], failed: int) -> list[str]:
    """Return lines that say what failed, how often, and what to do; `failed` is the number of all failed rows."""
    lines = []
    for cause in causes:
        lines.append(f"{cause.rows:>12,} failed  {cause.error_type}: {cause.error}")
        if cause.hint:
            lines.append(f"{'':<20}{cause.hint}")
    if rest := failed - sum(cause.rows for cause in causes):
        lines.append(f"{rest:>12,} failed  for other reasons; an export names each")
    return lines


def _table(tenants: Sequence[TenantCounts]) -> Iterator[str]:
    waits = any(each.waiting for each in tenants)
    names = (*tenants[0].counts, "unconfirmed", *(["waiting"] if waits else []))
    yield "".join(f"{name:>{_WIDTH}}" for name in names) + "  tenant"
    for each in tenants:
        numbers = (*each.counts.values(), each.unconfirmed, *([each.waiting] if waits else []))
        # The name comes last, since its width varies.
        yield "".join(f"{number:>{_WIDTH},}" for number in numbers) + f"  {each.tenant or _NO_TENANT}"
