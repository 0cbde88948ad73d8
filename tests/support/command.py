"""Running the command `ekb`, in this process or in one of its own.

A separate process shows everything that a shell sees, and takes a third of a second to start. In this process a command
does and prints the same.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

import ekb_async
from ekb_async.cli import main
from ekb_async.cli.language import use_language, wanted_language
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Replay, Sandbox
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


def environment(box: Sandbox | Replay | None, **more: str) -> dict[str, str]:
    """Return the environment of a child process: the path of this package, and the keys of a sandbox."""
    ours = ("EKB_", "PYTHON")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) or name in {"EKB_STATE_DIR", *ENVIRONMENT}
    }
    kept["EKB_LANG"] = "en"
    kept["PYTHONPATH"] = str(Path(ekb_async.__file__).parents[1])
    if box is not None:
        kept["EKB_BASE_URL"] = box.base_url
        kept["EKB_APP_KEY"] = box.credentials.app_key
        kept["EKB_APP_SECURITY"] = box.credentials.app_security
    return kept | more


async def start(*arguments: str | Path, box: Sandbox | Replay | None, **more: str) -> asyncio.subprocess.Process:
    """Start the command in a process."""
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *map(str, arguments),
        env=environment(box, **more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finished(process: asyncio.subprocess.Process) -> Finished:
    """Wait until the command has ended. It must not end in a traceback."""
    output, messages = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in messages, messages.decode()
    return Finished(process.returncode, output, messages.decode())


async def ekb_process(*arguments: str | Path, box: Sandbox | Replay | None = None, **more: str) -> Finished:
    """Run the command to its end in a separate process."""
    return await finished(await start(*arguments, box=box, **more))


async def ekb(*arguments: str | Path, box: Sandbox | Replay | None = None, **more: str) -> Finished:
    """Run the command to its end in a thread of this process. It must not end in a traceback."""
    return await asyncio.to_thread(_run_here, [*map(str, arguments)], environment(box, **more))


def _run_here(arguments: list[str], variables: dict[str, str]) -> Finished:
    status, output, messages = _run_main("utf-8", arguments, variables)
    return Finished(status, output, messages.decode())


async def ekb_writing(
    encoding: str, *arguments: str | Path, box: Sandbox | Replay | None = None
) -> tuple[int, bytes, bytes]:
    """Run the command with streams of an encoding; return its status, standard output and standard error."""
    return await asyncio.to_thread(_run_main, encoding, [*map(str, arguments)], environment(box))


def _run_main(encoding: str, arguments: list[str], variables: dict[str, str]) -> tuple[int, bytes, bytes]:
    # It replaces the standard streams and the environment of the whole process.
    output, messages = io.BytesIO(), io.BytesIO()
    streams: dict[str, Any] = {
        "stdin": io.TextIOWrapper(io.BytesIO()),
        "stdout": io.TextIOWrapper(output, encoding=encoding, write_through=True),
        "stderr": io.TextIOWrapper(messages, encoding=encoding, write_through=True),
        "argv": ["ekb", *arguments],
    }
    with _one_at_a_time, patch.dict(os.environ, variables, clear=True), patch.multiple(sys, **streams):
        _translate_titles(arguments)
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0), output.getvalue(), messages.getvalue()
    raise AssertionError("the command has not ended")


def _translate_titles(arguments: list[str]) -> None:
    """Let Typer translate its titles again: it does so once in a process, where tests use two languages."""
    with suppress(ConfigError):
        use_language(wanted_language(arguments))
    if (titles := sys.modules.get("typer.rich_utils")) is not None:
        importlib.reload(titles)
