"""Reading the ledger, one part after another (see `overlap` for what happens when it changes meanwhile)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Self

import msgspec

from ekb_async.errors import ConfigError
from ekb_async.models import InvoiceKind, LedgerInvoice
from ekb_async.models.ledger import OBJECTS
from ekb_async.protocol.decoding import Page
from ekb_async.session.records.overlap import ListReader, PlacedPage

FetchPage = Callable[[str, PlacedPage], Awaitable[Page[LedgerInvoice] | None]]
"""Returns a page of a part of the ledger, None if there is no such part."""


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """How far a walk has come: its kinds, the parts to be read, and the place in the first of them."""

    kinds: list[str]
    parts: list[str]
    position: int = 0
    total: int | None = None
    latest: list[str] = []


class LedgerWalk:
    """The invoices of the ledger, one after another: iterate over it with `async for`.

    At most one page is held, with the IDs of the part that is being read. After an error, iterating again goes on where
    it stopped, and so does a new walk from `cursor`.
    """

    def __init__(self, fetch: FetchPage, kinds: Collection[InvoiceKind | str] | None, cursor: str | None) -> None:
        if kinds is not None and cursor is not None:
            raise ConfigError("give either kinds or a cursor, which contains them")
        self._fetch = fetch
        state = _beginning(kinds) if cursor is None else _parsed(cursor)
        self._kinds = frozenset(state.kinds)
        self._parts = deque(state.parts)
        self._reader: ListReader[LedgerInvoice] = ListReader(state.position, state.latest, state.total)
        self._ready: deque[LedgerInvoice] = deque()
        self._totals: dict[str, int] = {}
        self._changes = 0
        self._reading = asyncio.Lock()

    @property
    def total(self) -> int:
        """Number of invoices in the parts of the ledger read so far, as the vendor counted them last."""
        return sum(self._totals.values())

    @property
    def changes(self) -> int:
        """How many replies showed that invoices had been added, removed or moved since the reply before."""
        return self._changes + self._reader.changes

    @property
    def cursor(self) -> str:
        """The place behind the latest invoice, as text, from which a later walk can go on.

        That walk may leave out invoices that are added or changed before it begins, but no others. If the latest twenty
        invoices have all been removed by then, it reads their part of the ledger from the beginning.
        """
        reader, ready = self._reader, len(self._ready)
        state = _Cursor(sorted(self._kinds), list(self._parts))
        if (ready or not reader.is_read) and not reader.at_beginning_again:
            state.position, state.total, state.latest = (
                max(0, reader.position - ready),
                reader.total,
                reader.latest(ready),
            )
        else:
            state.parts = state.parts[1:]
        return msgspec.json.encode(state).decode()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LedgerInvoice:
        while True:
            while self._ready:
                invoice = self._ready.popleft()
                if not self._kinds or not self._kinds.isdisjoint({invoice.kind.value, invoice.object_id}):
                    return invoice
            # One page at a time, however many tasks iterate.
            async with self._reading:
                if not self._ready:
                    await self._read_on()

    async def _read_on(self) -> None:
        if self._reader.is_read:
            self._parts.popleft()
            self._changes += self._reader.changes
            self._reader = ListReader()
        if not self._parts:
            raise StopAsyncIteration
        part, reader, page = self._parts[0], self._reader, self._reader.next_page
        invoices = await self._fetch(part, page)
        if invoices is None:
            reader.is_read = True
            return
        # An entry without an ID has its content as its key.
        keys = [invoice.id or invoice.raw.decode(errors="replace") for invoice in invoices]
        self._ready.extend(reader.take(page, invoices, keys))
        self._totals[part] = reader.total or 0


def _beginning(kinds: Collection[InvoiceKind | str] | None) -> _Cursor:
    if kinds is None:
        return _Cursor([], list(OBJECTS))
    if isinstance(kinds, str) or not isinstance(kinds, Collection):
        raise ConfigError("kinds must be several kinds of invoices, not one")
    wanted = [_checked_kind(kind) for kind in kinds]
    parts = {name if name in OBJECTS else InvoiceKind(name).object_id for name in wanted}
    return _Cursor(wanted, [part for part in OBJECTS if part in parts])


def _checked_kind(kind: object) -> str:
    """Return the name of a part of the ledger, or that of a kind of VAT invoices within its part."""
    if kind in OBJECTS:
        return OBJECTS[OBJECTS.index(str(kind))]
    known = InvoiceKind(kind) if isinstance(kind, str) else InvoiceKind.UNKNOWN
    if known.object_id is None:
        raise ConfigError(f"the ledger has no invoices of the kind {str(kind)[:80]!r}")
    return known.value if known.object_id == "invoice" and known is not InvoiceKind.VAT_INVOICE else known.object_id


def _parsed(cursor: str) -> _Cursor:
    try:
        state = msgspec.json.decode(cursor, type=_Cursor)
    except (msgspec.MsgspecError, TypeError, UnicodeError):
        raise ConfigError("this is not a cursor of `ledger()`") from None
    for kind in state.kinds:
        _checked_kind(kind)
    if (
        len(set(state.parts)) < len(state.parts)
        or not set(state.parts) <= set(OBJECTS)
        or not 0 <= state.position < 10**9
    ):
        raise ConfigError("this is not a cursor of `ledger()`")
    return state
