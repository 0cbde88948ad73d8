"""Which tenants' calls are not made at present, and why: what persons, runs and workers have paused or given up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from ekb_async.backlog.store.values.reports import Pause
from ekb_async.models.wire.coerce import CHINA


class AutoPause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pause that a run or worker makes by itself while a tenant's calls of a `kind` fail; `reason` is the error.

    `since` is when it began, `next_try` when a call is made again to find out whether the trouble has ended, at UTC+8.
    """

    tenant: str
    kind: str
    since: datetime
    next_try: datetime
    reason: str


class GivenUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tenant whose calls a run does not make any more, since when, at UTC+8, and why."""

    tenant: str
    since: datetime
    reason: str


_T = TypeVar("_T", AutoPause, GivenUp)


class TenantState(msgspec.Struct, frozen=True, kw_only=True):
    """Why calls of a tenant are not made at present.

    `pauses` are those that persons have made of it or of all tenants, and `held` counts the rows that are held.
    `auto_pauses` are those of runs and workers at work, `given_up` the runs at work that have given the tenant up.
    """

    tenant: str
    held: int = 0
    pauses: tuple[Pause, ...] = ()
    auto_pauses: tuple[AutoPause, ...] = ()
    given_up: tuple[GivenUp, ...] = ()


def moment_at(seconds: float) -> datetime:
    """Return a moment in epoch seconds, to the second."""
    return datetime.fromtimestamp(round(seconds), CHINA)


def states_of(
    held: Mapping[str, int], pauses: Iterable[Pause], auto_pauses: Iterable[AutoPause], given_up: Iterable[GivenUp]
) -> list[TenantState]:
    """Return the states of all tenants of which there is something to say, in the order of their names."""
    own, general = defaultdict(list), []
    for pause in pauses:
        if pause.tenant is None:
            general.append(pause)
        else:
            own[pause.tenant].append(pause)
    paused, left = _by_tenant(auto_pauses), _by_tenant(given_up)
    return [
        TenantState(
            tenant=tenant,
            held=held.get(tenant, 0),
            pauses=(*own.get(tenant, ()), *general),
            auto_pauses=tuple(paused.get(tenant, ())),
            given_up=tuple(left.get(tenant, ())),
        )
        for tenant in sorted({*held, *own, *paused, *left})
    ]


def _by_tenant(each_of: Iterable[_T]) -> Mapping[str, list[_T]]:
    found: defaultdict[str, list[_T]] = defaultdict(list)
    for each in each_of:
        found[each.tenant].append(each)
    return found


def distinct(pauses: Iterable[AutoPause]) -> Iterator[AutoPause]:
    """Yield one pause for each tenant and kind: the one that ends first, of all that runs and workers make."""
    first: dict[tuple[str, str], AutoPause] = {}
    for each in pauses:
        key = each.tenant, each.kind
        if key not in first or each.next_try < first[key].next_try:
            first[key] = each
    yield from first.values()
