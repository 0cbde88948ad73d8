"""What tests of the processes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MODULE = b"ekb_async.einvoice.processes.worker"


@pytest.fixture
def started() -> Callable[[], list[int]]:
    """Return a function that lists the processes of this one that read files; Linux keeps them in `/proc`."""

    def children() -> list[int]:
        tasks = Path("/proc/self/task").glob("*/children")
        numbers = [int(number) for task in tasks for number in task.read_text().split()]
        return [
            number for number in numbers if b"einvoice.processes.worker" in Path(f"/proc/{number}/cmdline").read_bytes()
        ]

    return children
