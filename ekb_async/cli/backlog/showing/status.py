"""The status of a backlog, as lines for a person and as one JSON object.

The lines mention tenants and active runs only if there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Self

import msgspec
from rich.cells import cell_len

from ekb_async.backlog import (
    Accounting,
    ActiveRun,
    Backlog,
    Budget,
    Cause,
    Pause,
    Purged,
    TenantCounts,
    TenantState,
    Waiting,
)
from ekb_async.backlog.results.names import Names
from ekb_async.cli.backlog.options import AsJson, Database, existing
from ekb_async.cli.backlog.showing.budgets import over_budget_lines
from ekb_async.cli.backlog.showing.causes import cause_text
from ekb_async.cli.backlog.showing.moments import until_text
from ekb_async.cli.backlog.showing.states import pause_lines, trouble_lines
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.cli.output import need_output, write_line
from ekb_async.cli.runner import ExitStatus
from ekb_async.i18n import message

_STATE_WIDTH = 8
_SAVED_CONTENT = message("saved: the same file or ID as another row")
_SAVED_INVOICE = message("saved: another file of the same invoice")
_SAVED_LEDGER = message("saved: answered by the ledger")
_WIDTH = 12


class BacklogStatus(msgspec.Struct, frozen=True, kw_only=True, rename={"unconfirmed": "doubtful"}):
    """The status of a backlog; its fields are those of the JSON object, with `unconfirmed` as `doubtful`."""

    counts: dict[str, int]
    maybe_billed: int
    unconfirmed: int
    """Failed rows whose outcome is unknown: a person has to decide whether to retry them."""
    waiting: Waiting
    """Pending rows that wait for another day."""
    over_budget: Waiting
    """Pending rows that wait because a budget of billed calls is spent."""
    budgets: list[Budget]
    oldest: datetime | None
    """When the oldest call was added that is pending and waits for no other day."""
    causes: list[Cause]
    accounting: Accounting
    """Billed calls made, and those saved; those of purged rows are included."""
    purged: Purged
    """What was purged with a summary."""
    tenants: list[TenantCounts]
    hosts: list[ActiveRun]
    in_flight: dict[str, int]
    """Billed calls that were sent and are not answered yet, by kind."""
    pauses: list[Pause]
    """What persons have paused."""
    tenant_states: list[TenantState]
    """The tenants whose calls are paused or not made any more."""

    @classmethod
    async def of(cls, backlog: Backlog) -> Self:
        tenants = await backlog.tenants()
        return cls(
            counts=await backlog.counts(),
            maybe_billed=await backlog.maybe_billed(),
            unconfirmed=sum(each.unconfirmed for each in tenants),
            waiting=await backlog.waiting(),
            over_budget=await backlog.over_budget(),
            budgets=await backlog.budgets(),
            oldest=min((each.oldest for each in tenants if each.oldest is not None), default=None),
            causes=await backlog.causes(LIMITS.shown_causes),
            accounting=await backlog.accounting(),
            purged=await backlog.purged(),
            tenants=tenants,
            hosts=await backlog.active_runs(),
            in_flight=await backlog.in_flight(),
            pauses=await backlog.pauses(),
            tenant_states=await backlog.tenant_states(),
        )

    def lines(self, place: object) -> Iterator[str]:
        """Yield the lines for a person; `place` stands for the backlog in suggested commands."""
        yield from (self._state_line(state, count) for state, count in self.counts.items())
        yield from waiting_lines(self.waiting)
        yield from held_lines(sum(each.held for each in self.tenants), place)
        yield from pause_lines(self.pauses)
        yield from trouble_lines(self.tenant_states)
        yield from over_budget_lines(self.over_budget, self.budgets)
        if self.oldest is not None:
            yield texts("Oldest pending call: added {moment} (UTC+8)", moment=f"{self.oldest:%Y-%m-%d %H:%M}")
        yield from cause_lines(self.causes, self.counts["failed"], place, with_hints=True)
        yield from accounting_lines(self.accounting)
        yield from purged_lines(self.purged)
        if self.maybe_billed:
            yield texts(
                "Lost answers of billed calls, which may have been paid for: {count:,}", count=self.maybe_billed
            )
        if self.unconfirmed:
            yield texts(
                "{count:,} row waits for a decision; retry with: ekb backlog retry {place} --unknown",
                "{count:,} rows wait for a decision; retry with: ekb backlog retry {place} --unknown",
                count=self.unconfirmed,
                place=place,
            )
        if any(each.tenant for each in self.tenants):
            yield from _table(self.tenants)
        for run in self.hosts:
            yield texts(
                "{count:>12,} call running on {host}, process {pid}",
                "{count:>12,} calls running on {host}, process {pid}",
                count=run.running,
                host=run.host,
                pid=run.pid,
            )

    def _state_line(self, state: str, count: int) -> str:
        if state == "running" and count:
            # These rows are claimed, and only some of their calls have been sent.
            return texts(
                "{state}{count:>12,} row claimed by a run; calls sent and not answered yet: {calls:,}",
                "{state}{count:>12,} rows claimed by runs; calls sent and not answered yet: {calls:,}",
                state=_aligned(state),
                count=count,
                calls=sum(self.in_flight.values()),
            )
        return texts("{state}{count:>12,} row", "{state}{count:>12,} rows", state=_aligned(state), count=count)


async def status(db: Database, as_json: AsJson = False) -> ExitStatus:
    """Show the number of rows by state, why rows failed and what to do, and the active runs."""
    need_output()
    place = Location(db)
    async with existing(place) as backlog:
        found = await BacklogStatus.of(backlog)
    if as_json:
        causes = [_in_language(cause) for cause in found.causes]
        write_line(msgspec.json.encode(msgspec.structs.replace(found, causes=causes)))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in found.lines(place)))
    return ExitStatus.OK


def _in_language(cause: Cause) -> Cause:
    """Return a cause with its sentences in the language of the command."""
    return msgspec.structs.replace(cause, error=texts.rendered(cause.error), hint=texts.rendered(cause.hint))


def state_name(state: str) -> str:
    """Return a state as it is given to `--state` in English, and in Chinese as in exports."""
    return {
        "pending": texts.word("state", "pending"),
        "running": texts.word("state", "running"),
        "done": texts.word("state", "done"),
        "failed": texts.word("state", "failed"),
    }[state]


def _aligned(state: str) -> str:
    """Return the name of a state, as wide as the widest of them."""
    name = state_name(state)
    return name + " " * (_STATE_WIDTH - cell_len(name))


def counts_text(counts: Mapping[str, int]) -> str:
    """Return the numbers of rows by state in one line, without zeros."""
    shown = [(state, count) for state, count in counts.items() if count or state == "done"]
    return texts(", ").join(texts("{count:,} {state}", count=count, state=state_name(state)) for state, count in shown)


def waiting_lines(waiting: Waiting) -> Iterator[str]:
    """Yield a line about the rows that wait for another day, if there are any."""
    if not (until := until_text(waiting)):
        return
    yield texts(
        "{count:>12,} row waiting until {moment} (UTC+8): the tax authority refuses it today",
        "{count:>12,} rows waiting until {moment} (UTC+8): the tax authority refuses them today",
        count=waiting.rows,
        moment=until,
    )


def held_lines(held: int, place: object) -> Iterator[str]:
    """Yield a line about the rows that a person holds, if there are any."""
    if held:
        yield texts(
            "{count:>12,} row held until it is resumed with: ekb backlog resume {place}",
            "{count:>12,} rows held until they are resumed with: ekb backlog resume {place}",
            count=held,
            place=place,
        )


def accounting_lines(accounting: Accounting) -> Iterator[str]:
    """Yield lines about billed calls made and saved, if there are any."""
    if accounting.calls:
        yield texts(
            "{count:>12,} billed call made: {kinds}",
            "{count:>12,} billed calls made: {kinds}",
            count=accounting.calls,
            kinds=kinds_text({kind: each.calls for kind, each in accounting.kinds.items()}),
        )
    for count, text in (
        (accounting.same_content, _SAVED_CONTENT),
        (accounting.same_invoice, _SAVED_INVOICE),
        (accounting.ledger, _SAVED_LEDGER),
    ):
        if count:
            yield f"{count:>12,} {texts.rendered(text)}"


def purged_lines(purged: Purged) -> Iterator[str]:
    """Yield lines about what was purged, if anything was."""
    if not purged.calls:
        return
    yield texts(
        "{count:>12,} row purged: {done:,} done, {failed:,} failed; billed calls made for it: {billed:,}",
        "{count:>12,} rows purged: {done:,} done, {failed:,} failed; billed calls made for them: {billed:,}",
        count=purged.rows,
        done=purged.done,
        failed=purged.failed,
        billed=purged.billed,
    )
    names = Names(texts.lang)
    for each in purged.invoices:
        yield texts(
            "{count:>12,} invoice in purged results of {kind}, {verdict}: {total:,.2f} {currency}",
            "{count:>12,} invoices in purged results of {kind}, {verdict}: {total:,.2f} {currency}",
            count=each.invoices,
            kind=names.call(each.kind),
            verdict=names.verdict(each.verdict),
            total=each.total,
            currency=each.currency or texts("currency not stated"),
        )


def kinds_text(calls: Mapping[str, int]) -> str:
    """Return the numbers of calls by kind, without zeros."""
    names = Names(texts.lang)
    return texts(", ").join(
        texts("{count:,} {kind}", count=count, kind=names.call(kind)) for kind, count in calls.items() if count
    )


def cause_lines(causes: Sequence[Cause], failed: int, place: object, *, with_hints: bool = False) -> Iterator[str]:
    """Yield why rows failed, and what to do; `failed` is the number of all failed rows."""
    for cause in causes:
        yield texts(
            "{count:>12,} row failed: {cause}", "{count:>12,} rows failed: {cause}",
            count=cause.rows, cause=cause_text(cause),
        )  # fmt: skip
        if with_hints:
            yield f"{'':<16}{Names(texts.lang).advice(cause.error_type, cause.hint)}"
    if rest := failed - sum(cause.rows for cause in causes):
        if with_hints:
            yield texts(
                "{count:>12,} row failed for another reason; an export names it",
                "{count:>12,} rows failed for other reasons; an export names each",
                count=rest,
            )
        else:
            yield texts(
                "{count:>12,} row failed for another reason, or before; see: ekb backlog status {place}",
                "{count:>12,} rows failed for other reasons, or before; see: ekb backlog status {place}",
                count=rest,
                place=place,
            )


def _table(tenants: Sequence[TenantCounts]) -> Iterator[str]:
    waits, holds = any(each.waiting for each in tenants), any(each.held for each in tenants)
    names = [state_name(state) for state in tenants[0].counts]
    names += [texts("unconfirmed"), *([texts("waiting")] if waits else []), *([texts("held")] if holds else [])]
    yield "".join(" " * (_WIDTH - cell_len(name)) + name for name in names) + f"  {texts('tenant')}"
    for each in tenants:
        numbers = [*each.counts.values(), each.unconfirmed]
        numbers += [*([each.waiting] if waits else []), *([each.held] if holds else [])]
        # The name comes last, since its width varies.
        yield "".join(f"{number:>{_WIDTH},}" for number in numbers) + f"  {each.tenant or texts('(none)')}"
