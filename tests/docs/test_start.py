"""The first pages: the commands that take too long for a page's run, or need an environment of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.support.command import environment
from tests.support.pages import CHINESE, ROOT, block_with

pytestmark = [pytest.mark.process, pytest.mark.slow]


async def _ran(commands: str, directory: Path, variables: dict[str, str]) -> list[str]:
    """Run commands, and return the lines that they print."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        *("-euo", "pipefail", "-c", commands),
        cwd=directory,
        env=variables,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode().splitlines()


async def test_the_installation(tmp_path: Path) -> None:
    """The commands of the page make an environment that has the command `ekb`."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    commands = block_with(CHINESE / "start.md", "pip install").text.replace("/path/to/clone", str(ROOT))
    printed = await _ran(f"{commands}\ntype -p ekb; ekb --version", tmp_path, variables)
    assert str(tmp_path / ".venv/bin/ekb") in printed


async def test_the_demo(tmp_path: Path) -> None:
    """The demo needs no account, and writes its files below `ekb-demo`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    commands = block_with(CHINESE / "index.md", "demo").text
    await _ran(commands, tmp_path, environment(None, PATH=path, EKB_STATE_DIR=str(tmp_path / "s")))
    assert (tmp_path / "ekb-demo" / "report.html").exists()
    assert (tmp_path / "ekb-demo" / "invoices" / "hotel.pdf").exists()
