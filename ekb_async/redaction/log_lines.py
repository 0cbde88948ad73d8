"""The package's loggers: `ekb_async` with a child for each area.

`ekb_async.calls` logs attempts that are retried, `ekb_async.queue` jobs that were dropped or may be billed twice,
`ekb_async.tokens` access tokens, `ekb_async.backlog` outages. INFO needs no action; WARNING may cost money or delays
work. Calls that succeed at the first attempt are not logged.
"""

from __future__ import annotations

import logging

from ekb_async.redaction.limits import LIMITS
from ekb_async.redaction.masking import redact

calls = logging.getLogger("ekb_async.calls")
queue = logging.getLogger("ekb_async.queue")
backlog = logging.getLogger("ekb_async.backlog")


class OneLine:
    """An error formatted for a log line: without secrets, on one line, and only if the line is written."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __str__(self) -> str:
        length = LIMITS.log_line_characters
        text = redact(" ".join(str(self._error)[: 4 * length].split()))[:length] or type(self._error).__name__
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
