"""All tests by one command: `python -m tests`, with any arguments of pytest.

Those that measure real time run after the others, alone, since what shares their cores would be measured with them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

_WORKERS = "6"
"""Many tests wait, so there are several workers for a core."""
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - each run has directories of its own there


def main(arguments: list[str]) -> int:
    """Run the tests in two parts. Return the first exit status that is not 0; a part without a test is none."""
    # Every worker, and every process that a test starts, reads the same modules.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Backlogs wait for the disk at every mark, and all workers have the same one.
    if "TMPDIR" not in os.environ and os.access(_IN_MEMORY, os.W_OK):
        os.environ["TMPDIR"] = str(_IN_MEMORY)
    parallel = pytest.main(["-m", "not realtime", "-n", _WORKERS, "--dist", "worksteal", *arguments])
    with contextlib.suppress(OSError, AttributeError):
        # What else the machine does is not what is measured. Only some users may do this.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    alone = pytest.main(["-m", "realtime", *(arguments or _files_with("realtime"))])
    statuses = [int(status) for status in (parallel, alone) if status != pytest.ExitCode.NO_TESTS_COLLECTED]
    return next(filter(None, statuses), 0) if statuses else int(pytest.ExitCode.NO_TESTS_COLLECTED)


def _files_with(mark: str) -> list[str]:
    """The test files that name a mark; reading them takes less time than collecting all others."""
    files = Path(__file__).parent.rglob("test_*.py")
    return sorted(str(file) for file in files if mark in file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
