"""The first page: its installation works in an environment of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.pages import CHINESE, ROOT, blocks_of


@pytest.mark.process
@pytest.mark.slow
async def test_the_installation(tmp_path: Path) -> None:
    """The commands make an environment that has the command `ekb`."""
    (block,) = [each for each in blocks_of(CHINESE / "start.md") if "pip install" in each.text]
    process = await asyncio.create_subprocess_exec(
        "bash",
        *("-euo", "pipefail", "-c", f"{block.text.replace('/path/to/clone', str(ROOT))}\ntype -p ekb; ekb --version"),
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert str(tmp_path / ".venv/bin/ekb") in output.decode().splitlines()
