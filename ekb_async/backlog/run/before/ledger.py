"""Asks the vendor's ledger for the invoices of billed calls, which is free, so that no known one is paid for again.

An invoice is found by the identities that its file names with certainty, by code and number, or by ID. A call is
answered if the tax authority has confirmed all of its invoices and the ledger contradicts nothing that the row states.
The look-ups of concurrent calls share requests.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from ekb_async.backlog.input.rows.fields import BY_ID, fields_of
from ekb_async.backlog.run.before.lookups import as_met_before
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.values.calls import Call, CallKey
from ekb_async.backlog.store.values.ledger_answers import LedgerAnswer
from ekb_async.einvoice import identity_of
from ekb_async.errors import EkbError
from ekb_async.models import LedgerInvoice
from ekb_async.models.wire import coerce

if TYPE_CHECKING:
    from ekb_async.session.session import EkbSession

DIFFERS = "the ledger has this invoice with another date or amount"
_NOTE = "The ledger cannot be asked, so nothing was paid for. Run without ledger_first (--ledger-first) to go on."
_CERTAIN = re.compile(r"[0-9]{20}|[0-9]{10}(?:[0-9]{2})?-[0-9]{8}")
_CHECKED_DIGITS = 6


class Finding(NamedTuple):
    """What the ledger has for a call: its answer, and what a person should look at, "" for nothing."""

    answer: LedgerAnswer | None = None
    warning: str = ""


class _Named(NamedTuple):
    """An invoice as a row names it: its key in the ledger, and what the row states about it."""

    key: str
    stated: dict[str, str]


_Wanted = Sequence[_Named]
"""One way to find all invoices of a call."""
_Found = dict[str, LedgerInvoice | None]


class Ledger:
    """The ledger of one tenant, asked for the invoices of claimed calls."""

    def __init__(self, session: EkbSession, store: CallStore) -> None:
        self._session = session
        self._store = store
        self._keys: dict[int, list[CallKey]] = {}

    async def read_keys(self, calls: Sequence[Call]) -> None:
        """Read which invoices the files of claimed calls name; `find` can then be called once for each of them."""
        ids = [call.id for call in calls if call.kind != BY_ID]
        self._keys.update((call_id, []) for call_id in ids)
        for key in await self._store.keys_of(ids) if ids else ():
            self._keys[key.call_id].append(key)

    async def find(self, call: Call) -> Finding:
        """Return what the ledger has for a call. Raises the errors of the look-up, see `lookups`."""
        wanted = list(_wanted(call, sorted(self._keys.pop(call.id, []))))
        keys = dict.fromkeys(named.key for way in wanted for named in way)
        return _finding(wanted, await self._look_up(call, list(keys))) if keys else Finding()

    async def warn(self, call: Call, warning: str) -> None:
        """Store a warning with the rows of a call. Raises the store's error, with `for_all` set."""
        try:
            await self._store.warn(call.id, warning)
        except EkbError as error:
            error.for_all = True
            raise

    async def _look_up(self, call: Call, keys: list[str]) -> _Found:
        try:
            if call.kind == BY_ID:
                return await self._session.ledger_invoices(keys)
            return await self._session.ledger_invoices(codes=keys)
        except EkbError as error:
            met = as_met_before(error)
            if met.for_all:
                met.add_note(_NOTE)
            raise met from None


def _wanted(call: Call, known: list[CallKey]) -> Iterator[_Wanted]:
    """Yield the ways to find the invoices of a call: one invoice may have 20 digits, and a code and number as well."""
    fields = fields_of(call.identity)
    if call.kind == BY_ID and call.invoice_id.strip():
        yield [_Named(call.invoice_id, {"date": call.date})]
    elif fields is not None and (identity := identity_of(fields.code, fields.number)):
        stated = {"date": fields.date, "amount": fields.amount, "check_code": fields.check_code}
        yield [_Named(_key(identity), stated)]
    ways: defaultdict[str, list[_Named]] = defaultdict(list)
    for key in known:
        if all(map(_CERTAIN.fullmatch, key.identities)):
            way = "together" if len(key.identities) > 1 else "coded" if "-" in key.key else "digital"
            ways[way] += map(_Named, map(_key, key.identities), _stated(key))
    yield from ways.values()


def _stated(key: CallKey) -> list[dict[str, str]]:
    """Return what is printed on each invoice of a key; the values of several have `+` between them."""
    stated: list[dict[str, str]] = [{} for _ in key.identities]
    for name, text in (("date", key.date), ("net", key.net), ("tax", key.tax), ("total", key.total)):
        values = text.split("+") if text else []
        if len(values) == len(stated):
            for each, value in zip(stated, values, strict=True):
                each[name] = value
    return stated


def _key(identity: str) -> str:
    """Return the key by which the ledger finds an identity."""
    code, dash, number = identity.partition("-")
    return f"{code}:{number}" if dash else f":{identity}"


def _finding(wanted: Sequence[_Wanted], found: _Found) -> Finding:
    """Return what the ways find that find all; nothing if two find different invoices, no answer if one has none."""
    by_ids: dict[frozenset[str | None], Finding] = {}
    for way in wanted:
        named = [(each.stated, invoice) for each in way if (invoice := found[each.key]) is not None]
        if len(named) < len(way):
            continue
        invoices = list({invoice.id: invoice for _, invoice in named}.values())
        if any(_differs(*value, invoice) for stated, invoice in named for value in stated.items()):
            finding = Finding(warning=DIFFERS)
        elif all(invoice.is_verified is True for invoice in invoices):
            finding = Finding(LedgerAnswer(tuple(invoices)))
        else:
            finding = Finding()
        ids = frozenset(invoice.id for invoice in invoices)
        if ids not in by_ids or by_ids[ids].answer is not None:
            by_ids[ids] = finding
    return next(iter(by_ids.values())) if len(by_ids) == 1 else Finding()


def _differs(name: str, text: str, invoice: LedgerInvoice) -> bool:
    """Return whether the ledger has another value than the row states."""
    stated, known = _value(name, text), _known(name, invoice.form)
    if stated is None or not known or stated in known:
        return False
    if name != "check_code":
        return True
    # Often only the last digits of a check code are known, or given.
    digits = min(_CHECKED_DIGITS, len(known[0]), len(text))
    return bool(known[0][-digits:] != text[-digits:])


def _value(name: str, text: str) -> date | Decimal | str | None:
    if name == "date":
        return coerce.day(text)
    return (text or None) if name == "check_code" else coerce.number(text)


_ATTRIBUTES = {
    "date": ("date",),
    "net": ("amount_excluding_tax",),
    "tax": ("tax",),
    "total": ("total",),
    # Which of them is sent depends on the kind of invoice.
    "amount": ("amount_excluding_tax", "total"),
    "check_code": ("check_code",),
}


def _known(name: str, form: Any) -> list[Any]:
    values = [getattr(form, attribute, None) for attribute in _ATTRIBUTES[name]]
    return [value for value in values if value not in {None, ""}]
