"""An event loop with virtual time, and an in-memory transport to the sandbox's rules: a day of calls runs in seconds.

A session does all its waiting on the event loop's clock. On a `VirtualTimeLoop` nothing waits: when no task can run,
time jumps to the next timer. There are no sockets, since they run in real time; the rules of `ekb_async.sandbox` are
applied to each request at its virtual time of arrival.

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())          # and in main: EkbSession(…, transport=InMemoryTransport(vendor, latency=3.0))
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ekb_async.errors import EkbTimeoutError
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox.limits import LIMITS
from ekb_async.sandbox.vendor.vendor import Vendor, VendorRequest


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer whenever no task can run."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        return self._virtual_now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads as long as they take: a time limit would pass at once, as they run in real time."""
        await super().shutdown_default_executor()

    def _jump(self, seconds: float) -> None:
        self._virtual_now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump
        self._iteration_seconds = LIMITS.loop_iteration_seconds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # No timer is set, so only a thread can wake the loop.
            return super().select(None)
        events = super().select(0)
        # Each iteration takes a moment, as in reality; otherwise a timer that is off by a rounding error never fires.
        self._jump(self._iteration_seconds if events else max(timeout, self._iteration_seconds))
        return events


class InMemoryTransport:
    """A `Transport` to a `Vendor` in memory, whose recognising and verifying calls take `latency` seconds.

    `arrivals` has the arrival time in epoch seconds, the name of the call and the status of the answer of each request.
    """

    def __init__(self, vendor: Vendor, *, latency: float = 0.0) -> None:
        self.vendor = vendor
        self.arrivals: list[tuple[float, str, int]] = []
        self._latency = latency
        self._epoch: float | None = None

    async def send(
        self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        on_sent()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(LIMITS.network_delay_seconds)
                reply = self._reply(request, token)
                is_slow = request.endpoint.paced and reply.accepted
                await asyncio.sleep(self._latency if is_slow else LIMITS.quick_answer_seconds)
        except TimeoutError:
            raise EkbTimeoutError("no complete answer in time", endpoint=request.endpoint.path, sent=True) from None
        headers: Mapping[str, str] = {**reply.headers, "Date": formatdate(self._now(), usegmt=True)}
        return Reply(reply.status, headers, reply.body)

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        await asyncio.sleep(LIMITS.network_delay_seconds)
        parts, at = urlsplit(url), self._now()
        reply = self.vendor.reply(VendorRequest("GET", parts.path, dict(parse_qsl(parts.query))), at)
        self.arrivals.append((at, "file", reply.status))
        await asyncio.sleep(LIMITS.quick_answer_seconds)
        if reply.status != 200:
            return Reply(reply.status, reply.headers, reply.body)
        await write(reply.body)
        return Reply(reply.status, reply.headers, b"")

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def _reply(self, request: Request[Any], token: str | None) -> Any:
        query = dict(request.query)
        if token is not None:
            query["accessToken"] = token
        upload = (request.upload.name, request.upload.content) if request.upload is not None else None
        at = self._now()
        reply = self.vendor.reply(
            VendorRequest(request.endpoint.method, request.path, query, request.body or b"", upload), at
        )
        self.arrivals.append((at, request.endpoint.name, reply.status))
        return reply

    def _now(self) -> float:
        loop = asyncio.get_running_loop()
        if self._epoch is None:
            epoch = self._epoch = time.time() - loop.time()
            self.vendor.use_clock(lambda: epoch + loop.time())
        return self._epoch + loop.time()
