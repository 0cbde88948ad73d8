"""What keeps the calls of a paced queue from leaving, for the error of a call that waited too long.

The queue and its pace are the ordinary reason. Behind them may be another: no access token can be fetched, the file
cannot be uploaded, no connection opens, or all calls that may run at once wait for an answer. An error that was met is
reported as it was; a wait without an error yet is reported as an `EkbTimeoutError` that says what it is for.

Nothing is worked out before a call has waited too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ekb_async.client.attempt import Api
from ekb_async.errors import EkbError, EkbTimeoutError, QueueTimeoutError, ThrottledError
from ekb_async.files.urls import CallFile, FileUrls
from ekb_async.pacing.rule import Pace
from ekb_async.protocol import endpoints

_ORDINARY_LOOK = 0.1
"""Seconds that a look at a pace shared with others may take."""
_TOKEN_CALLS = (endpoints.REFRESH.path, endpoints.TOKEN.path)


class Delays:
    """The delays of one queue's calls before they leave."""

    def __init__(self, api: Api, file_urls: FileUrls, pacer: Pace, loop: asyncio.AbstractEventLoop) -> None:
        self._api = api
        self._file_urls = file_urls
        self._pacer = pacer
        self._loop = loop
        self.launched = 0.0
        """When the latest call got its slot, on the loop's clock."""
        self.error: EkbError | None = None
        """How the latest attempt ended, if it did not leave or was refused for its rate."""

    def left(self) -> None:
        """Note that a call has left this machine."""
        if not isinstance(self.error, ThrottledError):
            self.error = None

    def ended(self, error: BaseException | None, *, sent: bool) -> None:
        """Note how an attempt has ended."""
        if isinstance(error, ThrottledError) or (isinstance(error, EkbError) and not sent):
            self.error = error
        elif sent:
            self.error = None

    def failure(self) -> EkbError | None:
        """Return the error that keeps calls from leaving, None if there was none."""
        if isinstance(self.error, ThrottledError):
            return self.error if self._pacer.wait() > 0 else None
        return self.error

    def silence(self, file: CallFile | None, *, leaving: bool, sent: Sequence[float]) -> EkbError | None:
        """Return what a call with this file waits for besides its turn in the queue; None if it is the turn alone.

        `leaving` is whether a call has its slot and has not left, `sent` when the calls under way left if there are as
        many as may run at once.
        """
        if self._api.tokens.usable() is None:
            return self._on_its_way(self._api.delay(*_TOKEN_CALLS) or EkbTimeoutError("there is no access token yet"))
        if leaving:
            left = EkbTimeoutError(f"the call in front has not left for {self._since(self.launched)}")
            return self._on_its_way(left)
        if sent:
            under_way = "the call" if len(sent) == 1 else f"{len(sent)} calls"
            longest = self._since(min(sent))
            return EkbTimeoutError(f"no answer yet to {under_way}, as many as max_running allows, for {longest}")
        if file is not None and self._file_urls.ready_url(file) is None:
            endpoint = (endpoints.UPLOAD if file.needs_upload else endpoints.DOWNLOAD_URLS).path
            no_url = EkbTimeoutError("the file has no URL yet", endpoint=endpoint)
            return self._on_its_way(self._api.delay(endpoint) or no_url)
        if (unanswered := self._pacer.unanswered()) > _ORDINARY_LOOK:
            return EkbTimeoutError(f"the shared pace could not be looked up for {unanswered:.1f} s")
        return None

    def _on_its_way(self, error: EkbError) -> EkbError:
        """Return a wait without an error yet with the proxy that may be the reason; an error names it by itself."""
        if not self._api.proxy or type(error) is not EkbTimeoutError or self._api.proxy in str(error):
            return error
        return EkbTimeoutError(f"{error}, by way of the proxy {self._api.proxy}", endpoint=error.endpoint)

    def _since(self, moment: float) -> str:
        return f"{self._loop.time() - moment:.1f} s"


def too_late(
    endpoint: str, max_wait: float, position: int, eta: float, cause: EkbError | None = None
) -> QueueTimeoutError:
    """Return the error of a call that was not sent within `max_wait` seconds; `cause` is what kept it from leaving."""
    jobs = "1 job is" if position == 1 else f"{position} jobs are"
    message = f"not sent within {max_wait:g} s: "
    if cause is None:
        message += f"{jobs} ahead, about {eta:.1f} s"
    else:
        message += f"{jobs} ahead, and {cause}" if position else str(cause)
    error = QueueTimeoutError(message, endpoint=endpoint, position=position, eta=eta)
    if cause is not None:
        error.__cause__ = cause.again()
        error.hint = getattr(cause, "hint", error.hint)
    return error
