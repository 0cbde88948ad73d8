"""What is wrong with a backlog or the work on it, for probes: found by a few statements, however large it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from ekb_async.backlog.metrics.figures import printable
from ekb_async.backlog.metrics.limits import LIMITS
from ekb_async.backlog.metrics.tenants import Halted
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.reading.metrics import (
    Blocked,
    Oldest,
    SeenRun,
    living,
    oldest_ready,
    over_budget,
    read_signs,
)

Check = Literal["backlog", "runs", "age", "unconfirmed", "tenants"]


class HealthProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong: the check that found it, and one sentence.

    - `backlog`: it cannot be read, or not by this version.
    - `runs`: no run or worker is alive.
    - `age`: a call has been ready for too long. Calls that wait for another day, that a person holds, or for which a
      budget is spent, are not ready, nor those of tenants that runs have paused or given up.
    - `unconfirmed`: billed calls failed with an unknown outcome, and a person has to decide.
    - `tenants`: a run at work has given up tenants, because all their calls would fail.
    """

    check: Check
    text: str


class BacklogHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The health of a backlog: its name, what is wrong, and the number of active runs and workers.

    `oldest_ready` is the age in seconds of a call that has been ready for too long, 0 if there is none, `unconfirmed`
    the number of failed calls whose outcome is unknown, and `given_up` has the tenants that runs at work have given up.
    """

    backlog: str
    problems: tuple[HealthProblem, ...] = ()
    runs: int = 0
    oldest_ready: float = 0.0
    unconfirmed: int = 0
    given_up: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


async def examine(
    store: CallStore, *, max_age: float | None, need_run: bool, on_this_host: bool, lost_after: float
) -> BacklogHealth:
    """Return the health of a backlog, see `Backlog.health`.

    A run that was not seen for `lost_after` seconds is not alive. Raises as the methods of `CallStore` do if the
    backlog cannot be read.
    """
    signs = await read_signs(store)
    runs = await living(signs.runs, lost_after)
    halted = Halted.by(runs)
    oldest = None
    if max_age is not None:
        blocked = Blocked([*signs.held, *over_budget(signs.budgets), *halted.paused, *halted.given_up])
        oldest = await oldest_ready(store, signs.moment, max_age, blocked)
    problems = [
        *_of_runs(runs, need_run=need_run, on_this_host=on_this_host),
        *_of_calls(oldest, signs.unconfirmed),
        *_of_tenants(halted.left_tenants),
    ]
    return BacklogHealth(
        backlog=printable(store.name),
        problems=tuple(problems),
        runs=len(runs),
        oldest_ready=0.0 if oldest is None else oldest.age,
        unconfirmed=signs.unconfirmed,
        given_up=tuple(halted.left_tenants),
    )


def _of_runs(runs: Sequence[SeenRun], *, need_run: bool, on_this_host: bool) -> Iterator[HealthProblem]:
    host = socket.gethostname()
    if on_this_host and all(each.host != host for each in runs):
        yield HealthProblem(check="runs", text=f"no run or worker on {host} is alive")
    elif need_run and not runs:
        yield HealthProblem(check="runs", text="no run or worker is alive")


def _of_calls(oldest: Oldest | None, unconfirmed: int) -> Iterator[HealthProblem]:
    if oldest is not None:
        yield HealthProblem(check="age", text=_too_old(oldest))
    if unconfirmed:
        yield HealthProblem(check="unconfirmed", text=_unconfirmed(unconfirmed))


def _of_tenants(given_up: Sequence[str]) -> Iterator[HealthProblem]:
    if not given_up:
        return
    names = ", ".join(given_up[: LIMITS.named])
    if len(given_up) > LIMITS.named:
        text = f"runs have given up {len(given_up)} tenants, the first of them {names}"
    else:
        text = f"runs have given up tenants, because their calls would fail: {names}"
    yield HealthProblem(check="tenants", text=text)


def _unconfirmed(calls: int) -> str:
    if calls == 1:
        return "1 failed call may have been billed, and a person has to decide whether to retry it"
    return f"{calls} failed calls may have been billed, and a person has to decide whether to retry them"


def _too_old(oldest: Oldest) -> str:
    age = f"{oldest.age:.0f}"
    if oldest.tenant:
        return f"a call of tenant {oldest.tenant} ({oldest.kind}) was added {age} s ago and is still pending"
    return f"a call ({oldest.kind}) was added {age} s ago and is still pending"
