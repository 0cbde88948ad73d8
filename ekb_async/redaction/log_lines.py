"""The package's log: the logger `ekb_async` and a child for each area.

`ekb_async.calls` has attempts that are made again, `ekb_async.queue` jobs that were dropped or may be paid twice,
`ekb_async.tokens` access tokens, `ekb_async.backlog` outages. A line at INFO needs nobody; one at WARNING may cost
money or keeps work waiting. What succeeds at once is not logged.
"""

from __future__ import annotations

import logging

from ekb_async.redaction.masking import redact

calls = logging.getLogger("ekb_async.calls")
queue = logging.getLogger("ekb_async.queue")
backlog = logging.getLogger("ekb_async.backlog")

_LONGEST = 500


class OneLine:
    """An error as a log line shows it, worked out if the line is written: without secrets, and on one line."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __str__(self) -> str:
        text = redact(" ".join(str(self._error)[: 4 * _LONGEST].split()))[:_LONGEST] or type(self._error).__name__
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
