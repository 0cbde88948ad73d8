"""`ekb backlog estimate`: what a run would do, and what is billed of it, before anything is sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import msgspec

from ekb_async import SessionConfig
from ekb_async.backlog import Backlog, Estimate
from ekb_async.cli.backlog.options import AsJson, Database, OcrRate, VerifyRate, existing
from ekb_async.cli.location import Location
from ekb_async.cli.output import need_output, write_line
from ekb_async.cli.progress import duration
from ekb_async.cli.runner import ExitStatus, message_of
from ekb_async.cli.sessions import open_session
from ekb_async.errors import EkbError

_CHECKED = "checked"
_UNKNOWN = "no credentials are in the environment"
_OF_TENANTS = "those of rows with a tenant are not"


async def estimate(
    db: Database, ocr_rate: OcrRate = 1.0, verify_rate: VerifyRate = 1.0, as_json: AsJson = False
) -> ExitStatus:
    """Show what a run would do: the calls that are billed, free or saved, and how long they take.

    Nothing is sent, except that the enterprise's own names are asked for,
    which is free, if credentials are in the environment: rows whose file
    states another buyer get a warning.
    """
    need_output()
    place, config = Location(db), SessionConfig(ocr_rate=ocr_rate, verify_rate=verify_rate)
    async with existing(place) as backlog:
        buyers = await _check_buyers(backlog, place)
        found = await backlog.estimate(config)
        failed = (await backlog.counts())["failed"]
    if as_json:
        write_line(msgspec.json.encode({**msgspec.structs.asdict(found), "billed": found.billed, "buyers": buyers}))
    else:
        lines = (*_lines(found, place, config), *_failed_lines(failed, place), *_buyers_lines(buyers))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return ExitStatus.OK


async def _check_buyers(backlog: Backlog, place: Location) -> str:
    """Check the buyers that files state, and return `checked`, or why they were not."""
    if not (await backlog.estimate()).billed:
        return _CHECKED
    if not (
        os.environ.get("EKB_ACCESS_TOKEN") or (os.environ.get("EKB_APP_KEY") and os.environ.get("EKB_APP_SECURITY"))
    ):
        return _UNKNOWN
    try:
        async with open_session(dsn=place.dsn) as ekb:
            await backlog.check_buyers(ekb)
    except EkbError as error:
        return message_of(error)
    return _OF_TENANTS if any(each.tenant for each in await backlog.tenants()) else _CHECKED


def _buyers_lines(buyers: str) -> Iterator[str]:
    if buyers == _OF_TENANTS:
        yield f"Buyers were compared with the enterprise's own names; {buyers}."
    elif buyers != _CHECKED:
        yield f"Buyers were not compared with the enterprise's own names: {buyers}"


def _lines(found: Estimate, place: Location, config: SessionConfig) -> Iterator[str]:
    yield f"{found.rows:>12,} {'row' if found.rows == 1 else 'rows'} to do"
    yield _calls("billed", found.calls, "" if found.calls else "no row needs one")
    if found.free:
        yield _calls("free", found.free, " (look-ups and downloads are not billed)")
    for count, text in (
        (found.same_content, "saved: the same file or ID as another row"),
        (found.same_invoice, "saved: another file of the same invoice"),
        (found.waiting, "of the rows wait for another day and are not among the calls"),
        (
            found.in_ledger,
            "of the billed calls can be looked up in the ledger first, which is free: run --ledger-first",
        ),
        (found.running, "of the calls are claimed by a run that is at work or was interrupted"),
        (found.repeated, "of the billed calls were sent before without an answer, and may be billed again"),
        (found.warnings, f"of the rows have a warning: ekb backlog list {place} --warnings"),
    ):
        if count:
            yield f"{count:>12,} {text}"
    if found.billed:
        rates = f"{config.ocr_rate:g} OCR and {config.verify_rate:g} verification calls per second"
        yield f"The billed calls take about {duration(found.seconds)} at {rates}; each kind has its own rate."


def _failed_lines(failed: int, place: Location) -> Iterator[str]:
    if failed:
        yield f"{failed:>12,} failed and not made again without: ekb backlog retry {place}"


def _calls(what: str, calls: dict[str, int], why: str) -> str:
    total = sum(calls.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in calls.items())
    return f"{total:>12,} {what} {'call' if total == 1 else 'calls'}: {kinds}{why}"
