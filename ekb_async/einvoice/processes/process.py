"""One process of a `ReaderPool`, which reads one file at a time.

It is no process of `multiprocessing`, which would import the program's main script again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import msgspec

from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.processes.worker import Result, receive, result_of, send

_CODE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = {}; "
    "from ekb_async.einvoice.processes.worker import main; main()"
)
"""Interrupts are for the program, which ends its processes."""

Message = Result | bool
"""A result; True when the process has started, False when it has ended."""


class ReaderProcess:
    """A process, and the thread that waits for what it sends."""

    def __init__(self, timeout: float, messages: SimpleQueue[tuple[ReaderProcess, Message] | None]) -> None:
        """Start the process. Raises `OSError` if that is not possible."""
        self._timeout = timeout
        self._messages = messages
        command = [sys.executable, "-c", _CODE.format([each for each in sys.path if isinstance(each, str)])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own code
        self._is_ready = False
        self._has_ended = False
        self._files = 0
        self._deadline = time.monotonic() + LIMITS.start_seconds
        self.result: Result | None = None
        self._thread = threading.Thread(target=self._wait, name="ekb-einvoice", daemon=True)
        self._thread.start()

    @property
    def seconds_left(self) -> float:
        """Seconds until the file, or the start of the process, takes too long."""
        return self._deadline - time.monotonic()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_done(self) -> bool:
        """Whether there is a result, or none can be expected any more."""
        return self.result is not None or self._has_ended or self.seconds_left <= 0

    @property
    def can_go_on(self) -> bool:
        """Whether the process can read another file."""
        return self.result is not None and self._files < LIMITS.files_per_process

    @property
    def has_failed_to_start(self) -> bool:
        """Whether the process ended by itself before it could read a file."""
        if self._is_ready:
            return False
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LIMITS.stop_seconds)
        return (self._process.returncode or 0) >= 0

    def begin(self, path: str | os.PathLike[str]) -> None:
        """Give the process a file."""
        self._files += 1
        self.result = None
        self._deadline = time.monotonic() + (self._timeout if self._is_ready else LIMITS.start_seconds)
        if self._process.stdin is not None:
            with suppress(OSError, ValueError):  # it may have ended, as a message will show
                send(self._process.stdin, os.fsencode(Path(path).absolute()))  # the program may change its folder

    def take(self, message: Message) -> None:
        """Note what the process has sent."""
        if isinstance(message, Result):
            self.result = message
        elif message:
            self._is_ready = True
            self._deadline = time.monotonic() + self._timeout
        else:
            self._has_ended = True

    def stop(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _wait(self) -> None:
        """Pass on what the process sends, until it ends. Runs in the thread."""
        stream = self._process.stdout
        with suppress(EOFError, OSError, ValueError, msgspec.MsgspecError):
            while stream is not None:
                message = receive(stream)
                self._messages.put((self, result_of(message) if message else True))
        self._messages.put((self, False))
