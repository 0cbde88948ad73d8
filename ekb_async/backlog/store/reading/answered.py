"""The index of answers: which calls were answered with the same invoice, whatever files they were made from.

Calls of kind `ocr` are compared with one another, and so are all checks: an invoice that was recognised and then
verified was not paid for twice by mistake. Invoices are compared by code and number, if these identify one. The answers
that are new are indexed before results are shown, a page in a transaction. Several programs may do so at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from ekb_async.aio.tasks import in_thread
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.values.answers import show
from ekb_async.einvoice import identity_of
from ekb_async.errors import ResponseError, StorageError
from ekb_async.models import CheckedInvoice, OcrResult
from ekb_async.models.verified import verify_reader
from ekb_async.storage.statements import Statements

_log = logging.getLogger("ekb_async.backlog")
_read_verified = verify_reader(("code", "number"))


class StoredAnswer(NamedTuple):
    """The answer of a call, as it is stored."""

    call_id: int
    tenant: str
    kind: str
    source: str
    result: bytes


class _Named(NamedTuple):
    """An invoice in the answer of a call."""

    tenant: str
    key: str
    call_id: int


class _Same(NamedTuple):
    """A call, and the first call whose answer has the same invoice."""

    call_id: int
    first_id: int


async def index_answers(store: CallStore) -> None:
    """Index the invoices in all new answers of billed calls, and mark the calls that have one in common.

    A backlog that cannot be written is left as it is. Raises `EkbConnectionError` if its database is unreachable.
    """
    if not await store.can_write():
        return
    last = 0
    try:
        while page := await _next_page(store, last):
            await _index(store, page)
            last = page[-1].call_id
    except StorageError as error:
        # Results can be shown even if the disk is full, or another program keeps the file.
        _log.warning("not all answers are compared for equal invoices: %s", error)


def invoice_key(kind: str, identity: str) -> str:
    """Return what is equal for answers of calls that are compared with one another and have the same invoice."""
    return f"{'ocr' if kind == 'ocr' else 'verify'}:{identity}"


async def _next_page(store: CallStore, after: int) -> list[StoredAnswer]:
    wanted = {"after": after, "limit": LIMITS.answers_per_indexed_page}
    return await store.read(lambda statements: statements.fetch_as(StoredAnswer, store.invoice_sql.TO_INDEX, **wanted))


async def _index(store: CallStore, page: Sequence[StoredAnswer]) -> None:
    named, sql = await in_thread(_named, page), store.invoice_sql

    async def work(statements: Statements) -> None:
        found = await statements.fetch(sql.STILL_TO_INDEX, ids=[each.call_id for each in page])
        ids = {call_id for (call_id,) in found}
        new = [each for each in named if each.call_id in ids]
        await statements.write(sql.KEEP_ANSWERED, new)
        firsts = await statements.fetch_each(_Same, sql.FIRST_ANSWERED, new)
        same: dict[int, int] = {}
        others = [each for each in firsts if each.call_id != each.first_id]
        for call_id, first_id in others:
            same[call_id] = min(first_id, same.get(call_id, first_id))
        await statements.write(sql.MARK_SAME, [_Same(*each) for each in sorted(same.items())])
        if others:
            await statements.execute(sql.MARK_FIRST, ids=sorted({each.first_id for each in others}))
        await statements.execute(sql.MARK_INDEXED, ids=sorted(ids))

    await store.change(work, is_urgent=False)


def _named(page: Iterable[StoredAnswer]) -> list[_Named]:
    """Return the invoices in answers, in the order of their keys, so that two programs never wait for each other."""
    named = set()
    for each in page:
        for code, number in _read(each):
            if (identity := identity_of(code, number)) is not None:
                named.add(_Named(each.tenant, invoice_key(each.kind, identity), each.call_id))
    return sorted(named)


def _read(answer: StoredAnswer) -> list[tuple[str | None, str | None]]:
    """Return code and number of the invoices in an answer, none if it cannot be read."""
    try:
        return list(_numbers(answer))
    except (ResponseError, msgspec.DecodeError, RecursionError):
        return []


def _numbers(answer: StoredAnswer) -> Iterator[tuple[str | None, str | None]]:
    if answer.source:
        # Few answers come from elsewhere, and what is stored of them depends on the source.
        shown = show(answer.kind, answer.result, answer.source) or {}
        forms = [each.get("form") or each.get("details") or each for each in shown.get("invoices", [shown])]
        yield from ((form.get("code"), form.get("number")) for form in forms)
    elif answer.kind == "ocr":
        recognised = OcrResult.from_raw(answer.result).invoices
        yield from ((each.details.code, each.details.number) for each in recognised)
    elif answer.kind == "verify":
        yield from ((each.form.code, each.form.number) for each in _read_verified(answer.result))
    else:
        invoice = CheckedInvoice.from_raw(answer.result)
        yield invoice.code, invoice.number
