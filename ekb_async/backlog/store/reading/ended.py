"""Reading the calls that have ended, in an order in which none is missed and none comes twice.

A call that ends gets the number of its transaction (in a file, the count of its changes). Transactions of a database
end in another order than they began, so calls are read up to a horizon only: the oldest transaction in progress. What
is below it does not change any more, except that a call which is made again goes to the end of the order.

A position says after which call to go on. The present lies above calls that have ended and whose transactions are not
below the horizon, since any other program on the server may have begun one before them; the position names the
transactions that were in progress instead, so that those calls do not come. Numbers of transactions begin anew in a
database that was restored from a dump, or on a standby that lacked the last ones. A position above all numbers shows
that, and then its time counts.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.errors import ConfigError
from ekb_async.storage.statements import Statements

_MILLISECONDS = 1_000
_DIGITS = 19
"""Of the largest number that a database has."""


class Seen(NamedTuple):
    """The transactions that had ended at a moment: those below the latest, but for the ones in progress."""

    latest: int
    in_progress: tuple[int, ...]

    def includes(self, transaction: int) -> bool:
        """Return whether a transaction had ended."""
        return transaction < self.latest and transaction not in self.in_progress


class Position(NamedTuple):
    """A place between two calls in the order in which they end: behind this one.

    `ended_at` is the time of the call in epoch seconds. Calls are left out that ended before `since`, and those that
    ended in the transactions of `seen`.
    """

    ended_in: int
    call_id: int
    ended_at: float
    since: float | None = None
    seen: Seen | None = None

    @property
    def newest(self) -> int:
        """The largest number of a transaction that it names."""
        return self.ended_in if self.seen is None else max(self.ended_in, self.seen.latest)

    def leaves_out(self, ended_in: int, ended_at: float) -> bool:
        """Return whether a call behind this place does not come."""
        is_before = self.since is not None and ended_at < self.since
        return is_before or (self.seen is not None and self.seen.includes(ended_in))

    def moved(self, ended_in: int, call_id: int, ended_at: float) -> Position:
        """Return the position behind a later call."""
        seen = None if self.seen is None or ended_in >= self.seen.latest else self.seen
        return Position(ended_in, call_id, ended_at, self.since, seen)

    def text(self, store: CallStore) -> str:
        """Return the position as a text, which is short unless it has transactions in progress."""
        times = (self.ended_at, *([] if self.since is None else [self.since]))
        place = _joined(self.ended_in, self.call_id, *(int(each * _MILLISECONDS) for each in times))
        seen = "" if self.seen is None else f"-{_joined(self.seen.latest, *self.seen.in_progress)}"
        return f"{_letter(store)}.{place}{seen}"

    @classmethod
    def parse(cls, store: CallStore, text: str) -> Position:
        """Return the position of a text. Raises `ConfigError` for another text, or that of another kind of backlog."""
        place, dash, of_seen = text.partition("-") if isinstance(text, str) else ("", "", "")
        letter, *parts = place.split(".")
        transactions = of_seen.split(".") if dash else []
        if letter == _letter(store) and all(map(_is_number, (*parts, *transactions))):
            seen = Seen(int(transactions[0]), tuple(map(int, transactions[1:]))) if dash else None
            match [int(part) for part in parts]:
                case [ended_in, call_id, ended_at, *since] if max(ended_in, call_id) < 2**63 and len(since) < 2:
                    times = [each / _MILLISECONDS for each in (ended_at, *since)]
                    return cls(ended_in, call_id, times[0], times[1] if since else None, seen)
        raise ConfigError("after must be the cursor of a completion of this backlog")


class EndedCall(NamedTuple):
    """A call that has ended; `rows` is a JSON list with the number and the reference of each of its rows."""

    ended_in: int
    call_id: int
    tenant: str
    kind: str
    state: str
    attempts: int
    maybe_billed: int
    error_type: str
    error: str
    hint: str
    ended_at: float
    result: bytes | None
    source: str
    rows: str


class EndedPage(NamedTuple):
    """Calls that have ended, in order, and what comes after them."""

    calls: list[EndedCall]
    position: Position
    """Where to go on."""
    is_last: bool
    """Whether no further calls can be read at present."""
    is_behind: bool = False
    """Whether calls have ended that cannot be read before an older transaction ends."""


class _Horizon(NamedTuple):
    """The first number that is not readable yet, and the first that no transaction has.

    `in_progress` is a JSON list of the transactions between them that are in progress, None if they are not known.
    """

    horizon: int
    latest: int
    is_behind: bool
    in_progress: str | None


class _Ended(NamedTuple):
    ended_in: int
    call_id: int
    ended_at: float
    tenant: str


class _Wanted(NamedTuple):
    """A call, and the number with which it has ended, None for any."""

    call_id: int
    ended_in: int | None


async def present(store: CallStore) -> Position:
    """Return the position before the next call that ends."""
    horizon = await store.read(lambda statements: _horizon(statements, store))
    position = Position(horizon.horizon, 0, store.clock())
    if horizon.is_behind and horizon.in_progress is not None:
        in_progress = msgspec.json.decode(horizon.in_progress, type=tuple[int, ...])
        return position._replace(seen=Seen(horizon.latest, in_progress))
    return position


async def position_since(store: CallStore, since: float) -> Position:
    """Return the position before the calls that have ended since a time."""
    await _latest(store)

    async def find(statements: Statements) -> int:
        horizon = (await _horizon(statements, store)).horizon
        return int(await statements.value(store.result_sql.FIRST_SINCE, since=since, horizon=horizon))

    return Position(await store.read(find), 0, since, since)


async def checked_position(store: CallStore, position: Position) -> Position:
    """Return a position, or where to go on instead if its number is that of another server."""
    if position.newest <= await _latest(store):
        return position
    since = position.ended_at - LIMITS.completions_repeated_seconds
    return await position_since(store, max(since, position.since or 0.0))


async def _latest(store: CallStore) -> int:
    """Return the first number that no transaction has; calls with the numbers of another server lose these."""

    async def look(statements: Statements) -> tuple[int, bool]:
        latest = (await _horizon(statements, store)).latest
        return latest, bool(await statements.value(store.result_sql.IS_RESTORED))

    latest, is_restored = await store.read(look)
    if is_restored:
        forget = store.result_sql.FORGET_NUMBERS
        await store.change(lambda statements: statements.execute(forget))
    return latest


async def ended_page(store: CallStore, position: Position, tenant: str | None) -> EndedPage:
    """Return the next calls of a tenant, or of all, that have ended after a position."""
    return await store.read(lambda statements: _page(statements, store, position, tenant))


async def ended_calls(store: CallStore, call_ids: list[int]) -> list[EndedCall]:
    """Return those of the calls that have ended."""
    wanted = [_Wanted(call_id, None) for call_id in call_ids]
    return await store.read(lambda statements: statements.fetch_each(EndedCall, store.result_sql.READ_ENDED, wanted))


async def _page(statements: Statements, store: CallStore, position: Position, tenant: str | None) -> EndedPage:
    sql = store.result_sql
    horizon = await _horizon(statements, store)
    limit = LIMITS.completions_per_page if tenant is None else LIMITS.completions_scanned
    place = {"ended_in": position.ended_in, "call_id": position.call_id}
    scanned = await statements.fetch_as(_Ended, sql.ENDED, **place, horizon=horizon.horizon, limit=limit)
    is_last = len(scanned) < limit
    wanted = [
        each
        for each in scanned
        if tenant in {None, each.tenant} and not position.leaves_out(each.ended_in, each.ended_at)
    ]
    if len(wanted) > LIMITS.completions_per_page:
        wanted, is_last = wanted[: LIMITS.completions_per_page], False
        last: _Ended | None = wanted[-1]
    else:
        last = scanned[-1] if scanned else None
    ids = [_Wanted(each.call_id, each.ended_in) for each in wanted]
    # A call that is made again meanwhile is left out, and comes when it ends.
    calls = await statements.fetch_each(EndedCall, sql.READ_ENDED, ids)
    if last is not None:
        position = position.moved(last.ended_in, last.call_id, last.ended_at)
    if is_last and horizon.horizon > position.ended_in:
        # What was left out is not looked through again.
        position = position.moved(horizon.horizon, 0, position.ended_at)
    return EndedPage(calls, position, is_last, bool(horizon.is_behind))


async def _horizon(statements: Statements, store: CallStore) -> _Horizon:
    (found,) = await statements.fetch_as(_Horizon, store.result_sql.HORIZON)
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def _joined(*numbers: int) -> str:
    return ".".join(map(str, numbers))


def _letter(store: CallStore) -> str:
    return "d" if store.file is None else "f"
