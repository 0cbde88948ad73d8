"""Running the files of a recipe: those of a page are written to a directory, and its commands started there."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from ekb_async.sandbox import Sandbox
from tests.support.command import environment
from tests.support.page_runs import STAFF, fill
from tests.support.pages import CHINESE, blocks_of
from tests.support.waiting import DEADLINE

PNG = b"\x89PNG\r\n\x1a\n"


def write_files(page: str, directory: Path, box: Sandbox) -> None:
    """Write the files that a page of recipes shows, and the invoices that pages send."""
    if not (directory / "hotel.pdf").exists():
        fill(directory, box)
    for block in blocks_of(CHINESE / "recipes" / page):
        if block.title is not None:
            file = directory / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")


def settings_of(unit: Path) -> dict[str, dict[str, str]]:
    """Return the settings of a unit of systemd by section; none of the recipes' units repeats a name."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text(encoding="utf-8"))
    return {section: dict(parser[section]) for section in parser.sections()}


async def check_units(directory: Path, programs: Path) -> None:
    """Let systemd check the units in a directory, with the programs of this environment for those of `/opt/ekb/bin`."""
    if shutil.which("systemd-analyze") is None:
        return
    with tempfile.TemporaryDirectory() as copies:
        units = _copy_units(directory, Path(copies), programs)
        status, printed = await run(directory, "systemd-analyze", "verify", *units, box=None)
        assert (status, printed) == (0, "")


def _copy_units(directory: Path, copies: Path, programs: Path) -> list[str]:
    copied = []
    for unit in [*directory.glob("*.service"), *directory.glob("*.timer")]:
        # A template can be checked with a name in it only.
        copy = copies / unit.name.replace("@.", "@x.")
        copy.write_text(unit.read_text(encoding="utf-8").replace("/opt/ekb/bin", str(programs)), encoding="utf-8")
        copied.append(str(copy))
    return copied


def commands_of(page: str, beginning: str) -> list[list[str]]:
    """Return the commands with this beginning that a page shows for a shell, each as its words."""
    return [
        command.split()
        for block in blocks_of(CHINESE / "recipes" / page)
        if block.language == "sh" and block.title is None
        for line in block.text.replace("\\\n", "").splitlines()
        if (command := line.partition("  #")[0].strip()).startswith(beginning)
    ]


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


def upload(name: str = "hotel.png", content: bytes = PNG, staff_id: str = STAFF) -> dict[str, Any]:
    """Return the arguments of a request that uploads an invoice."""
    return {"files": {"file": (name, content)}, "data": {"staff_id": staff_id}}


@asynccontextmanager
async def clients(url: str, number: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Open clients of a service, each with a connection of its own."""
    opened = [httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) for _ in range(number)]
    try:
        yield opened
    finally:
        for each in opened:
            await each.aclose()


async def aiohttp_url(program: Program) -> str:
    """Wait until a program serves with aiohttp.web, and return its address."""
    await program.has_printed("Running on")
    found = re.search(r"Running on (http://\S+)", program.printed)
    assert found is not None
    return found[1]
