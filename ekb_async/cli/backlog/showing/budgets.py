"""`ekb backlog budget`: limits on billed calls, what is spent of them, and when they begin anew."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Annotated

import msgspec
import typer

from ekb_async.backlog import Budget, Waiting
from ekb_async.cli.backlog.options import AsJson, Database, existing
from ekb_async.cli.backlog.showing.moments import until_text
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location
from ekb_async.cli.output import need_output, utf8_argument, write_line
from ekb_async.cli.runner import ExitStatus

TenantOption = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="The budget of this tenant, not of all together.")
]
PerDay = Annotated[int | None, typer.Option("--per-day", metavar="N", min=0, help="Billed calls in a day, at UTC+8.")]
PerMonth = Annotated[
    int | None, typer.Option("--per-month", metavar="N", min=0, help="Billed calls in a month, at UTC+8.")
]
Remove = Annotated[bool, typer.Option("--remove", help="Remove the limits, except those that are given.")]


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """The budgets of a backlog, and the billed calls of each of the last 31 days; the fields are those of the JSON."""

    budgets: list[Budget]
    spent: dict[date, int]


async def budget(
    db: Database,
    tenant: TenantOption = None,
    per_day: PerDay = None,
    per_month: PerMonth = None,
    remove: Remove = False,
    as_json: AsJson = False,
) -> ExitStatus:
    """Limit the billed calls of a day or a month, or show the limits and what is spent of them.

    When a limit is reached, billed calls wait until the next day or month begins at UTC+8.
    Runs and workers that are at work follow a change within seconds.
    """
    need_output()
    place = Location(db)
    name = None if tenant is None else utf8_argument(tenant)
    async with existing(place) as backlog:
        if remove or per_day is not None or per_month is not None:
            await backlog.set_budget(name, per_day=per_day, per_month=per_month, remove=remove)
        budgets = [each for each in await backlog.budgets() if name is None or each.tenant in {None, name}]
        found = Budgets(budgets=budgets, spent=await backlog.spent(tenant=name))
    if as_json:
        write_line(msgspec.json.encode(found))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(found, place)))
    return ExitStatus.OK


def _lines(found: Budgets, place: Location) -> Iterator[str]:
    if found.budgets:
        yield from map(_budget_text, found.budgets)
    else:
        yield texts(
            "Nothing limits the billed calls. Limit them with: ekb backlog budget {place} --per-day N", place=place
        )
    yield texts(
        "{count:,} billed call was sent in the last 31 days",
        "{count:,} billed calls were sent in the last 31 days",
        count=sum(found.spent.values()),
    )


def _budget_text(each: Budget) -> str:
    """Return what is spent of a budget, and when it begins anew."""
    values = {
        "name": texts("all tenants together") if each.tenant is None else each.tenant or texts("(none)"),
        "spent": each.spent,
        "calls": each.calls,
        "moment": f"{each.begins_anew:%Y-%m-%d %H:%M}",
    }
    if each.period == "day":
        return texts("{spent:,} of {calls:,} billed calls today, until {moment} (UTC+8): {name}", **values)
    return texts("{spent:,} of {calls:,} billed calls this month, until {moment} (UTC+8): {name}", **values)


def over_budget_lines(waiting: Waiting, budgets: Iterable[Budget] = ()) -> Iterator[str]:
    """Yield lines about the rows that wait for a budget, if there are any, and about budgets that are spent."""
    if not (until := until_text(waiting)):
        return
    yield texts(
        "{count:>12,} row waiting until {moment} (UTC+8): a budget of billed calls is spent",
        "{count:>12,} rows waiting until {moment} (UTC+8): a budget of billed calls is spent",
        count=waiting.rows,
        moment=until,
    )
    spent = [each for each in budgets if each.is_spent]
    for each in spent[: LIMITS.shown_budgets]:
        yield f"{'':<16}{_budget_text(each)}"
