"""A session for synchronous code: one per process, in a thread of its own, opened by the first call."""

import atexit
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ekb_async import EkbSession, MachinePace, MachineTokens, SessionConfig

T = TypeVar("T")


class EkbPortal:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[BlockingPortal, EkbSession] | None = None
        self._stack = ExitStack()

    def call(self, work: Callable[[EkbSession], Awaitable[T]]) -> T:
        """Run asynchronous work with the session, and wait for its result; any number of threads may do so."""
        portal, session = self._open()
        return portal.call(work, session)

    def close(self) -> None:
        """Close the session: calls in flight end, those that wait fail with `SessionClosedError`."""
        with self._lock:
            self._opened = None
            self._stack.close()

    def _open(self) -> tuple[BlockingPortal, EkbSession]:
        with self._lock:
            if self._opened is None:
                session = EkbSession.from_env(
                    config=SessionConfig(request_timeout=20), pacer=MachinePace(), token_store=MachineTokens()
                )
                with ExitStack() as stack:
                    portal = stack.enter_context(start_blocking_portal())
                    stack.enter_context(portal.wrap_async_context_manager(session))
                    self._stack = stack.pop_all()
                self._opened = portal, session
            return self._opened


ekb = EkbPortal()
atexit.register(ekb.close)
