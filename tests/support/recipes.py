"""Running the files of a recipe: those of a page are written to a directory, and its commands started there."""

from __future__ import annotations

import configparser
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from ekb_async.sandbox import Sandbox
from tests.support.page_runs import STAFF, fill
from tests.support.pages import CHINESE, blocks_of
from tests.support.programs import Program, run

PNG = b"\x89PNG\r\n\x1a\n"


def write_files(page: str, directory: Path, box: Sandbox) -> None:
    """Write the files that a page of recipes shows, and the invoices that pages send."""
    if not (directory / "hotel.pdf").exists():
        fill(directory, box)
    for block in blocks_of(CHINESE / "recipes" / page):
        block.write_to(directory)


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
