"""Log lines about attempts: one for each that is repeated, and a warning for one that may be billed twice."""

from __future__ import annotations

from typing import Any

from ekb_async.client.hooks import Attempt, Hooks
from ekb_async.errors import AuthError, ThrottledError
from ekb_async.protocol.retry import Again
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine

_REASONS: dict[type[BaseException], str] = {
    AuthError: "its token was refused",
    ThrottledError: "refused for its rate",
}


class CallLog(Hooks):
    """The hooks that write to the package's loggers."""

    def sent(self, attempt: Attempt[Any]) -> None:
        if attempt.job is not None and attempt.job.unconfirmed:
            log_lines.queue.warning("%s: repeated after a lost answer, may be billed twice", attempt.path)

    def attempt_ended(self, attempt: Attempt[Any]) -> None:
        step, error = attempt.step, attempt.error
        if error is None or not isinstance(step, Again):
            return
        path = attempt.path or getattr(error, "endpoint", "") or "a file"
        if step.counts:
            log_lines.calls.info(
                "%s: attempt %d failed, retrying in %.2g s: %s", path, attempt.number, step.wait, OneLine(error)
            )
            return
        log_lines.calls.info(
            "%s: %s, call repeated: %s", path, _REASONS.get(type(error), "the attempt failed"), OneLine(error)
        )
