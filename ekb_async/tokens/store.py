"""Stores of access tokens, through which all users of the same keys share one token.

A `TokenStore` is this process (`ProcessTokens`), a file that all processes of a user share (`ekb_async.tokens.sqlite`),
or a database that hosts share (`ekb_async.tokens.postgres`). Its entry of one enterprise contains one token. A session
that needs a new token locks the entry, checks whether another session has stored one meanwhile, and only then requests
one from the vendor: so N processes make one request. The lock ends with its process or connection, for whatever reason
that ends. If the holder of a lock hangs, the others wait as long as their patience, and then each fetches its own
token.

A token carries a generation, which distinguishes the token that the vendor refused from its successor.

Processes do not agree on the time: each has a loop clock of its own, and the wall clock of a host may be hours off
until the vendor's first answer. So moments are passed to and from a store as seconds from now. The store keeps them as
epoch seconds on one clock, that of its machine or database.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, runtime_checkable


class TokenStoreError(Exception):
    """Raised if a store cannot be used, or if its entry stays locked. The text contains no secret."""


@dataclasses.dataclass(frozen=True, slots=True)
class SharedToken:
    """An access token that processes share; moments are seconds from now. The `repr` shows no secret."""

    value: str = dataclasses.field(repr=False)
    refresh: str = dataclasses.field(repr=False)
    generation: int
    """How many tokens have been written to the entry, this one included."""
    issued: float
    renew_from: float
    unusable_from: float


class LockedEntry(Protocol):
    """An entry that no other session can change."""

    async def read(self) -> SharedToken | None:
        """Return the token; None if there is none that can be read. Raises `TokenStoreError`."""
        ...

    async def write(self, token: SharedToken) -> None:
        """Store a token, which all sessions see at once. This may end the lock. Raises `TokenStoreError`."""
        ...


class TokenEntry(Protocol):
    """The entry of one enterprise's token, for one session, which closes it."""

    async def read(self) -> SharedToken | None:
        """Return the token, locked or not; None if there is none that can be read. Raises `TokenStoreError`."""
        ...

    def lock(self, patience: float) -> AbstractAsyncContextManager[LockedEntry]:
        """Lock the entry, waiting up to `patience` seconds for its release.

        Raises `TokenStoreError` when the context is entered, never when it is left.
        """
        ...

    async def close(self) -> None:
        """Release what the store keeps open for this entry. Only after all other calls have ended."""
        ...


@runtime_checkable
class TokenStore(Protocol):
    """A store of tokens, for any number of sessions of one event loop."""

    def entry(self, key: str, secret: str) -> TokenEntry:
        """Return the entry of the enterprise with this key; `secret` is its app secret. Does no I/O.

        `key` is a hexadecimal digest that reveals neither platform nor app key.
        """
        ...


class ProcessTokens:
    """A store within one process: sessions that get the same instance share their tokens."""

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
        self._stored_at = 0.0

    async def read(self) -> SharedToken | None:
        return (
            None if self._token is None else shifted(self._token, self._stored_at - asyncio.get_running_loop().time())
        )

    async def write(self, token: SharedToken) -> None:
        self._token, self._stored_at = token, asyncio.get_running_loop().time()

    @asynccontextmanager
    async def lock(self, patience: float) -> AsyncGenerator[LockedEntry]:
        try:
            async with asyncio.timeout(patience):
                await self._lock.acquire()
        except TimeoutError:
            raise locked_too_long(patience) from None
        try:
            yield self
        finally:
            self._lock.release()

    async def close(self) -> None:
        """Do nothing: other sessions may use this entry."""


def shifted(token: SharedToken, seconds: float) -> SharedToken:
    """Return the token with its moments so many seconds later."""
    return dataclasses.replace(
        token,
        issued=token.issued + seconds,
        renew_from=token.renew_from + seconds,
        unusable_from=token.unusable_from + seconds,
    )


def locked_too_long(patience: float) -> TokenStoreError:
    """Return the error for an entry that another session did not unlock within `patience` seconds."""
    return TokenStoreError(f"another session has been fetching a token for more than {patience:g} s")
