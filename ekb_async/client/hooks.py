"""Hooks: what a session reports of its calls while it makes them.

A paced call is a job: it is queued, makes one attempt or several, and ends. Any other call (for a token, for many IDs,
for a file) only has attempts. A file's download from its host is an attempt without a request.

Logging (`ekb_async.client.call_log`) and OpenTelemetry (`ekb_async.ext.otel`) are hooks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.retry import Again, History, Step
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine
from ekb_async.redaction.masking import HiddenRepr

T = TypeVar("T")


class QueuedCall(Protocol):
    """A job, as far as hooks below the queue use it."""

    @property
    def unconfirmed(self) -> bool:
        """Whether the call was sent and not answered, so that it may be billed."""
        ...


class Attempt(HiddenRepr, Generic[T]):
    """One attempt of a call on the network."""

    __slots__ = ("error", "history", "job", "request", "status", "step", "url")

    def __init__(
        self, request: Request[T] | None, history: History, job: QueuedCall | None = None, url: str = ""
    ) -> None:
        self.request = request
        self.history = history
        self.job = job
        """The `Job` of a paced call, None for any other."""
        self.url = url
        """The URL of a file, with its signature; "" for a call to the vendor."""
        self.status: int | None = None
        """The status of the reply; None before there is one, and if none came."""
        self.error: BaseException | None = None
        """What the attempt ended with; None before its end, and after a success."""
        self.step: Step | None = None

    @property
    def call(self) -> str:
        """The name of the call, as `"ocr"` or `"token"`; `"download"` for a file."""
        return "download" if self.request is None else self.request.endpoint.name

    @property
    def path(self) -> str:
        """The vendor's path of the call, with a placeholder for an ID in it; "" for a file."""
        return "" if self.request is None else self.request.endpoint.path

    @property
    def address(self) -> str:
        """The path of the request, without a query; "" for a file."""
        return "" if self.request is None else self.request.path

    @property
    def method(self) -> str:
        """The HTTP method of the request."""
        return "GET" if self.request is None else self.request.endpoint.method

    @property
    def number(self) -> int:
        """The number of the try, from 1; an attempt that is repeated without counting has the same one."""
        return self.history.tries

    @property
    def wait(self) -> float | None:
        """Seconds until the next attempt, without jitter and the wait for a slot; None if there is none."""
        return self.step.wait if isinstance(self.step, Again) else None


class Hooks(Protocol):
    """What a session calls for each event of its calls. Subclass it and define the events of interest.

    All run in the session's event loop and must return at once. `attempt_started` and `attempt_ended` of one attempt
    run in one task and context. An exception is logged and otherwise ignored.
    """

    def queued(self, job: Any) -> None:
        """Handle a new job, in the context of its submission."""
        return

    def attempt_started(self, attempt: Attempt[Any]) -> None:
        """Handle an attempt that is about to use the network."""
        return

    def sent(self, attempt: Attempt[Any]) -> None:
        """Handle the moment in which the request of a job's attempt leaves: from here on it may be billed.

        A job that is cancelled here is not sent.
        """
        return

    def attempt_ended(self, attempt: Attempt[Any]) -> None:
        """Handle the end of an attempt, with `attempt.status`, `.error` and `.wait` set."""
        return

    def ended(self, job: Any) -> None:
        """Handle the end of a job, with a result, an error, or neither if it was cancelled."""
        return


class HookList:
    """The hooks of a session, by event; events that a hook does not define cost nothing."""

    def __init__(self, hooks: Iterable[Hooks]) -> None:
        every = tuple(hooks)
        self.queued = _defined(every, "queued")
        self.attempt_started = _defined(every, "attempt_started")
        self.sent = _defined(every, "sent")
        self.attempt_ended = _defined(every, "attempt_ended")
        self.ended = _defined(every, "ended")


Handlers = Sequence[Callable[[Any], None]]


def _defined(hooks: Sequence[Hooks], event: str) -> Handlers:
    return tuple(getattr(each, event) for each in hooks if getattr(type(each), event) is not getattr(Hooks, event))


def report(handlers: Handlers, subject: object) -> None:
    """Call the handlers of an event."""
    for handler in handlers:
        try:
            handler(subject)
        # A handler awaits nothing, so a `CancelledError` comes from a future it looked at and is no cancellation.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - no hook may stop a call
            log_lines.calls.warning("a hook failed with %s: %s", type(error).__name__, OneLine(error))
