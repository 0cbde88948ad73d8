"""All tests by one command: `python -m tests`, with any arguments of pytest.

Those that measure real time run after the others, alone, since what shares their cores would be measured with them.
"""

from __future__ import annotations

import os
import sys

import pytest

_WORKERS = "6"
"""Most tests wait, so there are more workers than cores."""


def main(arguments: list[str]) -> int:
    """Run the tests in two parts. Return the first exit status that is not 0; a part without a test is none."""
    # Every worker, and every process that a test starts, reads the same modules.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    parallel = pytest.main(["-m", "not realtime", "-n", _WORKERS, "--dist", "worksteal", *arguments])
    alone = pytest.main(["-m", "realtime", *arguments])
    statuses = [int(status) for status in (parallel, alone) if status != pytest.ExitCode.NO_TESTS_COLLECTED]
    return next(filter(None, statuses), 0) if statuses else int(pytest.ExitCode.NO_TESTS_COLLECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
