"""Look-ups of records by key: concurrent callers share requests.

The ledger is in parts, one for each kind of invoice, and an ID does not say which part it is in. The part is known from
earlier replies, or else the parts are asked in the order of the invoices found in them so far: for a hundred unknown
IDs that is at most one request to each part.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ekb_async.aio.batch_search import slices
from ekb_async.aio.batcher import Batcher, BatcherGroup, FewerKeysError, all_settled
from ekb_async.client.attempt import Api
from ekb_async.config import SessionConfig
from ekb_async.errors import EkbError, InvalidRequestError, PermissionDeniedError
from ekb_async.models import InvoiceRef, LedgerInvoice, Staff
from ekb_async.models.ledger import OBJECTS
from ekb_async.protocol import endpoints
from ekb_async.protocol.decoding import Page
from ekb_async.protocol.endpoints import MAX_PAGE
from ekb_async.session.records.limits import LIMITS
from ekb_async.session.records.overlap import PlacedPage

LedgerKey = Literal["id", "code"]
StaffKey = Literal["id", "code", "phone", "email", "user_id"]

_NO_SUCH_PART = "不支持的业务对象"
_STAFF_TYPES: dict[StaffKey, str] = {
    "id": "STAFFID",
    "code": "CODE",
    "phone": "CELLPHONE",
    "email": "MAIL",
    "user_id": "USERID",
}


class LedgerParts:
    """Which parts the ledger of this enterprise has, and how many invoices were found in each."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._missing: set[str] = set()

    def in_order(self) -> list[str]:
        """Return the parts that exist as far as is known, by the number of invoices found in them so far."""
        return sorted((part for part in OBJECTS if part not in self._missing), key=lambda part: -self.found[part])

    def is_missing(self, part: str, error: InvalidRequestError) -> bool:
        """Return whether a refusal means that the vendor's platform has no such part, and remember that."""
        if _NO_SUCH_PART not in error.message:
            return False
        self._missing.add(part)
        return True


class LedgerLookup:
    """Invoices of the ledger by ID, or by code and number."""

    def __init__(self, api: Api, config: SessionConfig) -> None:
        self.parts = LedgerParts()
        self._api = api
        self._config = config
        self._part_of: OrderedDict[str, str] = OrderedDict()
        self.batchers: BatcherGroup[str, LedgerInvoice] = BatcherGroup(self._batcher)

    def note_references(self, documents: Mapping[str, Iterable[InvoiceRef]]) -> None:
        """Remember the parts of the invoices that a reply about documents names."""
        for references in documents.values():
            for reference in references:
                if reference.invoice_id and reference.type in OBJECTS:
                    self._note("id", reference.invoice_id, reference.type)

    async def find(self, by: LedgerKey, keys: list[str]) -> dict[str, LedgerInvoice | EkbError | None]:
        """Return the invoice or the error of each key, None for one that no part has."""
        found: dict[str, LedgerInvoice | EkbError | None] = {}
        for part in slices(keys, LIMITS.keys_at_once):
            found |= await self._find(by, part)
        return found

    async def _find(self, by: LedgerKey, keys: Sequence[str]) -> dict[str, LedgerInvoice | EkbError | None]:
        parts = self.parts.in_order()
        known = {key: part for key in keys if (part := self._part_of.get(f"{by} {key}")) is not None}
        found = await self._load(by, known)
        refusals = 0
        for part in parts:
            asked = {key: part for key in keys if _may_be_elsewhere(found.get(key)) and known.get(key) != part}
            answers = await self._load(by, asked)
            # An error stays unless a further part has the invoice.
            found |= {key: answer for key, answer in answers.items() if answer is not None}
            refusals += bool(answers) and all(isinstance(answer, EkbError) for answer in answers.values())
            if refusals > LIMITS.refusing_parts:
                break
        for key, answer in found.items():
            if isinstance(answer, LedgerInvoice):
                self._note(by, key, answer.object_id)
        return {key: found.get(key) for key in keys}

    async def page(self, part: str, page: PlacedPage) -> Page[LedgerInvoice] | None:
        """Return a page of a part of the ledger, None if the vendor's platform has no such part."""
        try:
            invoices = await self._api.call(endpoints.ledger_page(part, page.number, page.size))
        except InvalidRequestError as error:
            if self.parts.is_missing(part, error):
                return None
            raise
        for invoice in invoices:
            if invoice.id:
                self._note("id", invoice.id, part)
        return invoices

    async def _load(self, by: LedgerKey, parts: Mapping[str, str]) -> dict[str, LedgerInvoice | EkbError | None]:
        return await all_settled({key: self.batchers.to(f"{by} {part}").load(key) for key, part in parts.items()})

    def _note(self, by: LedgerKey, key: str, part: str) -> None:
        if f"{by} {key}" not in self._part_of:
            self.parts.found[part] += 1
            if len(self._part_of) >= LIMITS.known_parts:
                self._part_of.popitem(last=False)
        self._part_of[f"{by} {key}"] = part

    def _batcher(self, place: str) -> Batcher[str, LedgerInvoice]:
        by, _, part = place.partition(" ")

        async def fetch(keys: list[str]) -> Mapping[str, LedgerInvoice]:
            request = endpoints.ledger_by_ids if by == "id" else endpoints.ledger_by_codes
            try:
                invoices = await self._api.call(request(part, keys))
            except InvalidRequestError as error:
                if self.parts.is_missing(part, error):
                    return {}
                raise
            return {invoice.id or "": invoice for invoice in invoices} if by == "id" else _by_code(invoices)

        return _batcher(f"ledger {part}", fetch, self._config)


class StaffLookup:
    """Members of staff by one of their identifiers."""

    def __init__(self, api: Api, config: SessionConfig) -> None:
        self._api = api
        self._config = config
        self.batchers: BatcherGroup[str, Staff] = BatcherGroup(self._batcher)

    async def find(self, by: StaffKey, keys: list[str]) -> dict[str, Staff | EkbError | None]:
        """Return the person or the error of each key, None for one that no active person has."""
        found: dict[str, Staff | EkbError | None] = {}
        for part in slices(keys, LIMITS.keys_at_once):
            found |= await self.batchers.to(by).load_each(part)
        return found

    def _batcher(self, by: Any) -> Batcher[str, Staff]:
        async def fetch(keys: list[str]) -> Mapping[str, Staff]:
            people = await self._api.call(endpoints.staff(_STAFF_TYPES[by], keys))
            if len(keys) == 1:
                return {keys[0]: people[0]} if people else {}
            named = {_plain(getattr(person, by)): person for person in people}
            found = {key: named[_plain(key)] for key in keys if _plain(key) in named}
            if len(found) < len(keys) and not named.keys() <= set(map(_plain, keys)):
                # The reply writes identifiers in another way than they were asked for, or leaves them out.
                batcher.size = 1
                raise FewerKeysError(found)
            return found

        batcher = _batcher(f"staff by {by}", fetch, self._config)
        return batcher


def _may_be_elsewhere(answer: LedgerInvoice | EkbError | None) -> bool:
    """Return whether another part may have an invoice: this one has not, or refuses every request."""
    return (
        answer is None
        or isinstance(answer, PermissionDeniedError)
        or (isinstance(answer, EkbError) and answer.of_request)
    )


def _batcher(name: str, fetch: Any, config: SessionConfig) -> Batcher[str, Any]:
    return Batcher(name, fetch, size=min(config.batch_size, MAX_PAGE), in_flight=config.batch_in_flight)


def _by_code(invoices: Iterable[LedgerInvoice]) -> dict[str, LedgerInvoice]:
    """Return the invoices by `code:number`, and by `:number` those whose number no other one of them has."""
    invoices = list(invoices)
    numbers = Counter(invoice.form.number for invoice in invoices)
    found = {f":{each.form.number or ''}": each for each in invoices if numbers[each.form.number] == 1}
    return found | {f"{each.form.code or ''}:{each.form.number or ''}": each for each in invoices}


def _plain(identifier: str | None) -> str:
    return (identifier or "").strip().casefold()
