"""The package's log on standard error, while a command runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ekb_async.cli.runner import say

_LOGGER = logging.getLogger("ekb_async")


@contextmanager
def log_to_standard_error(*, verbose: bool) -> Iterator[None]:
    """Write the package's warnings, or with `verbose` also its information, to standard error during the block."""
    handler = _Handler()
    level = _LOGGER.level
    if verbose:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    else:
        # The progress display shows already why a backlog waits.
        handler.addFilter(lambda record: record.name != "ekb_async.backlog")
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)


class _Handler(logging.Handler):
    """Writes to the current `sys.stderr`, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:  # noqa: BLE001 - a log line that cannot be written must not end the command
            self.handleError(record)
