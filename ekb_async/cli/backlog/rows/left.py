"""Why rows are left by a command that changes others."""

from __future__ import annotations

from collections.abc import Iterator

from ekb_async.cli.language import texts


def claimed_lines(running: int) -> Iterator[str]:
    """Yield a line about the rows that runs have claimed, if there are any."""
    if running:
        line = texts(
            "{count:,} row left: a run has claimed it and is at work, or was interrupted",
            "{count:,} rows left: a run has claimed them and is at work, or was interrupted",
            count=running,
        )
        yield f"  {line}"
