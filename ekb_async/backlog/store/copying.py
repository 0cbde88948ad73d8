"""Copying a backlog into another one, also between a file and a database.

The source is read page by page while no run can begin on it. Its contents are collected in temporary tables beside the
target, and one transaction merges them. Manifests are identified by path and time of adding, so what was copied before
is not added again; nor is a row that is present already, by the same rule as in `adding`. If both backlogs have a call,
its rows are joined and the better state counts: done before failed before pending. Attempts are added up, except that
the greater number counts for a call that was copied before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from ekb_async.config import Priority
from ekb_async.errors import ConfigError

AT_WORK = "a run is at work on it; copy it when it has ended"


class KeptManifest(NamedTuple):
    """A manifest as it is stored."""

    id: int
    path: str
    columns: str
    added_at: float


class KeptCall(NamedTuple):
    """A call as it is stored."""

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
    """A row as it is stored."""

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
    """The result of a copy: added `manifests`, `rows` and `calls`, and calls `joined` with one of the target."""

    manifests: int
    rows: int
    calls: int
    joined: int


class Reader(Protocol):
    """A backlog that does not change while it is read; each method returns the page after the ID `after`, by ID."""

    async def manifests(self, after: int) -> list[KeptManifest]: ...

    async def calls(self, after: int) -> list[KeptCall]: ...

    async def rows(self, after: int) -> list[KeptRow]: ...


class Merger(Protocol):
    """A collector of manifests, calls and rows, which are merged into a backlog at the end."""

    async def add_manifests(self, manifests: Sequence[KeptManifest]) -> None: ...

    async def add_calls(self, calls: Sequence[KeptCall]) -> None: ...

    async def add_rows(self, rows: Sequence[KeptRow]) -> None: ...

    async def finish(self) -> CopyReport:
        """Merge everything that was added, or nothing."""
        ...


class Copied(Protocol):
    """A store that can be copied, and copied into."""

    def reading(self) -> AbstractAsyncContextManager[Reader]:
        """Settle dead runs and prevent others from beginning. Raises `BacklogBusyError` if a run is at work."""
        ...

    def merging(self) -> AbstractAsyncContextManager[Merger]:
        """Start with an empty merger, and remove its temporary tables at the end."""
        ...


async def copy(source: Copied, target: Copied) -> CopyReport:
    """Copy a whole backlog, or nothing. Raises `BacklogBusyError` if a run is at work on it, `ConfigError` if both
    are the same."""
    if source is target:
        raise ConfigError("a backlog cannot be copied into itself")
    async with source.reading() as reader, target.merging() as merger:
        await _copy_pages(reader.manifests, merger.add_manifests)
        await _copy_pages(reader.calls, merger.add_calls)
        await _copy_pages(reader.rows, merger.add_rows)
        return await merger.finish()


async def _copy_pages(
    read: Callable[[int], Awaitable[list[Kept]]], add: Callable[[Sequence[Kept]], Awaitable[None]]
) -> None:
    last = 0
    while page := await read(last):
        await add(page)
        last = page[-1].id
