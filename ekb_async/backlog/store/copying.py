"""Copying a backlog into another one, also from one kind of home to the other.

What is copied is read page by page while no run can begin on it, put aside beside the other backlog, and taken into it
by one transaction. Manifests are known by their path and the moment they were added, so what has been copied before is
not added again; nor is a row that is there already for the same reason as when it is added (see `adding`). Where both
know a call, its rows come together and the better state counts: done before failed before pending. Attempts are added
up; of a call that was copied before, the greater number counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from ekb_async.config import Priority
from ekb_async.errors import ConfigError

PAGE = 500
"""How many are read at a time."""

TABLES = ("manifest", "call", "row")
"""What a backlog consists of, in the order in which it is copied."""

AT_WORK = "a run is at work on it; copy it when it has ended"


class KeptManifest(NamedTuple):
    """A manifest as it is kept."""

    id: int
    path: str
    columns: str
    added_at: float


class KeptCall(NamedTuple):
    """A call as it is kept."""

    id: int
    tenant: str
    identity: str
    kind: str
    state: str
    row_id: int
    attempts: int
    maybe_billed: int
    ended_at: float | None
    error_type: str
    error: str
    hint: str
    result: bytes | None
    priority: int = Priority.NORMAL


class KeptRow(NamedTuple):
    """A row as it is kept."""

    id: int
    call_id: int
    manifest_id: int
    line: int
    start: int | None
    length: int | None
    ref: str
    file: str
    invoice_id: str
    staff_id: str
    file_name: str


Kept = TypeVar("Kept", KeptManifest, KeptCall, KeptRow)


class CopyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy has brought: `manifests`, `rows` and `calls` that were not there, and calls that were, `joined`."""

    manifests: int
    rows: int
    calls: int
    joined: int


class Reader(Protocol):
    """A backlog that does not change while it is read, in the order of the numbers behind `after`."""

    async def manifests(self, after: int) -> list[KeptManifest]: ...

    async def calls(self, after: int) -> list[KeptCall]: ...

    async def rows(self, after: int) -> list[KeptRow]: ...


class Merger(Protocol):
    """Puts aside what is to come into a backlog, and takes it in."""

    async def add_manifests(self, manifests: Sequence[KeptManifest]) -> None: ...

    async def add_calls(self, calls: Sequence[KeptCall]) -> None: ...

    async def add_rows(self, rows: Sequence[KeptRow]) -> None: ...

    async def finish(self) -> CopyReport:
        """Takes in all that was added, or nothing."""
        ...


class Copied(Protocol):
    """A home that can be copied, and copied into."""

    def reading(self) -> AbstractAsyncContextManager[Reader]:
        """Settles what dead runs have left, and lets no run begin. Raises `ConfigError` if one is at work."""
        ...

    def merging(self) -> AbstractAsyncContextManager[Merger]:
        """Begins with nothing put aside, and leaves nothing behind."""
        ...


async def copy(source: Copied, target: Copied) -> CopyReport:
    """Copies all of a backlog, or nothing. Raises `ConfigError` if a run is at work on it or both are the same."""
    if source is target:
        raise ConfigError("a backlog cannot be copied into itself")
    async with source.reading() as reader, target.merging() as merger:
        await _pass_on(reader.manifests, merger.add_manifests)
        await _pass_on(reader.calls, merger.add_calls)
        await _pass_on(reader.rows, merger.add_rows)
        return await merger.finish()


async def _pass_on(
    read: Callable[[int], Awaitable[list[Kept]]], add: Callable[[Sequence[Kept]], Awaitable[None]]
) -> None:
    last = 0
    while page := await read(last):
        await add(page)
        last = page[-1].id
