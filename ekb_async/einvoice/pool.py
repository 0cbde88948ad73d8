"""`read_many`: files by the thousand, in processes of their own.

PDFium is not thread-safe, and a hostile file may crash it or keep it busy. So each file is read in another process,
which is replaced if it ends or takes too long; the file it was at gives an empty list, the others are not affected.
Processes are spawned, since a forked one would share threads and locks with the program.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import TypeVar

from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import EInvoice
from ekb_async.einvoice.worker import Result, work
from ekb_async.errors import ConfigError
from ekb_async.validation import checked_inputs, checked_number, checked_whole

P = TypeVar("P", bound=str | os.PathLike[str])

_LOGGER = logging.getLogger("ekb_async.einvoice")
_SPAWN = get_context("spawn")
_MOST_PROCESSES = 64


def read_many(
    paths: Iterable[P], *, processes: int | None = None, timeout: float = LIMITS.attempt_seconds
) -> Generator[tuple[P, list[EInvoice]], None, None]:
    """Yield each path with what `read` returns for it, in the order in which they are done.

    `paths` may be of any length: one path for each process is taken at a time. `processes` is at most 64, by default
    the number of processors. A file that cannot be opened, that ends its process, or that takes longer than `timeout`
    seconds, gives an empty list and a line in the log. Closing the generator, or an exception at a `yield`, ends the
    processes.

    In a script, call it under `if __name__ == "__main__":`, as all that starts processes with `multiprocessing`.

    Raises `ConfigError` for wrong arguments, if a PDF or picture is among the files and the extra `einvoice` is not
    installed, and if no process can be started.
    """
    checked_inputs("paths", paths)
    if not isinstance(paths, Iterable):
        raise ConfigError("paths must be an iterable")
    count = os.cpu_count() or 1 if processes is None else checked_whole("processes", processes, most=_MOST_PROCESSES)
    checked_number("timeout", timeout, above=0)
    return _results(iter(paths), min(count, _MOST_PROCESSES), timeout)


def _results(paths: Iterator[P], count: int, timeout: float) -> Generator[tuple[P, list[EInvoice]], None, None]:
    idle: list[_Process] = []
    busy: dict[_Process, P] = {}
    try:
        while True:
            for path in islice(paths, count - len(busy)):
                process = _next_process(idle, timeout)
                busy[process] = path
                process.begin(path)
            if not busy:
                return
            for process in _done(busy):
                path, invoices = busy[process], process.result(busy[process])
                del busy[process]
                if process.can_go_on:
                    idle.append(process)
                else:
                    process.stop()
                yield path, invoices
    finally:
        for process in (*busy, *idle):
            process.stop()


def _next_process(idle: list[_Process], timeout: float) -> _Process:
    """Return an idle process that is still running, or a new one."""
    while idle:
        process = idle.pop()
        if process.is_alive:
            return process
        process.stop()
    return _Process(timeout)


def _done(busy: Iterable[_Process]) -> list[_Process]:
    """Wait until something happens; return the processes that have an answer, have ended, or took too long."""
    left = min(process.seconds_left for process in busy)
    heard = set(wait([process.connection for process in busy], max(left, 0)))
    for process in busy:
        if process.connection in heard:
            process.receive()
    return [process for process in busy if process.is_done]


class _Process:
    """One process, which reads one file at a time."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.connection, other = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=work, args=(other,), name="ekb-einvoice", daemon=True)
        self._process.start()
        other.close()
        self._is_ready = False
        self._has_ended = False
        self._files = 0
        self._deadline = 0.0
        self._answer: Result | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the file, or the start of the process, takes too long."""
        return self._deadline - time.monotonic()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def is_done(self) -> bool:
        """Whether there is an answer to the file, or none can be expected any more."""
        return self._answer is not None or self._has_ended or self.seconds_left <= 0

    @property
    def can_go_on(self) -> bool:
        """Whether the process can read another file."""
        return self._answer is not None and self._files < LIMITS.files_per_process

    def begin(self, path: str | os.PathLike[str]) -> None:
        """Give the process a file. Raises `ConfigError` if that is no path."""
        try:
            text = os.fspath(path)
        except TypeError as error:
            raise ConfigError(f"a path is wrong: {error}") from None
        self._files += 1
        self._answer = None
        self._deadline = time.monotonic() + (self._timeout if self._is_ready else LIMITS.start_seconds)
        with suppress(OSError):  # it may have ended, as its connection will show
            self.connection.send(text)

    def receive(self) -> None:
        """Take one message, or note that the process has ended."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self._has_ended = True
            return
        if isinstance(message, Result):
            self._answer = message
        else:
            self._is_ready = True
            self._deadline = time.monotonic() + self._timeout

    def result(self, path: object) -> list[EInvoice]:
        """Return what was read, or an empty list if the process has ended, or took too long for this file.

        Raises `ConfigError` if a library is missing, or if the process could not be started.
        """
        answer = self._answer
        if answer is None:
            if not self._is_ready and not self._was_killed():
                raise ConfigError(
                    "the processes of read_many cannot be started; in a script, call it under "
                    'if __name__ == "__main__":'
                )
            _LOGGER.warning("reading %s ended its process, or took too long", path)
            return []
        if answer.missing:
            raise ConfigError(answer.missing)
        if answer.unreadable:
            _LOGGER.warning("%s", answer.unreadable)
        return answer.invoices

    def _was_killed(self) -> bool:
        self._process.join(LIMITS.stop_seconds)
        return (self._process.exitcode or 0) < 0

    def stop(self) -> None:
        """End the process, at once if it is at a file."""
        self.connection.close()
        self._process.terminate()
        self._process.join(LIMITS.stop_seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
