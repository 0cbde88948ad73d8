"""Run all tests: `python -m tests`, with any arguments of pytest.

Tests that measure real time run last and alone, because other tests on the same cores would distort them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

_WORKERS = "6"
"""More than the number of cores, because many tests wait."""
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest creates a directory for each run


def main(arguments: list[str]) -> int:
    """Run the tests in two parts and return the first exit status that is not 0; a part without tests is ignored."""
    # All workers and processes import the same modules, so they share the bytecode.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # A shell that starts a command in the background lets it ignore SIGINT, which programs that tests start inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Backlogs sync to disk at every mark, and all workers share one disk.
    if "TMPDIR" not in os.environ and os.access(_IN_MEMORY, os.W_OK):
        os.environ["TMPDIR"] = str(_IN_MEMORY)
    parallel = pytest.main(["-m", "not realtime", "-n", _WORKERS, "--dist", "worksteal", *arguments])
    with contextlib.suppress(OSError, AttributeError):
        # Other processes should not distort the measurement. Only privileged users may raise the priority.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    alone = pytest.main(["-m", "realtime", *(arguments or _files_with("realtime"))])
    statuses = [int(status) for status in (parallel, alone) if status != pytest.ExitCode.NO_TESTS_COLLECTED]
    return next(filter(None, statuses), 0) if statuses else int(pytest.ExitCode.NO_TESTS_COLLECTED)


def _files_with(mark: str) -> list[str]:
    """Return the test files that contain a mark, which is faster than collecting all tests."""
    files = Path(__file__).parent.rglob("test_*.py")
    return sorted(str(file) for file in files if mark in file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
