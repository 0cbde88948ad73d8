"""The reason why calls of a queue are not sent, for the error of a call that waited too long.

Usually the reason is the length of the queue and its pace. Other reasons are that no access token can be fetched, the
file cannot be uploaded, no connection opens, or all calls that may run at once wait for an answer. An error that
occurred is reported as it is. A wait without an error so far is reported as an `EkbTimeoutError` that names what the
call waits for.

Reasons are determined only when a call has waited too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ekb_async.client.attempt import Api
from ekb_async.errors import EkbError, EkbTimeoutError, QueueTimeoutError, ThrottledError
from ekb_async.files.urls import CallFile, FileUrls
from ekb_async.pacing.rule import Pace
from ekb_async.protocol import endpoints
from ekb_async.queue.limits import LIMITS

_TOKEN_CALLS = (endpoints.REFRESH.path, endpoints.TOKEN.path)


class Delays:
    """The delays of one queue's calls before they are sent."""

    def __init__(self, api: Api, file_urls: FileUrls, pace: Pace, loop: asyncio.AbstractEventLoop) -> None:
        self._api = api
        self._file_urls = file_urls
        self._pace = pace
        self._loop = loop
        self.launched = 0.0
        """When the latest call got its slot, on the loop's clock."""
        self.error: EkbError | None = None
        """The error of the latest attempt if it was not sent or was refused for the rate."""

    def note_sent(self) -> None:
        """Record that a call was sent."""
        if not isinstance(self.error, ThrottledError):
            self.error = None

    def note_ended(self, error: BaseException | None, *, sent: bool) -> None:
        """Record how an attempt ended."""
        if isinstance(error, ThrottledError) or (isinstance(error, EkbError) and not sent):
            self.error = error
        elif sent:
            self.error = None

    def current_error(self) -> EkbError | None:
        """Return the error that keeps calls from being sent, None if there is none."""
        if isinstance(self.error, ThrottledError):
            return self.error if self._pace.wait() > 0 else None
        return self.error

    def wait_reason(self, file: CallFile | None, *, has_unsent: bool, sent: Sequence[float]) -> EkbError | None:
        """Return what a call with this file waits for besides its slot; None if it waits for the slot alone.

        `has_unsent` is whether a call has a slot and has not been sent yet. `sent` has the times at which the running
        calls were sent, on the loop's clock, and is empty while more calls may start.
        """
        if self._api.tokens.usable() is None:
            no_token = EkbTimeoutError("there is no access token yet")
            return self._with_proxy(self._api.wait_reason(*_TOKEN_CALLS) or no_token)
        if has_unsent:
            unsent = EkbTimeoutError(f"the call in front could not be sent for {self._since(self.launched)}")
            return self._with_proxy(unsent)
        if sent:
            waited = self._since(min(sent))
            return EkbTimeoutError(
                f"no answer yet to the running calls ({len(sent)}, as many as max_running allows) for {waited}"
            )
        if file is not None and self._file_urls.ready_url(file) is None:
            endpoint = (endpoints.UPLOAD if file.needs_upload else endpoints.DOWNLOAD_URLS).path
            no_url = EkbTimeoutError("the file has no URL yet", endpoint=endpoint)
            return self._with_proxy(self._api.wait_reason(endpoint) or no_url)
        if (unanswered := self._pace.unanswered()) > LIMITS.pace_answer_seconds:
            return EkbTimeoutError(f"no answer from the shared pace for {unanswered:.1f} s")
        return None

    def _with_proxy(self, error: EkbError) -> EkbError:
        """Add the proxy, a possible reason, to an error that only reports a wait; other errors name it already."""
        if not self._api.proxy or type(error) is not EkbTimeoutError or self._api.proxy in str(error):
            return error
        return EkbTimeoutError(f"{error}, through the proxy {self._api.proxy}", endpoint=error.endpoint)

    def _since(self, moment: float) -> str:
        return f"{self._loop.time() - moment:.1f} s"


def queue_timeout(
    endpoint: str, max_wait: float, position: int, eta: float, cause: EkbError | None = None
) -> QueueTimeoutError:
    """Return the error of a call that was not sent within `max_wait` seconds.

    `position` is the number of jobs ahead of it, `eta` the estimated seconds until it would be sent, and `cause` the
    reason besides the queue if there is one.
    """
    if cause is None:
        message = f"not sent within {max_wait:g} s: jobs ahead: {position}, about {eta:.1f} s"
    elif position:
        message = f"not sent within {max_wait:g} s: jobs ahead: {position}, and {cause}"
    else:
        message = f"not sent within {max_wait:g} s: {cause}"
    error = QueueTimeoutError(message, endpoint=endpoint, position=position, eta=eta)
    if cause is not None:
        error.__cause__ = cause.again()
        error.hint = getattr(cause, "hint", error.hint)
    return error
