"""Arguments and options that several commands of `ekb backlog` have, and opening a backlog that must exist."""

from __future__ import annotations

import enum
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from ekb_async.backlog import Backlog, BacklogTiming
from ekb_async.backlog.store.places import exists, open_store
from ekb_async.cli.location import Location
from ekb_async.errors import ConfigError

Kind = enum.StrEnum("Kind", ["OCR", "VERIFY", "VERIFY_BY_ID", "VERIFY_BY_FIELDS", "URL", "DETAIL", "DOWNLOAD"])
State = enum.StrEnum("State", ["PENDING", "RUNNING", "DONE", "FAILED"])

Database = Annotated[
    str,
    typer.Argument(
        metavar="DB",
        help="The backlog: a file, or postgresql://user@host/database with the password in PGPASSWORD.",
    ),
]
OcrRate = Annotated[float, typer.Option(help="OCR calls started per second.")]
VerifyRate = Annotated[float, typer.Option(help="Verification calls started per second.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Only rows of this tenant.")]
Ref = Annotated[str | None, typer.Option("--ref", metavar="REF", help="Only rows with this reference.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only calls that ended since then: 30m, 2d, 2026-11-28."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


async def check_exists(place: Location) -> None:
    """Raise `ConfigError` if there is no such backlog."""
    if not await exists(place.where):
        raise ConfigError(f"{place}: there is no such backlog; make one with: ekb backlog add {place} SOURCE")


@asynccontextmanager
async def existing(place: Location) -> AsyncIterator[Backlog]:
    """Open a backlog. Raises `ConfigError` if there is none."""
    await check_exists(place)
    async with Backlog.open(place.where) as backlog:
        yield backlog


@asynccontextmanager
async def looked_at(place: Location, timing: BacklogTiming | None = None) -> AsyncIterator[Backlog]:
    """Open a backlog without creating, upgrading or locking anything.

    Raises `ConfigError` if there is none, `StorageError` if it is of another version.
    """
    if place.dsn is None:
        await check_exists(place)
    timing = timing or BacklogTiming.from_env()
    store = await open_store(place.where, timing, time.time, read_only=True)
    try:
        yield Backlog(store, timing)
    finally:
        await store.close()
