"""Calls and rows as a store takes and returns them: claimed calls, marks, results, counts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from ekb_async.backlog.store.values.answers import Answer, keep
from ekb_async.errors import ApiError, CallCancelledError, EkbError, OutcomeUnknownError, StaffNotFoundError
from ekb_async.redaction.masking import redact

STATES = ("pending", "running", "done", "failed")

UNKNOWN = OutcomeUnknownError.__name__
OUTCOME_UNKNOWN: dict[str, Any] = {
    "error_type": UNKNOWN,
    "error": "the call was under way when its run was ended, and may be billed",
    "hint": "Look into the vendor's records, or make it again with: ekb backlog retry DB --unknown.",
}
"""The error of a billed call that was never answered, where such calls are held for a person."""

CANCELLED = CallCancelledError.__name__

_DAY_SECONDS = 86_400
_CHINA_SECONDS = 8 * 3_600


def day_of(moment: float) -> int:
    """Return the day of a moment in epoch seconds, at UTC+8, as the number of days since 1970-01-01."""
    return int((moment + _CHINA_SECONDS) // _DAY_SECONDS)


def start_of(day: int) -> float:
    """Return the first moment of a day of `day_of`, in epoch seconds."""
    return float(day * _DAY_SECONDS - _CHINA_SECONDS)


class StateCount(NamedTuple):
    """The number of calls of one kind and state, and of the rows that share them."""

    kind: str
    state: str
    calls: int
    rows: int


class TenantStateCount(NamedTuple):
    """The number of rows of one tenant and state, of those of unknown outcome, waiting or held, and lost answers."""

    tenant: str
    state: str
    rows: int
    unconfirmed: int
    maybe_billed: int
    waiting: int
    held: int


class WaitingCount(NamedTuple):
    """The number of calls of one kind that wait for another day, or are held, of their rows, and when they are due.

    `for_budget` says whether they wait because a budget is spent.
    """

    kind: str
    calls: int
    rows: int
    first: float
    last: float
    for_budget: bool = False

    @property
    def is_held(self) -> bool:
        """Whether they are held until a person resumes them."""
        return self.first == math.inf


class Call(NamedTuple):
    """A claimed call, with the row from which it is made.

    `date` is that of the row's invoice, as yyyyMMdd, "" if it is unknown. `waits` counts the days that the call has
    waited for, `checks` the checks that it took on the day `checked_on` (see `day_of`). `content` is the identity of
    the row's own file if the call is named after another one.
    """

    id: int
    identity: str
    row_count: int
    kind: str
    file: str
    invoice_id: str
    staff_id: str
    file_name: str
    start: int | None
    length: int | None
    manifest: str
    columns: str
    date: str = ""
    waits: int = 0
    checks: int = 0
    checked_on: int = 0
    content: str = ""
    form: int = 0


class CallKey(NamedTuple):
    """An invoice, or several, that a file of a call names with certainty, and what is printed there.

    `key` has the identities with `+` between them, after a prefix and a colon.
    """

    call_id: int
    key: str
    tenant: str
    date: str
    net: str
    tax: str
    total: str

    @property
    def identities(self) -> list[str]:
        """The identities of the invoices."""
        return self.key.rpartition(":")[2].split("+")


class SentMark(NamedTuple):
    """A call that is about to be sent, and how many of its attempts are unanswered from then on.

    `counted_on` is the day on which an attempt was counted that was not billed, so that this one need not be counted
    again on that day; 0 if there is none.
    """

    call_id: int
    unconfirmed: int
    counted_on: int = 0


class Marking(NamedTuple):
    """What became of a mark: the day on which the attempt is counted, see `day_of`; 0 if it must not be sent.

    `until` is the moment at which it may be sent if a budget is spent, `wait` seconds from now; None if another run has
    the call.
    """

    counted_on: int = 0
    until: float | None = None
    wait: float = 0.0


class CallResult(NamedTuple):
    """The outcome of a claimed call. State `pending` releases it, from `due_at` (epoch seconds) on if that is given.

    `attempts`, `maybe_billed` and `checks` add to its counters.
    """

    call_id: int
    state: str
    attempts: int = 0
    maybe_billed: int = 0
    answer: Answer | None = None
    error_type: str = ""
    error: str = ""
    hint: str = ""
    due_at: float | None = None
    checks: int = 0
    source: str = ""
    """Where the answer comes from: "" for a call, `ledger` for the vendor's ledger."""
    unspent: tuple[int, ...] = ()
    """The days on which attempts were counted that were not billed."""


_OTHER_PERSON = "Add the row again with the ID of an active person (corporation:staff), then retry it."
"""A hint for rows, which keep their person until they are corrected."""


def failure(call: Call, error: EkbError) -> CallResult:
    """Return the result of a call that failed with an error, with secrets masked."""
    if isinstance(error, ApiError):
        # The row names its invoice; without it the same problem of many rows has one text and is counted as one cause.
        error = error.about(None)
    hint = str(getattr(error, "hint", ""))
    text = str(error).removesuffix(hint).rstrip()
    if isinstance(error, StaffNotFoundError):
        if call.staff_id not in text:
            text += f" The staff_id was {call.staff_id}."
        if hint == StaffNotFoundError.default_hint:
            hint = _OTHER_PERSON
    if isinstance(error, OutcomeUnknownError):
        hint = OUTCOME_UNKNOWN["hint"]
    return CallResult(call.id, "failed", error_type=type(error).__name__, error=redact(text), hint=redact(hint))


class StoredRow(NamedTuple):
    """A row with the state of its call; `shared` if the call is made from another row.

    `identity` is "" unless it contains the fields of the row.
    """

    id: int
    shared: bool
    manifest: str
    line: int
    tenant: str
    ref: str
    kind: str
    identity: str
    file: str
    invoice_id: str
    state: str
    attempts: int
    maybe_billed: int
    error_type: str
    error: str
    hint: str
    ended_at: float | None
    due_at: float | None
    held: bool
    """Whether its call is held until a person resumes it."""
    result: bytes | None
    lead_id: int
    """The row from which the call is made."""
    same_invoice: bool
    """Whether that is another file of the same invoice."""
    same_as: int | None
    """The row of the first call whose answer has the same invoice, also if that is this one; None if no other has."""
    source: str
    staff_id: str
    own: str
    printed: str
    warning: str
    call_id: int
    added_at: float | None


class Recorded(NamedTuple):
    """A result as it is stored; `planned` says whether an engine has a wakeup for the call."""

    call_id: int
    state: str
    attempts: int
    maybe_billed: int
    result: bytes | None
    error_type: str
    error: str
    hint: str
    planned: bool
    due_at: float | None
    checks: int
    source: str
    unspent: tuple[int, ...]

    @property
    def is_special(self) -> bool:
        """Whether it has values that the results of most calls lack."""
        # A call that becomes pending may be held.
        return bool(self.checks or self.source) or self.due_at is not None or self.state == "pending"


def recorded(result: CallResult, *, planned: bool = False) -> Recorded:
    """Return a result as it is stored."""
    return Recorded(
        call_id=result.call_id,
        state=result.state,
        attempts=result.attempts,
        maybe_billed=result.maybe_billed,
        result=None if result.answer is None else keep(result.answer),
        error_type=result.error_type,
        error=storable(result.error),
        hint=storable(result.hint),
        planned=planned,
        due_at=result.due_at,
        checks=result.checks,
        source=result.source,
        unspent=result.unspent,
    )


def storable(text: str) -> str:
    """Return a text that each database can store."""
    # A file name in an error may be no valid Unicode, and PostgreSQL stores no zeros.
    return text and text.encode(errors="replace").decode().replace("\0", "\ufffd")


def counts_of(load: Iterable[StateCount | TenantStateCount]) -> dict[str, int]:
    """Sum up rows by state, with every state present."""
    counts: dict[str, int] = dict.fromkeys(STATES, 0)
    for each in load:
        counts[each.state] += each.rows
    return counts
