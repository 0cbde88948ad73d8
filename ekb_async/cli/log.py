"""The package's log on standard error, while a command runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ekb_async.cli.runner import say

_LOGGER = logging.getLogger("ekb_async")


@contextmanager
def log_to_standard_error(*, verbose: bool) -> Iterator[None]:
    """Write warnings, or with `verbose` everything that the package does about trouble, beside what a command says."""
    handler = _Handler()
    level = _LOGGER.level
    if verbose:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    else:
        # The progress that a command shows says why it waits.
        handler.addFilter(lambda record: record.name != "ekb_async.backlog")
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)


class _Handler(logging.Handler):
    """Standard error as it is when a line is written, since a progress bar stands in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:  # noqa: BLE001 - a log that cannot be written ends no command
            self.handleError(record)
