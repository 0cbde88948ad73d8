"""Running an async context manager in a separate thread with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any


class OwnThread:
    """A thread that holds a context open; `start` returns when it has been entered, `stop` when it has been left."""

    def __init__(self, context: AbstractAsyncContextManager[Any], name: str) -> None:
        self._context = context
        self._entered: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._left: Future[None] = Future()
        # A daemon, so that a program that ends without leaving the context does not wait for the thread.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Enter the context. Raises what entering raises."""
        self._thread.start()
        try:
            self._entered.result()
        except BaseException:
            # Also on an interrupt while waiting, the thread must not outlive its owner.
            self.stop()
            raise

    def stop(self) -> None:
        """Leave the context and end the thread. Raises what leaving raises."""
        if self._entered.exception() is None:
            loop, stopping = self._entered.result()
            loop.call_soon_threadsafe(stopping.set)
        self._thread.join()
        self._left.result()

    def _run(self) -> None:
        try:
            # A selector loop works on every system, whatever the program's loop policy; it needs no subprocesses here.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._hold())
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the owner
            self._report(error)
        else:
            self._left.set_result(None)

    async def _hold(self) -> None:
        stopping = asyncio.Event()
        async with self._context:
            self._entered.set_result((asyncio.get_running_loop(), stopping))
            await stopping.wait()

    def _report(self, error: BaseException) -> None:
        if self._entered.done():
            self._left.set_exception(error)
        else:
            self._left.set_result(None)
            self._entered.set_exception(error)
