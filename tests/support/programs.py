"""Programs that tests run in a directory, and wait for what they print."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ekb_async.sandbox import Sandbox
from tests.support.command import environment
from tests.support.waiting import DEADLINE


class Program:
    """A program that runs, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self._more:
                self.printed += line.decode()
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    async def has_printed(self, text: str, times: int = 1) -> None:
        """Wait until a text was printed."""
        async with asyncio.timeout(DEADLINE), self._more:
            await self._more.wait_for(lambda: self.printed.count(text) >= times or self._reading.done())
        assert self.printed.count(text) >= times, self.printed

    async def ended(self) -> int:
        """Wait until the program has ended, and return its status."""
        async with asyncio.timeout(DEADLINE):
            status = await self.process.wait()
            await self._reading
        return status

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait until the program has ended, and return its status."""
        self.process.send_signal(by)
        return await self.ended()


@asynccontextmanager
async def running(directory: Path, *command: str, box: Sandbox | None, **variables: str) -> AsyncIterator[Program]:
    """Run a command of this environment in a directory; it is killed, with all that it started, if it still runs."""
    values = environment(box, **variables)
    values["PATH"] = f"{Path(sys.executable).parent}:{values['PATH']}"
    values["PYTHONUNBUFFERED"] = "1"
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=values,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    program = Program(process)
    try:
        yield program
    except BaseException as error:
        error.add_note(f"{' '.join(command)} printed:\n{program.printed}")
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await program.ended()


async def run(directory: Path, *command: str, box: Sandbox | None, **variables: str) -> tuple[int, str]:
    """Run a command of this environment to its end, and return its status and what it printed."""
    async with running(directory, *command, box=box, **variables) as program:
        return await program.ended(), program.printed
