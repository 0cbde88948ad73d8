"""The pending calls of tenants: which of them wait, and the few tenants whose figures are shown apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from ekb_async.backlog.run.shown.said import Said
from ekb_async.backlog.store.reading.metrics import Block, Blocked, Pending, SeenRun


class TenantMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a tenant, "" for rows without one: its pending calls, those of them that are not made for now, and
    the ages in seconds of the oldest and of the oldest that is ready, 0 if there is none."""

    tenant: str
    pending: int = 0
    waiting: int = 0
    oldest_pending: float = 0.0
    oldest_ready: float = 0.0


class OtherTenants(msgspec.Struct, frozen=True, kw_only=True):
    """The same of several tenants together, and how many these are."""

    tenants: int
    pending: int = 0
    waiting: int = 0
    oldest_pending: float = 0.0
    oldest_ready: float = 0.0


class Halted(NamedTuple):
    """The calls that runs and workers do not make for now, as they say of themselves."""

    paused: list[Block]
    given_up: list[Block]

    @classmethod
    def by(cls, runs: Iterable[SeenRun]) -> Halted:
        said = [Said.decode(each.said) for each in runs]
        return cls(
            paused=[Block(pause.tenant, pause.kind) for each in said for pause in each.paused],
            given_up=[Block(left.tenant) for each in said for left in each.given_up],
        )

    @property
    def left_tenants(self) -> list[str]:
        """The tenants that were given up, in order."""
        return sorted(_named(self.given_up))


class Waits:
    """Tells which pending calls are not made for now, and why: what persons hold, and what runs do not make."""

    reasons = ("another_day", "held", "budget", "given_up", "paused")

    def __init__(self, held: Sequence[Block], over_budget: Sequence[Block], halted: Halted) -> None:
        self._held = held
        self._over_budget = over_budget
        self._blocked = {
            "held": Blocked(held),
            "budget": Blocked(over_budget),
            "given_up": Blocked(halted.given_up),
            "paused": Blocked(halted.paused),
        }
        self._halted = halted

    def of(self, calls: Pending) -> Counter[str]:
        """Return how many of the calls of a tenant and kind wait, by reason."""
        found = Counter({"another_day": calls.later, "held": calls.held})
        if reason := self._reason(calls):
            found[reason] += calls.calls - calls.later - calls.held
        return found

    def is_ready(self, calls: Pending) -> bool:
        """Return whether calls of a tenant and kind are made now, apart from single ones that wait."""
        return not self._reason(calls)

    def counted(self, pending: Iterable[Pending]) -> dict[str, int]:
        """Return how many calls wait, by reason, zeros included."""
        counts: Counter[str] = Counter()
        for each in pending:
            counts.update(self.of(each))
        return {reason: counts[reason] for reason in self.reasons}

    def tenants(self, pending: Sequence[Pending]) -> dict[str, int]:
        """Count tenants by condition; all conditions but `pending` count also without pending calls.

        A budget of all tenants together counts for none of them.
        """
        held = {each.tenant for each in pending if self.of(each)["held"]}
        return {
            "pending": len({each.tenant for each in pending}),
            "held": len(held | _named(self._held)),
            "over_budget": len(_named(self._over_budget)),
            "given_up": len(self._halted.left_tenants),
            "paused": len(_named(self._halted.paused)),
        }

    def _reason(self, calls: Pending) -> str:
        call = calls.tenant, calls.kind
        return next((reason for reason, blocked in self._blocked.items() if call in blocked), "")


def _named(blocks: Iterable[Block]) -> set[str]:
    return {each.tenant for each in blocks if each.tenant is not None}


def of_tenants(
    pending: Iterable[Pending], waits: Waits, moment: float, top: int
) -> tuple[tuple[TenantMetrics, ...], OtherTenants]:
    """Return the figures of `top` tenants, those with the most pending calls first, and of all others together.

    Every second one is a tenant whose calls have been ready for the longest time, which may be few.
    """
    by_tenant: dict[str, list[Pending]] = {}
    for each in pending:
        by_tenant.setdefault(each.tenant, []).append(each)
    found = [_tenant(tenant, calls, waits, moment) for tenant, calls in by_tenant.items()]
    found.sort(key=lambda each: (-each.pending, each.tenant))
    shown, rest = found[: (top + 1) // 2], found[(top + 1) // 2 :]
    rest.sort(key=lambda each: (-each.oldest_ready, -each.pending, each.tenant))
    shown, rest = [*shown, *rest[: top // 2]], rest[top // 2 :]
    return tuple(sorted(shown, key=lambda each: (-each.pending, each.tenant))), _others(rest)


def _tenant(tenant: str, calls: Sequence[Pending], waits: Waits, moment: float) -> TenantMetrics:
    return TenantMetrics(
        tenant=tenant,
        pending=sum(each.calls for each in calls),
        waiting=sum(sum(waits.of(each).values()) for each in calls),
        oldest_pending=_age(moment, (each.oldest for each in calls)),
        oldest_ready=_age(moment, (each.oldest_ready for each in calls if waits.is_ready(each))),
    )


def _others(tenants: Sequence[TenantMetrics]) -> OtherTenants:
    return OtherTenants(
        tenants=len(tenants),
        pending=sum(each.pending for each in tenants),
        waiting=sum(each.waiting for each in tenants),
        oldest_pending=max((each.oldest_pending for each in tenants), default=0.0),
        oldest_ready=max((each.oldest_ready for each in tenants), default=0.0),
    )


def _age(moment: float, times: Iterable[float | None]) -> float:
    """Return the age of the earliest of these times. A clock that was set back makes no age negative."""
    earliest = min((each for each in times if each is not None), default=moment)
    return max(0.0, moment - earliest)
