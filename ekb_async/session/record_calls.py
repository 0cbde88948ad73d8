"""The calls about records: the ledger, documents, staff, licences, and the enterprise's names as a buyer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from ekb_async.aio.batch_search import slices
from ekb_async.errors import ConfigError
from ekb_async.models import Document, DocumentFiles, InvoiceKind, LedgerInvoice, Licence, Payer, Staff
from ekb_async.protocol import endpoints
from ekb_async.protocol.decoding import Page
from ekb_async.protocol.endpoints import DOCUMENT_TYPES, MAX_PAGE
from ekb_async.session.invoice_errors import without_refusals
from ekb_async.session.opening import SessionBase
from ekb_async.session.records.document_walk import DocumentWalk
from ekb_async.session.records.ledger_walk import LedgerWalk
from ekb_async.session.records.lookups import LedgerKey, StaffKey
from ekb_async.session.records.overlap import PlacedPage
from ekb_async.validation import checked_texts


class RecordCalls(SessionBase):
    """The calls of a session about the enterprise's records. All are free."""

    # The ledger

    async def ledger_invoices(
        self, ids: Iterable[str] | None = None, *, codes: Iterable[str] | None = None
    ) -> dict[str, LedgerInvoice | None]:
        """Return invoices of the ledger by ID, or by `code:number` (`:number` without a code); None for unknown ones.

        The keys keep their order; duplicates are dropped. Concurrent calls share requests of at most 100 keys. The part
        of the ledger that an invoice is in is found without being named: asking for a hundred unknown IDs takes up to
        thirteen requests, for known ones about one.

        Raises `ConfigError` unless exactly one of `ids` and `codes` is given, and the errors common to all calls.
        Vendor path: `/api/openapi/v2/extension/INVOICE/object/{objectId}/search`
        """
        by: LedgerKey
        by, keys = _one_of({"id": ids, "code": codes})
        if by == "code" and (wrong := [key for key in keys if ":" not in key]):
            raise ConfigError(f"codes must be code:number, or :number, not {wrong[0][:80]!r}")
        return without_refusals(await self._open().ledger.find(by, keys))

    def ledger(self, kinds: Collection[InvoiceKind | str] | None = None, *, cursor: str | None = None) -> LedgerWalk:
        """Return all invoices of the ledger, page by page, to be iterated over with `async for`.

        `kinds` limits it to kinds of invoices, or to the vendor's names of its parts, such as `train`. An invoice that
        is there during the whole walk is returned once, also while others are added or removed; `changes` counts the
        replies that showed a change. `cursor` is that of an earlier walk, which then goes on.

        Raises `ConfigError` for wrong arguments. Iterating raises the errors common to all calls.
        Vendor path: `/api/openapi/v2/extension/INVOICE/object/{objectId}/search`
        """
        return LedgerWalk(self._ledger_page, kinds, cursor)

    async def _ledger_page(self, part: str, page: PlacedPage) -> Page[LedgerInvoice] | None:
        engine = self._open()
        return await engine.direct(engine.ledger.page(part, page))

    # Documents

    def documents(
        self,
        type: str = "expense",  # noqa: A002 - the vendor's name of it
        *,
        states: Collection[str] | None = None,
        updated_since: datetime | None = None,
        updated_until: datetime | None = None,
    ) -> DocumentWalk:
        """Return the documents of a type with their invoices and files, to be iterated over with `async for`.

        They come in the order of their last changes, deleted ones included (`is_deleted`). `type` is expense, loan,
        payment, requisition, custom, receipt or permit. `updated_since` is a time, from which on and a few seconds
        before changes are returned; `next_since` of a walk is that of the next one. Changes from `updated_until` on are
        left out.

        Raises `ConfigError` for wrong arguments. Iterating raises the errors common to all calls.
        Vendor path: `/api/openapi/v1.1/docs/getApplyList`
        """
        if type not in DOCUMENT_TYPES:
            raise ConfigError(f"type must be one of {', '.join(DOCUMENT_TYPES)}")
        if states is not None:
            states = checked_texts("states", states)
        for name, time in (("updated_since", updated_since), ("updated_until", updated_until)):
            if time is not None and (not isinstance(time, datetime) or time.utcoffset() is None):
                raise ConfigError(f"{name} must be a datetime with a time zone")
        return DocumentWalk(self._documents, type, states, updated_since, updated_until)

    async def _documents(self, query: Iterable[tuple[str, str]]) -> Page[Document]:
        return await self._call(endpoints.documents(query))

    async def document_files(self, ids: Iterable[str]) -> dict[str, DocumentFiles | None]:
        """Return the files of documents, by the documents' IDs, with URLs valid for an hour; None for unknown ones.

        The IDs keep their order; duplicates are dropped. At most 100 go into one request.
        Raises the errors common to all calls. Vendor path: `/api/openapi/v1/flowDetails/attachment`
        """
        wanted = checked_texts("ids", ids)
        found: dict[str, DocumentFiles] = {}
        for part in slices(wanted, MAX_PAGE):
            files = await self._call(endpoints.document_files(part))
            found.update((each.id, each) for each in files if each.id is not None)
        return {each: found.get(each) for each in wanted}

    # The enterprise

    async def staff(
        self,
        *,
        codes: Iterable[str] | None = None,
        emails: Iterable[str] | None = None,
        phones: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        user_ids: Iterable[str] | None = None,
    ) -> dict[str, Staff | None]:
        """Return active members of staff by one identifier: staff code, e-mail, phone, ID, or ID of their platform.

        None for one that no active person has. The keys keep their order; duplicates are dropped. Concurrent calls
        share requests of at most 100 keys. Raises `ConfigError` unless exactly one kind of identifier is given, and the
        errors common to all calls. Vendor path: `/api/openapi/v1/staffs/getStaffIds`
        """
        by: StaffKey
        by, keys = _one_of({"code": codes, "email": emails, "phone": phones, "id": ids, "user_id": user_ids})
        return without_refusals(await self._open().staff.find(by, keys))

    async def licences(self) -> list[Licence]:
        """Return the features that the enterprise has bought, with their terms.

        Raises the errors common to all calls. Vendor path: `/api/openapi/v1/charge/powers/list`
        """
        return await self._call(endpoints.licences())

    async def payers(self) -> list[Payer]:
        """Return the names and tax numbers under which the enterprise buys, with former names.

        Raises the errors common to all calls. Vendor path: `/api/openapi/v2/payerinfo/list`
        """
        return await self._call(endpoints.payers())


def _one_of(given: dict[Any, Iterable[str] | None]) -> tuple[Any, list[str]]:
    """Return the only argument that was given: its name in the singular, and its texts."""
    named = [(name, keys) for name, keys in given.items() if keys is not None]
    if len(named) != 1:
        raise ConfigError(f"give exactly one of {', '.join(f'{name}s' for name in given)}")
    ((name, keys),) = named
    return name, checked_texts(f"{name}s", keys)
