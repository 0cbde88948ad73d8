"""Workers in processes of their own, each started again when it has ended, as a supervisor of services does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

_RESTART_SECONDS = 1.0
_GRACE_SECONDS = 75.0


class Worker:
    """One place in the fleet: a process, and the next one when it has ended."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], output: Path) -> None:
        self._command = command
        self._environment = {**os.environ, **environment}
        self._output = output
        self._process: Process | None = None
        self._task = asyncio.create_task(self._keep_running())
        self._is_ending = False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def replace(self) -> None:
        """Terminate the process, and return when it has ended; another one follows."""
        process = self._process
        self.signal(signal.SIGTERM)
        if process is not None:
            await _ended(process)

    async def end(self) -> None:
        """Terminate the process for good."""
        self._is_ending = True
        await self.replace()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_running(self) -> None:
        while not self._is_ending:
            with self._output.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, env=self._environment, stdout=output, stderr=output
                )
            await self._process.wait()
            await asyncio.sleep(_RESTART_SECONDS)


@asynccontextmanager
async def running_fleet(
    count: int, command: Sequence[str], environment: dict[str, str], output: Path
) -> AsyncIterator[list[Worker]]:
    """Keep so many workers running until the end of the block, which terminates them."""
    workers = [Worker(command, environment, output.with_suffix(f".{number}.log")) for number in range(count)]
    try:
        yield workers
    finally:
        await asyncio.gather(*(worker.end() for worker in workers))


async def _ended(process: Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
