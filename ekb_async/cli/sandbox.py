"""`ekb sandbox`: a local stand-in for the vendor, to try a program without an account."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ekb_async.cli.output import need_output, say
from ekb_async.cli.runner import ExitStatus, finish
from ekb_async.sandbox import Sandbox

ReplayDir = Annotated[
    Path | None, typer.Option("--replay", metavar="DIR", help="Answer as a bundle of `ekb doctor --capture` records.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 selects a free one.")]


def sandbox(port: Port = 0, replay: ReplayDir = None) -> None:
    """Run a local stand-in for the vendor, with a few records, until Ctrl-C. Its keys are not secret."""
    finish(_serve(port, replay))


async def _serve(port: int, bundle: Path | None) -> ExitStatus:
    # These take time to load, and few commands need them.
    from ekb_async.sandbox import Replay
    from ekb_async.sandbox.samples import add_samples

    need_output()
    async with Sandbox(port=port) if bundle is None else Replay(bundle, port=port) as box:
        if isinstance(box, Sandbox):
            add_samples(box.vendor, time.time())
        exports = {
            "EKB_BASE_URL": box.base_url,
            "EKB_APP_KEY": box.credentials.app_key,
            "EKB_APP_SECURITY": box.credentials.app_security,
        }
        say(f"The sandbox listens at {box.base_url} until Ctrl-C. For a program in another terminal:\n")
        for name, value in exports.items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
    return ExitStatus.OK
