"""Why calls of tenants are not made, in words: what persons, runs and workers have paused or given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from ekb_async.backlog import AutoPause, GivenUp, Pause, TenantState
from ekb_async.backlog.results.names import Names
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS


def pause_lines(pauses: Sequence[Pause]) -> Iterator[str]:
    """Yield lines about the pauses that persons have made, the first of them."""
    yield from map(pause_text, pauses[: LIMITS.shown_tenants])
    if (more := len(pauses) - LIMITS.shown_tenants) > 0:
        yield texts(
            "and {count:,} more pause; see: ekb backlog status --json",
            "and {count:,} more pauses; see: ekb backlog status --json",
            count=more,
        )


def pause_text(pause: Pause) -> str:
    """Return what a person has paused, since when and why."""
    what = texts(", ").join(_what(pause)) or texts("all calls")
    since = _moment(pause.since)
    if pause.reason:
        return texts("Paused since {since} (UTC+8): {what}: {reason}", since=since, what=what, reason=pause.reason)
    return texts("Paused since {since} (UTC+8): {what}", since=since, what=what)


def _what(pause: Pause) -> Iterator[str]:
    if pause.tenant is not None:
        yield texts("tenant {tenant}", tenant=pause.tenant or texts("(none)"))
    if pause.kind is not None:
        yield texts("{name} (kind {kind})", name=Names(texts.lang).call(pause.kind), kind=pause.kind)
    if pause.ref is not None:
        yield texts("reference {ref}", ref=pause.ref)


def trouble_lines(states: Sequence[TenantState]) -> Iterator[str]:
    """Yield lines about the tenants that runs and workers have paused or given up, the first of them."""
    paused = [pause for state in states for pause in state.auto_pauses]
    given_up = [each for state in states for each in state.given_up]
    yield from some_lines([*map(given_up_text, given_up[: LIMITS.shown_tenants])], len(given_up))
    yield from some_lines([*map(auto_pause_text, paused[: LIMITS.shown_tenants])], len(paused))


def some_lines(lines: Sequence[str], total: int) -> Iterator[str]:
    """Yield the first lines of so many, and how many more there are."""
    yield from lines
    if (more := total - len(lines)) > 0:
        yield texts("and {count:,} more like that", "and {count:,} more like that", count=more)


def auto_pause_text(pause: AutoPause) -> str:
    """Return which calls a run or worker has paused by itself, since when, until when and why."""
    kind, reason = Names(texts.lang).call(pause.kind), texts.rendered(pause.reason)
    since, next_try = _moment(pause.since), f"{pause.next_try:%H:%M:%S}"
    if not pause.tenant:
        return texts(
            "{kind} pauses since {since}, next try at {next_try} (UTC+8): {reason}",
            kind=kind,
            since=since,
            next_try=next_try,
            reason=reason,
        )
    return texts(
        "Tenant {tenant}: {kind} pauses since {since}, next try at {next_try} (UTC+8): {reason}",
        tenant=pause.tenant,
        kind=kind,
        since=since,
        next_try=next_try,
        reason=reason,
    )


def given_up_text(given_up: GivenUp) -> str:
    """Return which tenant a run has given up, since when and why."""
    since, reason = _moment(given_up.since), texts.rendered(given_up.reason)
    if not given_up.tenant:
        return texts("Given up since {since} (UTC+8): {reason}", since=since, reason=reason)
    return texts(
        "Tenant {tenant} is given up since {since} (UTC+8): {reason}",
        tenant=given_up.tenant,
        since=since,
        reason=reason,
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
