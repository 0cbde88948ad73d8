"""Whether a queue's next call could start if it had a slot.

A job at the front must have all it needs (a valid file URL, a token), fewer than `max_running` calls must be under way,
and the previous call must have been sent, since the next slot is counted from that moment.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ekb_async.client.attempt import Api
from ekb_async.files.urls import FileUrls, WaitingQueue
from ekb_async.queue.jobs import Job
from ekb_async.queue.states import CallStates


class Readiness:
    """The readiness of the jobs of one queue."""

    def __init__(self, states: CallStates, api: Api, file_urls: FileUrls) -> None:
        self._states = states
        self._api = api
        self._file_urls = file_urls
        self.changed = asyncio.Event()
        """Set when jobs, files or attempts have changed."""
        self.awaited = False
        """Whether something waits for it."""

    def first_ready(self) -> tuple[Job[Any], str] | None:
        """Return the first job whose file is ready, with the file's URL ("" for a job without a file)."""
        for job in self._states.waiting.front:
            file = job.order.file
            url = "" if file is None else self._file_urls.ready_url(file)
            if url is not None:
                return job, url
        return None

    def now(self) -> tuple[Job[Any], str] | None:
        """Return the job that could start now if it had a slot, as `first_ready` does; None if something is missing."""
        if not self._states.wants_slot or self._api.tokens.usable() is None:
            return None
        return self.first_ready()

    async def wait(self, queue: WaitingQueue) -> None:
        """Wait until a job could start; prepare the files of the jobs next in line. Raises the error of a token."""
        while True:
            self.awaited = False
            self.changed.clear()
            if self._states.waiting.jobs_needing_url:
                self._file_urls.prefetch(queue)
            if self._states.wants_slot and self.first_ready() is not None:
                await self._api.tokens.get()
                return
            self.awaited = True
            await self.changed.wait()
