"""`ekb backlog estimate`: what a run would do, and what is billed of it, before anything is sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import msgspec

from ekb_async import SessionConfig
from ekb_async.backlog import Backlog, Estimate
from ekb_async.cli.backlog.options import AsJson, Database, OcrRate, VerifyRate, existing
from ekb_async.cli.backlog.showing.status import kinds_text
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location
from ekb_async.cli.output import need_output, write_line
from ekb_async.cli.progress import duration
from ekb_async.cli.runner import ExitStatus, message_of
from ekb_async.cli.sessions import open_session
from ekb_async.errors import EkbError
from ekb_async.i18n import message

_CHECKED = "checked"
_UNKNOWN = message("no credentials are in the environment")
_OF_TENANTS = "those of rows with a tenant are not"

_SAME_CONTENT = message("saved: the same file or ID as another row")
_SAME_INVOICE = message("saved: another file of the same invoice")
_HELD = message("rows held until a person resumes them")
_WAITING = message("of the rows wait for another day and are not among the calls")
_IN_LEDGER = message("of the billed calls can be looked up in the ledger first, which is free: run --ledger-first")
_RUNNING = message("of the calls are claimed by a run that is at work or was interrupted")
_REPEATED = message("of the billed calls were sent before without an answer, and may be billed again")


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
        write_line(
            msgspec.json.encode(
                {**msgspec.structs.asdict(found), "billed": found.billed, "buyers": texts.rendered(buyers)}
            )
        )
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
        yield texts("Buyers were compared with the enterprise's own names; those of rows with a tenant are not.")
    elif buyers != _CHECKED:
        yield texts("Buyers were not compared with the enterprise's own names: {reason}", reason=texts.rendered(buyers))


def _lines(found: Estimate, place: Location, config: SessionConfig) -> Iterator[str]:
    yield texts("{count:>12,} row to do", "{count:>12,} rows to do", count=found.rows)
    yield _billed_calls(found)
    if found.free:
        yield texts(
            "{count:>12,} free call: {kinds} (look-ups and downloads are not billed)",
            "{count:>12,} free calls: {kinds} (look-ups and downloads are not billed)",
            count=sum(found.free.values()),
            kinds=kinds_text(found.free),
        )
    for count, english in (
        (found.same_content, _SAME_CONTENT),
        (found.same_invoice, _SAME_INVOICE),
        (found.waiting, _WAITING),
        (found.held, _HELD),
        (found.in_ledger, _IN_LEDGER),
        (found.running, _RUNNING),
        (found.repeated, _REPEATED),
    ):
        if count:
            yield f"{count:>12,} {texts.rendered(english)}"
    if found.warnings:
        yield texts(
            "{count:>12,} of the rows have a warning: ekb backlog list {place} --warnings",
            count=found.warnings,
            place=place,
        )
    if found.billed:
        yield texts(
            "The billed calls take about {duration} at {ocr} OCR and {verify} verification calls per second; each kind "
            "has its own rate.",
            duration=duration(found.seconds),
            ocr=f"{config.ocr_rate:,.10g}",
            verify=f"{config.verify_rate:,.10g}",
        )


def _billed_calls(found: Estimate) -> str:
    if not found.billed:
        return texts("{count:>12,} billed calls: no row needs one", count=0)
    return texts(
        "{count:>12,} billed call: {kinds}",
        "{count:>12,} billed calls: {kinds}",
        count=found.billed,
        kinds=kinds_text(found.calls),
    )


def _failed_lines(failed: int, place: Location) -> Iterator[str]:
    if failed:
        yield texts(
            "{count:>12,} row failed and is not made again without: ekb backlog retry {place}",
            "{count:>12,} rows failed and are not made again without: ekb backlog retry {place}",
            count=failed,
            place=place,
        )
