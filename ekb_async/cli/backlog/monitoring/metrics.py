"""`ekb backlog metrics`: the figures of a backlog for a monitoring system, to standard output or into a file."""

from __future__ import annotations

import asyncio
import enum
import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ekb_async.backlog import BacklogMetrics
from ekb_async.backlog.metrics.exposition import exposition
from ekb_async.backlog.metrics.limits import LIMITS
from ekb_async.cli.backlog.options import Database, looked_at
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import need_output, write_line
from ekb_async.cli.runner import ExitStatus
from ekb_async.errors import ConfigError
from ekb_async.storage.atomic_files import write_whole

_BEGINNINGS = (b"# HELP ekb_backlog_", b'{"backlog":')
_LONGEST = max(map(len, _BEGINNINGS))

Format = enum.StrEnum("Format", ["PROMETHEUS", "JSON"])

FormatOption = Annotated[Format, typer.Option("--format", help="Text for Prometheus, or one JSON object.")]
Output = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write this file instead, as a whole, such as for node_exporter: ekb.prom."),
]
Top = Annotated[
    int,
    typer.Option(min=1, max=LIMITS.most_top, help="Tenants that have series of their own; the rest are one series."),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the backlog in the label of all series; by default that of the file or database.",
    ),
]


async def metrics(
    db: Database,
    form: FormatOption = Format.PROMETHEUS,
    output: Output = None,
    top: Top = LIMITS.top,
    name: Name = None,
) -> ExitStatus:
    """Show figures for a monitoring system: what is pending and for how long, what failed, what works on it."""
    if output is None:
        need_output()
    place = Location(db)
    check_files(output)
    async with looked_at(place) as backlog:
        figures = await backlog.metrics(top)
    text = exposition(figures, name) if form is Format.PROMETHEUS else _json(figures, name)
    if output is None:
        write_line(text.removesuffix(b"\n"))
    else:
        await asyncio.to_thread(_write, output, text)
    return ExitStatus.OK


def _json(figures: BacklogMetrics, name: str | None) -> bytes:
    named = figures if name is None else msgspec.structs.replace(figures, backlog=name)
    return msgspec.json.encode(named) + b"\n"


def _write(path: Path, text: bytes) -> None:
    """Write the file. Raises `ConfigError` if it would replace something else than earlier figures."""
    path = path.resolve()
    if os.path.lexists(path):
        if not path.is_file():
            raise ConfigError(f"{path}: this is a directory or a device, no file")
        with path.open("rb") as file:
            if not file.read(_LONGEST).startswith(_BEGINNINGS):
                raise ConfigError(f"{path}: this file has no earlier metrics; choose another name")
    write_whole(path, text)
