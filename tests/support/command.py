"""The command `ekb`, run here or in a process of its own.

A process shows all that a shell sees, and takes a second to start. What a command does and says is the same here.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
from typer.testing import CliRunner

import ekb_async
from ekb_async.cli import main
from ekb_async.cli.app import app
from ekb_async.sandbox import Sandbox
from tests.support.fast_times import ENVIRONMENT

PNG = b"\x89PNG\r\n\x1a\n"


_one_at_a_time = threading.Lock()

COMMAND = (sys.executable, "-X", "dev", "-W", "error", "-m", "ekb_async.cli")


class Finished(NamedTuple):
    """A command that has ended."""

    status: int
    output: bytes
    messages: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.output.splitlines()]


def environment(box: Sandbox | None, **more: str) -> dict[str, str]:
    """The child's environment: this package, and the keys of a sandbox."""
    ours = ("EKB_", "PYTHON")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) or name in {"EKB_STATE_DIR", *ENVIRONMENT}
    }
    kept["PYTHONPATH"] = str(Path(ekb_async.__file__).parents[1])
    if box is not None:
        kept["EKB_BASE_URL"] = box.base_url
        kept["EKB_APP_KEY"] = box.credentials.app_key
        kept["EKB_APP_SECURITY"] = box.credentials.app_security
    return kept | more


async def start(*arguments: str | Path, box: Sandbox | None, **more: str) -> asyncio.subprocess.Process:
    """The command, running."""
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *map(str, arguments),
        env=environment(box, **more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finished(process: asyncio.subprocess.Process) -> Finished:
    """The command, once it has ended; it never ends in a traceback."""
    output, messages = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in messages, messages.decode()
    return Finished(process.returncode, output, messages.decode())


async def ekb_process(*arguments: str | Path, box: Sandbox | None = None, **more: str) -> Finished:
    """Run the command to its end in a process of its own."""
    return await finished(await start(*arguments, box=box, **more))


async def ekb(*arguments: str | Path, box: Sandbox | None = None, **more: str) -> Finished:
    """Run the command to its end in a thread of this process; it never ends in a traceback."""
    return await asyncio.to_thread(_run_here, [*map(str, arguments)], environment(box, **more))


def _run_here(arguments: list[str], variables: dict[str, str]) -> Finished:
    # It takes the standard streams and the environment of the process for itself.
    with _one_at_a_time, patch.dict(os.environ, variables, clear=True):
        result = CliRunner().invoke(app, arguments, prog_name="ekb")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Finished(result.exit_code, result.stdout_bytes, result.stderr)


async def ekb_writing(encoding: str, *arguments: str | Path, box: Sandbox | None = None) -> tuple[int, bytes, bytes]:
    """Run the command with streams of that encoding; return its status, standard output and standard error."""
    return await asyncio.to_thread(_run_main, encoding, [*map(str, arguments)], environment(box))


def _run_main(encoding: str, arguments: list[str], variables: dict[str, str]) -> tuple[int, bytes, bytes]:
    output, messages = io.BytesIO(), io.BytesIO()
    streams: dict[str, Any] = {
        "stdout": io.TextIOWrapper(output, encoding=encoding, write_through=True),
        "stderr": io.TextIOWrapper(messages, encoding=encoding, write_through=True),
        "argv": ["ekb", *arguments],
    }
    with _one_at_a_time, patch.dict(os.environ, variables, clear=True), patch.multiple(sys, **streams):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0), output.getvalue(), messages.getvalue()
    raise AssertionError("the command has not ended")
