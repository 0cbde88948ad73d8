"""`Sandbox`: the vendor's rules behind a web server on loopback.

A request arrives after a random network delay (`jitter`). At that moment the rules are applied to it and it is logged,
so that the log shows the order and the times of arrival. An accepted call takes `latency` before it is answered. Time
is the loop's clock, set to the wall clock once, so that a change of the wall clock has no effect.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Unpack

from aiohttp import web

from ekb_async.config import AppCredentials
from ekb_async.redaction.masking import redact
from ekb_async.sandbox.faults import Fault, next_fault
from ekb_async.sandbox.limits import LIMITS
from ekb_async.sandbox.loopback import (
    LogEntry,
    LoopbackServer,
    OnAnswer,
    cut_off_answer,
    read_request,
    reset_connection,
)
from ekb_async.sandbox.vendor.routes import call_of
from ekb_async.sandbox.vendor.rules import VendorArguments
from ekb_async.sandbox.vendor.vendor import Vendor, VendorReply, VendorRequest

_SLOW_CALLS = ("ocr", "verify", "verify_by_id", "verify_by_fields")


class Sandbox(LoopbackServer):
    """A simulated vendor on loopback: `async with Sandbox(…) as box`, then `box.base_url` and `box.credentials`.

    A synchronous `with Sandbox(…) as box` runs it in a separate thread, for tests without a loop or with several.

    `latency` is the duration of an accepted call in seconds: a number for the recognising and verifying calls, or a
    mapping by call name. `jitter` is the longest network delay before arrival, in seconds. `faults` are injected;
    `seed` is that of their chance and of the jitter. `port` 0 is any free port. `clock_ahead` is how many seconds the
    vendor's clock is ahead of this machine's. `on_answer` is called with each request and its answer, in the thread of
    the sandbox. All other arguments are the fields of `Rules`.
    """

    def __init__(
        self,
        *,
        latency: float | Mapping[str, float] = 0.0,
        jitter: float = 0.0,
        faults: Iterable[Fault] = (),
        seed: int = 0,
        port: int = 0,
        clock_ahead: float = 0.0,
        on_answer: OnAnswer | None = None,
        **arguments: Unpack[VendorArguments],
    ) -> None:
        super().__init__(port, on_answer)
        self.vendor = Vendor(**arguments)
        self.latency: dict[str, float] = (
            dict(latency) if isinstance(latency, Mapping) else dict.fromkeys(_SLOW_CALLS, latency)
        )
        self.jitter = jitter
        self.faults = list(faults)
        self._clock_ahead = clock_ahead
        self._chance = random.Random(seed)
        self._epoch = 0.0

    @property
    def credentials(self) -> AppCredentials:
        """The keys that the sandbox accepts."""
        return AppCredentials(app_key=self.vendor.rules.app_key, app_security=self.vendor.rules.app_security)

    @property
    def permissions(self) -> set[str]:
        """The features switched on, `ocr` and `verify`; changes take effect at once."""
        return self.vendor.rules.permissions

    def starts(self, call: str) -> list[float]:
        """Return the arrival times of the accepted requests of an interface, in epoch seconds."""
        return [entry.at for entry in self.log if entry.call == call and entry.accepted]

    def revoke_tokens(self) -> None:
        """Revoke every access token issued so far."""
        self.vendor.tokens.revoke_all()

    def _opened(self) -> None:
        loop = asyncio.get_running_loop()
        self._epoch = epoch = time.time() + self._clock_ahead - loop.time()
        self.vendor.use_clock(lambda: epoch + loop.time())
        self.vendor.base_url = self.base_url

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.jitter:
            await asyncio.sleep(self._chance.uniform(0, self.jitter))
        arrived = await read_request(request)
        at = self._epoch + asyncio.get_running_loop().time()
        call = call_of(arrived.path)
        fault = next_fault(self.faults, call, self._chance) if self.faults else None
        if fault is None or fault.carried_out:
            reply = self.vendor.reply(arrived, at)
        else:
            reply = VendorReply(0, b"", {}, call, accepted=False)
        if fault is not None:
            reply = fault.spoil(reply)
        if self._clock_ahead:
            reply.headers["Date"] = formatdate(at, usegmt=True)
        self._note(_entry(arrived, reply, fault, at))
        wait = (self.latency.get(call, 0.0) if reply.accepted else 0.0) + (fault.seconds if fault else 0.0)
        if wait:
            await asyncio.sleep(wait)
        if fault is not None and fault.kind == "reset":
            reset_connection(request)
        if fault is not None and fault.kind == "cut_off":
            half = reply.body[: len(reply.body) // 2]
            return await cut_off_answer(request, reply.status, reply.headers, half, len(reply.body))
        # A reset connection takes no answer, but the handler must return one.
        return web.Response(status=reply.status or 500, body=reply.body, headers=reply.headers)


def _entry(request: VendorRequest, reply: VendorReply, fault: Fault | None, at: float) -> LogEntry:
    body = (
        ""
        if reply.call == "token"
        else redact(request.body.decode(errors="replace"), max_characters=LIMITS.logged_body_characters)
    )
    dropped = fault is not None and fault.kind == "reset"
    return LogEntry(
        at=at,
        call=reply.call,
        path=request.path,
        status=0 if dropped else reply.status,
        accepted=reply.accepted,
        body=body,
        fault="" if fault is None else fault.kind,
    )
