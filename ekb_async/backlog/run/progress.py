"""How far a run is, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from ekb_async.backlog.store.call_store import StateCount, counts_of


class KindProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind in the whole backlog: those `left` to make, those `ended`, and how many `allowed` per second,
    None where there is no limit.
    """

    left: int
    ended: int
    allowed: float | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is. `counts` are the rows of the whole backlog by state, `total` their sum, `done` those that have
    ended, well or not; `rate` is rows ended per second since `started_at`; `kinds` has the calls that rows share;
    `trouble` says why nothing goes on, "" as long as it does.
    """

    counts: dict[str, int]
    total: int
    done: int
    rate: float
    started_at: datetime
    kinds: dict[str, KindProgress]
    trouble: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves: the backlog's rows by state, its failed rows by class of error, and the seconds it took.

    `refused_staff` are staff IDs that the vendor refused several times in a row, and how many rows with each are still
    pending because of that.
    """

    counts: dict[str, int]
    failures: dict[str, int]
    seconds: float
    refused_staff: dict[str, int] = {}


def ended_in(counts: Mapping[str, int]) -> int:
    """Rows that have ended, well or not."""
    return counts["done"] + counts["failed"]


def measure(
    load: list[StateCount],
    *,
    ended_before: int,
    seconds: float,
    started_at: datetime,
    allowed: Mapping[str, float],
    trouble: str,
) -> Progress:
    """The progress that the calls by kind and state stand for; `allowed` are the rates of limited kinds."""
    counts = counts_of(load)
    done = ended_in(counts)
    kinds = {}
    for kind in dict.fromkeys(each.kind for each in load):
        calls = {each.state: each.calls for each in load if each.kind == kind}
        kinds[kind] = KindProgress(
            left=calls.get("pending", 0) + calls.get("running", 0),
            ended=calls.get("done", 0) + calls.get("failed", 0),
            allowed=allowed.get(kind),
        )
    return Progress(
        counts=counts,
        total=sum(counts.values()),
        done=done,
        rate=max(0, done - ended_before) / seconds if seconds > 0 else 0.0,
        started_at=started_at,
        kinds=kinds,
        trouble=trouble,
    )
