"""Reading the calls that have ended, in an order in which none is missed and none comes twice.

A call that ends gets the number of its transaction (in a file, the count of its changes). Transactions of a database
end in another order than they began, so calls are read up to a horizon only: the oldest transaction in progress. What
is below it does not change any more, except that a call which is made again goes to the end of the order.

A position says after which call to go on. Numbers of transactions begin anew in a database that was restored from a
dump, or on a standby that lacked the last ones. A position above all numbers shows that, and then its time counts.
"""

from __future__ import annotations

from typing import NamedTuple

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.errors import ConfigError
from ekb_async.storage.statements import Statements

_MILLISECONDS = 1_000


class Position(NamedTuple):
    """A place between two calls in the order in which they end: behind this one.

    `ended_at` is the time of the call in epoch seconds. With `since`, calls are left out that ended before that.
    """

    ended_in: int
    call_id: int
    ended_at: float
    since: float | None = None

    def text(self, store: CallStore) -> str:
        """Return the position as a short text."""
        times = (self.ended_at, *([] if self.since is None else [self.since]))
        numbers = (self.ended_in, self.call_id, *(int(each * _MILLISECONDS) for each in times))
        return ".".join([_letter(store), *map(str, numbers)])

    @classmethod
    def parse(cls, store: CallStore, text: str) -> Position:
        """Return the position of a text. Raises `ConfigError` for another text, or that of another kind of backlog."""
        letter, *parts = text.split(".") if isinstance(text, str) else [""]
        are_numbers = all(each.isascii() and each.isdigit() for each in parts)
        if letter == _letter(store) and len(parts) in {3, 4} and are_numbers:
            ended_in, call_id, *times = map(int, parts)
            if max(ended_in, call_id) < 2**63:
                return cls(ended_in, call_id, *(each / _MILLISECONDS for each in times))
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
    """The first number that is not readable yet, and the first that no transaction has."""

    horizon: int
    latest: int
    is_behind: bool


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
    return Position(horizon.horizon, 0, store.clock())


async def position_since(store: CallStore, since: float) -> Position:
    """Return the position before the calls that have ended since a time."""
    await _latest(store)

    async def find(statements: Statements) -> int:
        horizon = (await _horizon(statements, store)).horizon
        return int(await statements.value(store.result_sql.FIRST_SINCE, since=since, horizon=horizon))

    return Position(await store.read(find), 0, since, since)


async def checked_position(store: CallStore, position: Position) -> Position:
    """Return a position, or where to go on instead if its number is that of another server."""
    if position.ended_in <= await _latest(store):
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
    values = {**position._asdict(), "horizon": horizon.horizon, "limit": limit}
    scanned = await statements.fetch_as(_Ended, sql.ENDED, **values)
    is_last = len(scanned) < limit
    since = position.since or 0.0
    wanted = [each for each in scanned if tenant in {None, each.tenant} and each.ended_at >= since]
    if len(wanted) > LIMITS.completions_per_page:
        wanted, is_last = wanted[: LIMITS.completions_per_page], False
        last: _Ended | None = wanted[-1]
    else:
        last = scanned[-1] if scanned else None
    ids = [_Wanted(each.call_id, each.ended_in) for each in wanted]
    # A call that is made again meanwhile is left out, and comes when it ends.
    calls = await statements.fetch_each(EndedCall, sql.READ_ENDED, ids)
    if last is not None:
        position = position._replace(ended_in=last.ended_in, call_id=last.call_id, ended_at=last.ended_at)
    if is_last and horizon.horizon > position.ended_in:
        # What was left out is not looked through again.
        position = position._replace(ended_in=horizon.horizon, call_id=0)
    return EndedPage(calls, position, is_last, bool(horizon.is_behind))


async def _horizon(statements: Statements, store: CallStore) -> _Horizon:
    (found,) = await statements.fetch_as(_Horizon, store.result_sql.HORIZON)
    return found


def _letter(store: CallStore) -> str:
    return "d" if store.file is None else "f"
