"""A row of a backlog as applications read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from ekb_async.backlog.input.rows.fields import fields_of
from ekb_async.backlog.store.values.answers import show
from ekb_async.backlog.store.values.calls import StoredRow
from ekb_async.models.wire.coerce import CHINA

_OWN = msgspec.json.Decoder(dict[str, str])


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a manifest and the state of its call.

    `id` is its number in the backlog, `call_id` that of its call; `manifest` and `line` locate the row. `shared` is
    true if another row represents the same call. `attempts` is how often the call was sent and not refused for its rate
    or its token, 0 if it failed before that; `maybe_billed` is how often its answer was lost although the call may have
    been billed, also if it was not sent again (`Job.maybe_billed` counts only lost answers after which it was).
    `result` is JSON with English names: an object, or a list for `detail`. `raw` is the JSON of the answer, including
    what `result` has no name for; for `url` it is the JSON of `result`. Both are None until there is an answer. `error`
    is a text with class, message and hint, None unless the state is `failed`; `error_type` and `hint` are parts of it.
    `ended_at` is the time at which the call ended, at UTC+8, None if it has not. `tenant` is the tenant that the call
    belongs to, "" if the manifest names none. URLs have no signature. `fields` has what `verify_by_fields` sends:
    `code`, `number`, `date` as yyyyMMdd, `amount`, `check_code`, "" for what the row leaves out; None for other kinds.
    `due_at` is the time before which no run makes the call, at UTC+8, None if there is none; a `held` row has none, and
    no run makes its call before a person resumes it.

    If the row shares the call of another row, `shared_with` is the `id` of that one, and `shared_by` says why:
    `content` for the same file or ID, `invoice` for another file of the same invoice. `same_as` is the `id` of the
    first row whose answer has the same invoice by code and number, also if that is this one; None if no other call has
    it. `source` is where the answer comes from, `call` or `ledger`, None without one. `own` has the columns of the row
    that only its user knows. `printed` has what the row's file says of itself: `invoices` (identities), `date`, `net`,
    `tax`, `total`, `seller`, `buyer`, `buyer_tax_id`, "" for what it does not say; None if it was not read or says
    nothing. `warning` is what a person should look at before the call is paid. `added_at` is the time at which the call
    was added, with the first of the rows that share it, at UTC+8; None if an earlier version added it.
    """

    id: int
    shared: bool
    ref: str
    kind: str
    state: str
    attempts: int
    maybe_billed: int
    file: str
    invoice_id: str
    manifest: str
    line: int
    result: Any
    raw: bytes | None
    error: str | None
    error_type: str | None
    hint: str | None
    ended_at: datetime | None
    fields: dict[str, str] | None = None
    due_at: datetime | None = None
    shared_with: int | None = None
    shared_by: str | None = None
    same_as: int | None = None
    source: str | None = None
    staff_id: str = ""
    own: dict[str, str] = {}
    printed: dict[str, Any] | None = None
    warning: str | None = None
    held: bool = False
    added_at: datetime | None = None
    call_id: int = 0
    tenant: str = ""


def task_of(row: StoredRow) -> Task:
    """Return the task of a stored row. If its answer cannot be read, `result` is None and `raw` has the answer."""
    return _task(row, None if row.result is None else show(row.kind, row.result, row.source))


def unread_task_of(row: StoredRow) -> Task:
    """Return the task of a stored row without `result`, for what reads `raw` itself.

    To read an answer completely takes ten times as long as everything else.
    """
    return _task(row, None)


def result_of(task: Task) -> Any:
    """Return the `result` of a task, which may be an unread one."""
    return None if task.raw is None else show(task.kind, task.raw, task.source or "")


def _task(row: StoredRow, result: Any) -> Task:
    fields = fields_of(row.identity) if row.identity else None
    failed = row.state == "failed" and row.error_type != ""
    return Task(
        id=row.id,
        shared=bool(row.shared),
        ref=row.ref,
        kind=row.kind,
        state=row.state,
        attempts=row.attempts,
        maybe_billed=row.maybe_billed,
        file=row.file,
        invoice_id=row.invoice_id,
        manifest=row.manifest,
        line=row.line,
        result=result,
        raw=row.result,
        error=f"{row.error_type}: {row.error} {row.hint}".rstrip() if failed else None,
        error_type=row.error_type if failed else None,
        hint=row.hint or None,
        ended_at=_moment(row.ended_at),
        due_at=_moment(row.due_at),
        added_at=_moment(row.added_at),
        tenant=row.tenant,
        call_id=row.call_id,
        held=bool(row.held),
        fields=None if fields is None else fields._asdict(),
        source=None if row.result is None else row.source or "call",
        staff_id=row.staff_id,
        **(_rare(row) if row.shared or row.own or row.printed or row.warning or row.same_as is not None else {}),
    )


def _rare(row: StoredRow) -> dict[str, Any]:
    """Return the values that most rows lack; to look at each of them takes as long as everything else."""
    return {
        "shared_with": row.lead_id if row.shared else None,
        "shared_by": ("invoice" if row.same_invoice else "content") if row.shared else None,
        "same_as": row.same_as,
        "own": _OWN.decode(row.own) if row.own else {},
        "printed": (msgspec.json.decode(row.printed) or None) if row.printed else None,
        "warning": row.warning or None,
    }


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, CHINA)
