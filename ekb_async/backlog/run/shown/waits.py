"""What calls wait for, as far as a run knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from ekb_async.backlog.store.values.calls import WaitingCount
from ekb_async.backlog.store.values.reports import held_rows, waiting_rows

WaitReason = Literal[
    "vendor", "storage", "other_run", "throttled", "pace", "answers", "file", "person", "ledger", "refused_person",
    "another_day", "budget", "directory", "held",
]  # fmt: skip


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """What calls wait for. `calls` or `rows` is how many wait, 0 if that is not known; `text` says more, such as an
    error; `until` is when the last of them is due, at UTC+8. The reasons:

    - `vendor`: the vendor could not be reached or failed; `text` is its error, and calls are made again.
    - `storage`: the backlog cannot be read or written; `text` is the reason.
    - `other_run`: another run has the rest of the calls.
    - `throttled`: calls start more slowly than allowed, because the vendor refused some for their rate.
    - `pace`: calls start more slowly than allowed, because other programs use the same pace.
    - `answers`: as many calls are unanswered as `max_running` allows.
    - `file`: files are being read or uploaded.
    - `person`: it is being looked up who is meant, or found out whether the vendor accepts the person.
    - `ledger`: the ledger is being asked.
    - `refused_person`: the vendor refused the person; `text` is the staff ID.
    - `another_day`: the tax authority refuses the check today.
    - `budget`: a budget of billed calls is spent.
    - `directory`: downloads without a directory for them.
    - `held`: a person has paused them.
    """

    reason: WaitReason
    calls: int = 0
    rows: int = 0
    text: str = ""
    until: datetime | None = None


_LATER: tuple[tuple[WaitReason, bool], ...] = (("another_day", False), ("budget", True))


def summed(waits: Iterable[Wait]) -> tuple[Wait, ...]:
    """Return the waits with those of one reason and text added up, in the order of their first appearance."""
    calls: Counter[tuple[WaitReason, str]] = Counter()
    found: dict[tuple[WaitReason, str], Wait] = {}
    for each in waits:
        key = each.reason, each.text
        calls[key] += each.calls
        found.setdefault(key, each)
    return tuple(msgspec.structs.replace(each, calls=calls[key]) for key, each in found.items())


def later_waits(counts: Sequence[WaitingCount]) -> Iterator[Wait]:
    """Yield the waits of rows that no run makes before another day, a new budget, or the end of a pause."""
    for reason, for_budget in _LATER:
        later = waiting_rows(counts, for_budget=for_budget)
        if later.rows:
            yield Wait(reason=reason, rows=later.rows, until=later.last)
    if held := held_rows(counts):
        yield Wait(reason="held", rows=held)
