"""Asking a person before rows are changed."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress

from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.errors import ConfigError

_YES = frozenset({"y", "yes", "是", "好"})


async def is_confirmed(question: str) -> bool:
    """Ask a person at the terminal, and return whether the answer is yes. Raises `ConfigError` without a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("standard input is no terminal, so it cannot be asked: give --yes")
    sys.stderr.write(texts("{question} [y/N]: ", question=question))
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def give(line: bytes) -> None:
        if not answer.cancelled():
            answer.set_result(line)

    def read() -> None:
        try:
            line = os.read(descriptor, LIMITS.answer_bytes)
        except OSError:
            line = b""
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(give, line)

    # Neither a daemon nor a descriptor holds a lock that the end of the process would wait for after Ctrl-C.
    descriptor = sys.stdin.fileno()
    threading.Thread(target=read, name="ekb-answer", daemon=True).start()
    try:
        return (await answer).decode(errors="replace").strip().lower() in _YES
    except asyncio.CancelledError:
        sys.stderr.write("\n")
        raise
