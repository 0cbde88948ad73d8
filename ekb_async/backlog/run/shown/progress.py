"""The progress of a run, and its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import msgspec

from ekb_async.backlog.run.shown.tally import Verified
from ekb_async.backlog.run.shown.tenants import AutoPause, GivenUp
from ekb_async.backlog.run.shown.waits import Wait
from ekb_async.backlog.store.values.calls import StateCount, WaitingCount, counts_of
from ekb_async.backlog.store.values.reports import ActiveRun, Cause, Waiting


class KindProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind in the whole backlog: the number `left` to make now, the number that have `ended`, and how many
    per second are `allowed`, None if there is no limit. Calls that wait for another day, or until a budget begins anew,
    and those that are held are in neither number.

    `in_flight` of those left were sent and are not answered yet. A run counts its own.
    """

    left: int
    ended: int
    allowed: float | None
    in_flight: int = 0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a run. `counts` are the rows of the whole backlog by state, `total` is their sum, and `done` the
    number that have ended, done or failed. `rate` is rows ended per second since `started_at`. `kinds` counts calls,
    which several rows may share. `trouble` is the reason why no calls are made, "" while they are.

    Rows in the state `running` are those whose call a run has claimed; most of these wait for their turn. `in_flight`
    is the number of calls that were sent and are not answered yet, `waits` says what others wait for. `causes` are the
    most frequent causes of failure in this run, and `verified` the invoices that it verified. `runs` are the runs at
    work, if it is `Backlog.watch` that shows them; then `in_flight` and `waits` are those of all runs. `auto_pauses`
    and `given_up` are the tenants whose calls are paused or not made any more, because of their errors.
    """

    counts: dict[str, int]
    total: int
    done: int
    rate: float
    started_at: datetime
    kinds: dict[str, KindProgress]
    trouble: str = ""
    in_flight: int = 0
    waits: tuple[Wait, ...] = ()
    causes: tuple[Cause, ...] = ()
    verified: Verified = Verified()
    runs: tuple[ActiveRun, ...] = ()
    auto_pauses: tuple[AutoPause, ...] = ()
    given_up: tuple[GivenUp, ...] = ()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of a run: the backlog's rows by state, its failed rows by class of error, and the seconds it took.

    `refused_staff` has the staff IDs that the vendor refused several times in a row, each with the number of rows that
    are still pending because of that. `waiting` are the pending rows that no run makes before another day,
    `over_budget` those that no run makes before a budget begins anew, and `held` counts those that no run makes before
    a person resumes them.
    `stopped` is the bound at which the run ended, `max_calls` or `until`, "" if it made all calls. `saved` is the
    number of calls that the ledger answered, so that they were not paid for. `causes` are the most frequent causes of
    failure in this run, `verified` the invoices that it verified, and `maybe_billed` is how often it left a billed call
    without an answer.
    """

    counts: dict[str, int]
    failures: dict[str, int]
    seconds: float
    refused_staff: dict[str, int] = {}
    waiting: Waiting = Waiting()
    over_budget: Waiting = Waiting()
    stopped: str = ""
    saved: int = 0
    causes: tuple[Cause, ...] = ()
    verified: Verified = Verified()
    maybe_billed: int = 0
    held: int = 0


def ended_in(counts: Mapping[str, int]) -> int:
    """Return the number of rows that have ended, done or failed."""
    return counts["done"] + counts["failed"]


def measure(
    load: list[StateCount],
    waiting: list[WaitingCount],
    *,
    ended_before: int,
    seconds: float,
    started_at: datetime,
    allowed: Mapping[str, float],
    in_flight: Mapping[str, int],
    trouble: str,
) -> Progress:
    """Return the progress that follows from the calls by kind and state; `allowed` has the rates of limited kinds.

    `in_flight` has the calls that were sent and are not answered.
    """
    counts = counts_of(load)
    done = ended_in(counts)
    kinds: dict[str, KindProgress] = {}
    later = Counter[str]()
    for each in waiting:
        later[each.kind] += each.calls
    for kind in dict.fromkeys(count.kind for count in load):
        calls = {count.state: count.calls for count in load if count.kind == kind}
        kinds[kind] = KindProgress(
            left=max(0, calls.get("pending", 0) - later[kind]) + calls.get("running", 0),
            ended=calls.get("done", 0) + calls.get("failed", 0),
            allowed=allowed.get(kind),
            in_flight=in_flight.get(kind, 0),
        )
    return Progress(
        counts=counts,
        total=sum(counts.values()),
        done=done,
        rate=max(0, done - ended_before) / seconds if seconds > 0 else 0.0,
        started_at=started_at,
        kinds=kinds,
        trouble=trouble,
        in_flight=sum(in_flight.values()),
    )
