"""`ekb backlog run`: make the pending calls, and say at the end what was done."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ekb_async import EkbSession, SessionConfig
from ekb_async.cli.backlog.options import Database, OcrRate, VerifyRate, existing
from ekb_async.cli.backlog.running.bounds import LedgerFirst, MaxCalls, RunBounds, Until, moment
from ekb_async.cli.backlog.running.ending import ending_lines
from ekb_async.cli.backlog.running.progress import RunProgress
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import say
from ekb_async.cli.progress import display
from ekb_async.cli.runner import ExitStatus, Interruption, finish
from ekb_async.cli.sessions import open_session, tenant_sessions
from ekb_async.errors import ConfigError
from ekb_async.session.tenants import TenantSessions

Tenants = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The tenants' accounts, as TOML or JSON. See docs/en/scaling.md."),
]
FilesDirectory = Annotated[
    Path | None, typer.Option("--files", metavar="DIR", help="Folder for the files of download rows.")
]
HoldUnknown = Annotated[
    bool,
    typer.Option("--hold-unknown", help="Let a row fail instead of repeating a billed call whose answer was lost."),
]


def run(
    db: Database,
    ocr_rate: OcrRate = 1.0,
    verify_rate: VerifyRate = 1.0,
    files: FilesDirectory = None,
    tenants: Tenants = None,
    hold_unknown: HoldUnknown = False,
    ledger_first: LedgerFirst = False,
    max_calls: MaxCalls = None,
    until: Until = None,
) -> None:
    """Make the pending calls. OCR and verification are billed."""
    place = Location(db)
    rates = {f"--{kind}-rate": f"{rate:g}" for kind, rate in (("ocr", ocr_rate), ("verify", verify_rate)) if rate != 1}
    options: dict[str, object] = {**rates, "--files": files, "--tenants": tenants}
    given = [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    command = " ".join([f"ekb backlog run {place}", *given, *(["--hold-unknown"] if hold_unknown else [])])
    settings = {"ocr_rate": ocr_rate, "verify_rate": verify_rate, "repeat_unknown": not hold_unknown}
    bounds = RunBounds(ledger_first, max_calls, until)
    interruption = Interruption(
        texts(
            "Nothing that was answered is lost. Go on with: {command}",
            command=" ".join([command, *bounds.arguments()]),
        )
    )
    finish(_run(place, files, tenants, interruption, bounds, command, **settings), interruption)


async def _run(
    place: Location,
    files: Path | None,
    tenants: Path | None,
    interruption: Interruption,
    bounds: RunBounds,
    command: str,
    **settings: Any,
) -> ExitStatus:
    check_files(files, tenants)
    until = None if bounds.until is None else moment(bounds.until)
    # Calls in progress are paid for, so closing waits as long as an attempt may take, and for its record.
    config = SessionConfig(**settings)
    config = msgspec.structs.replace(config, close_timeout=config.request_timeout + LIMITS.record_seconds)
    async with existing(place) as backlog:
        if tenants is None and any(each.tenant for each in await backlog.tenants()):
            raise ConfigError("rows have a tenant: give the tenants' accounts with --tenants FILE")
        async with await _sessions(place, tenants, config) as sessions:
            interruption.break_off = backlog.break_off
            try:
                with display(texts("backlog"), stays=True) as screen:
                    summary = await backlog.run(
                        sessions,
                        progress=RunProgress(screen, place),
                        files=files,
                        ledger_first=bounds.ledger_first,
                        max_calls=bounds.max_calls,
                        until=until,
                    )
            finally:
                interruption.broken_off = backlog.broken_off
    for line in ending_lines(place, summary, has_directory=files is not None):
        say(line)
    for line in bounds.lines(summary, until, command):
        say(line)
    return ExitStatus.SOME_FAILED if summary.counts["failed"] else ExitStatus.OK


async def _sessions(place: Location, tenants: Path | None, config: SessionConfig) -> EkbSession | TenantSessions:
    if tenants is None:
        return open_session(config, dsn=place.dsn)
    return await tenant_sessions(tenants, config, dsn=place.dsn)
