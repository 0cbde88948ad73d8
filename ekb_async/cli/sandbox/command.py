"""The command `ekb sandbox`."""

from __future__ import annotations

import asyncio
import errno
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ekb_async.cli.output import need_output
from ekb_async.cli.people import staff_id_argument
from ekb_async.cli.runner import ExitStatus, finish
from ekb_async.cli.sandbox import said
from ekb_async.cli.sandbox.settings import DEFAULT, FEATURES, Settings, faults_of, features_of, rate_of
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.loopback import LoopbackServer, OnAnswer
from ekb_async.sandbox.samples import add_samples

Server = TypeVar("Server", bound=LoopbackServer)

ReplayDir = Annotated[
    Path | None, typer.Option("--replay", metavar="DIR", help="Answer as a bundle of `ekb doctor --capture` records.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 selects a free one.")]
OcrRate = Annotated[str, typer.Option(metavar="RATE", help="OCR calls allowed per second; off for any number.")]
VerifyRate = Annotated[
    str, typer.Option(metavar="RATE", help="Calls of each kind of verification allowed per second; off for any number.")
]
Latency = Annotated[float, typer.Option(metavar="SECONDS", min=0, max=3600, help="How long a paid call takes.")]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="ocr|verify", help="A feature that the enterprise has no permission for."),
]
RefuseKeys = Annotated[bool, typer.Option("--refuse-keys", help="Refuse the keys that are printed.")]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="KIND=SHARE",
        help="Let a share of the paid calls fail, such as lost=1%. Kinds: recognition, provider, throttled, busy, 500,"
        " gateway, slow, garbage, cut, lost, reset. Repeatable.",
    ),
]
StaffOption = Annotated[
    list[str] | None, typer.Option("--staff", metavar="ID", help="Another person who may verify. Repeatable.")
]
Log = Annotated[bool, typer.Option("--log", help="Write a line for each request to standard error.")]


def sandbox(
    port: Port = 0,
    replay: ReplayDir = None,
    ocr_rate: OcrRate = "1",
    verify_rate: VerifyRate = "1",
    latency: Latency = 0.0,
    without: Without = None,
    refuse_keys: RefuseKeys = False,
    fault: FaultOption = None,
    staff: StaffOption = None,
    log: Log = False,
) -> None:
    """Run a local stand-in for the vendor, with a few records, until Ctrl-C. Its keys are not secret."""

    async def serve() -> ExitStatus:
        need_output()
        settings = Settings(
            ocr_rate=rate_of("--ocr-rate", ocr_rate),
            verify_rate=rate_of("--verify-rate", verify_rate),
            latency=latency,
            without=features_of(without or ()),
            refuse_keys=refuse_keys,
            faults=faults_of(fault or ()),
            staff=tuple(map(staff_id_argument, staff or ())),
        )
        on_answer = said.log if log else None
        if replay is None:
            return await _simulate(settings, port, on_answer)
        if settings != DEFAULT:
            raise ConfigError("--replay answers as recorded, so only --port and --log go with it")
        return await _replay(replay, port, on_answer)

    finish(serve())


async def _simulate(settings: Settings, port: int, on_answer: OnAnswer | None) -> ExitStatus:
    box = Sandbox(
        port=port,
        on_answer=on_answer,
        latency=settings.latency,
        faults=[each.fault for each in settings.faults],
        ocr_rate=settings.ocr_rate,
        verify_rate=settings.verify_rate,
        permissions=set[str](FEATURES).difference(settings.without),
        staff=set(),
    )
    people = add_samples(box.vendor, time.time())
    for staff_id in settings.staff:
        box.vendor.add_staff(id=staff_id, name="")
        people.setdefault(staff_id, "")
    async with _open(box, port):
        said.introduce(box, box.credentials.app_key, box.credentials.app_security)
        if settings.refuse_keys:
            box.vendor.rules.app_security = secrets.token_urlsafe()
        said.describe(settings, box.vendor.rules, people)
        await asyncio.Event().wait()
    return ExitStatus.OK


async def _replay(bundle: Path, port: int, on_answer: OnAnswer | None) -> ExitStatus:
    from ekb_async.sandbox import Replay  # takes time to load, and few commands need it

    async with _open(Replay(bundle, port=port, on_answer=on_answer), port) as box:
        said.introduce(box, box.credentials.app_key, box.credentials.app_security)
        await asyncio.Event().wait()
    return ExitStatus.OK


@asynccontextmanager
async def _open(box: Server, port: int) -> AsyncIterator[Server]:
    """Open a server. Raises `ConfigError` if another program uses the port, or this user may not."""
    try:
        await box.__aenter__()
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        raise ConfigError(f"port {port} is taken or not allowed: give another one with --port, or 0") from None
    async with AsyncExitStack() as stack:
        stack.push_async_exit(box)
        yield box
