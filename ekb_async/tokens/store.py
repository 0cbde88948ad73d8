"""Where access tokens are kept so that all who use the same keys share one.

A `TokenStore` is such a place: this process (`ProcessTokens`), a file that all processes of a user have
(`ekb_async.tokens.sqlite`), or a database that hosts have (`ekb_async.tokens.postgres`). Its shelf of one enterprise
holds one token. Whoever wants another one holds the shelf while asking the vendor for it, looks first whether somebody
else has put one there, and so N processes ask once. The hold ends with its process or connection, however that comes.
Who hangs with a shelf in hand holds the others up for as long as their patience, after which each helps itself.

A token carries a generation, by which the one that the vendor refused is told from the one that took its place.

Processes do not agree on the time: each has a loop clock of its own, and the wall clock of a host may be hours off
until the vendor's first answer. So moments come and go as seconds from now. A home keeps them as epoch seconds on one
clock, that of its machine or database.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, runtime_checkable


class TokenStoreError(Exception):
    """The store is out of reach, or somebody who hangs has it in hand. Its text holds no secret."""


@dataclasses.dataclass(frozen=True, slots=True)
class SharedToken:
    """An access token as processes share it; moments are seconds from now. The `repr` shows no secret."""

    value: str = dataclasses.field(repr=False)
    refresh: str = dataclasses.field(repr=False)
    generation: int
    """How many tokens have been put on the shelf up to this one."""
    issued: float
    renew_from: float
    unusable_from: float


class LockedEntry(Protocol):
    """A shelf that nobody else can change."""

    async def read(self) -> SharedToken | None:
        """The token on the shelf; None if there is none that can be read. Raises `TokenStoreError`."""
        ...

    async def write(self, token: SharedToken) -> None:
        """Puts a token on the shelf, for all to see at once; the shelf may be held no longer. Raises
        `TokenStoreError`.
        """
        ...


class TokenEntry(Protocol):
    """The place of one enterprise's token. Nothing stays open between its calls."""

    async def read(self) -> SharedToken | None:
        """The token on the shelf, held or not; None if there is none that can be read. Raises `TokenStoreError`."""
        ...

    def lock(self, patience: float) -> AbstractAsyncContextManager[LockedEntry]:
        """Waits up to `patience` seconds until nobody else holds the shelf, and holds it. Raises `TokenStoreError`
        on entry, never on leaving.
        """
        ...


@runtime_checkable
class TokenStore(Protocol):
    """Where tokens are kept; it may serve any number of sessions of one event loop."""

    def entry(self, key: str, secret: str) -> TokenEntry:
        """The shelf of the enterprise with this key, for those who know its app secret. Does no I/O.

        `key` is a hexadecimal digest from which neither platform nor app key can be read.
        """
        ...


class ProcessTokens:
    """The home within one process: the sessions that are given the same one share their tokens."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _ProcessEntry] = {}

    def __repr__(self) -> str:
        return f"<ProcessTokens of {len(self._entries)} enterprises>"

    def entry(self, key: str, secret: str) -> TokenEntry:
        return self._entries.setdefault((key, secret), _ProcessEntry())


class _ProcessEntry:
    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._token: SharedToken | None = None
        self._put = 0.0

    async def read(self) -> SharedToken | None:
        return None if self._token is None else moved(self._token, self._put - asyncio.get_running_loop().time())

    async def write(self, token: SharedToken) -> None:
        self._token, self._put = token, asyncio.get_running_loop().time()

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        try:
            async with asyncio.timeout(patience):
                await self._lock.acquire()
        except TimeoutError:
            raise held_too_long(patience) from None
        try:
            yield self
        finally:
            self._lock.release()


def moved(token: SharedToken, seconds: float) -> SharedToken:
    """The token with its moments so many seconds later."""
    return dataclasses.replace(
        token,
        issued=token.issued + seconds,
        renew_from=token.renew_from + seconds,
        unusable_from=token.unusable_from + seconds,
    )


def held_too_long(patience: float) -> TokenStoreError:
    return TokenStoreError(f"somebody has been fetching a token for more than {patience:g} s")
