"""`ReaderPool` and `read_many`: files by the thousand, in processes of their own.

PDFium is not thread-safe, and a hostile file may crash it or keep it busy. So PDFs, pictures and archives are read in
another process, which is replaced if it ends or takes too long; the file it was at gives nothing, the others are not
affected. XML, OFD and what is plainly no invoice file take no libraries and are read in the calling thread.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from ekb_async.einvoice import libraries
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import EInvoice, Reading
from ekb_async.einvoice.processes.process import Message, ReaderProcess
from ekb_async.einvoice.processes.worker import Result
from ekb_async.einvoice.progress import UnusableError
from ekb_async.einvoice.reader import content_of, examine_simple
from ekb_async.errors import ConfigError, EkbError
from ekb_async.validation import checked_inputs, checked_number, checked_whole

K = TypeVar("K")
P = TypeVar("P", bound=str | os.PathLike[str])

_LOGGER = logging.getLogger("ekb_async.einvoice")
_MOST_PROCESSES = 64


class ReaderPoolClosedError(EkbError):
    """Raised by a `ReaderPool` that was closed, also while it was reading."""


class _File(msgspec.Struct, Generic[K]):
    """A file that is to be read, what it gives if that fails, and its result if no process is needed."""

    key: K
    path: str
    reading: Reading
    result: Result | None = None


class ReaderPool:
    """Processes that read invoice files, kept from one call to the next.

    They are started when they are needed, no more than the files ask for. `close` ends them; so does leaving a `with`.
    """

    def __init__(self, processes: int | None = None, *, timeout: float = LIMITS.attempt_seconds) -> None:
        """Start nothing yet.

        `processes` is at most 64, by default the number of processors. A file that takes longer than `timeout` seconds
        ends its process. Raises `ConfigError` for wrong arguments.
        """
        most = _processors() if processes is None else checked_whole("processes", processes, most=_MOST_PROCESSES)
        self.processes = min(most, _MOST_PROCESSES)
        self.missing = ""
        """Which library is not installed that a file asked for, and how to install it; "" for none."""
        self._timeout = checked_number("timeout", timeout, above=0)
        self._idle: list[ReaderProcess] = []
        self._messages: SimpleQueue[tuple[ReaderProcess, Message] | None] = SimpleQueue()
        self._is_reading = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def read(self, paths: Sequence[str | os.PathLike[str]]) -> list[Reading]:
        """Return what `examine` returns for each of these files, in the order of the paths.

        Blocks: in asyncio, call it in a thread; `close` from another one ends it. One call at a time is worked on. A
        file that ends its process or takes too long gives a reading that says no more than its format; so does a PDF or
        picture if the extra is not installed, which `missing` then names. A file that cannot be opened has a problem.

        Raises `ReaderPoolClosedError` if the pool is closed, and `ConfigError` for what is no path, and if no process
        can be started.
        """
        readings = [Reading()] * len(paths)
        with self._is_reading:
            looked_at = [self._looked_at(index, path) for index, path in enumerate(paths)]
            waiting = sum(each.result is None for each in looked_at)
            most = min(self.processes, math.ceil(waiting / LIMITS.files_to_a_process))
            with closing(self._results(iter(looked_at), most)) as results:
                for index, result in results:
                    self.missing = result.missing or self.missing
                    readings[index] = result.reading
        return readings

    def close(self) -> None:
        """End the processes, and a `read` that is under way in another thread."""
        self._is_closed = True
        self._messages.put(None)
        with self._is_reading:
            while self._idle:
                self._idle.pop().stop()

    def stream(self, paths: Iterable[P]) -> Generator[tuple[P, Result], None, None]:
        """Yield each path with its result, in the order in which they are done; the only use of this pool meanwhile."""
        return self._results((self._looked_at(path, path) for path in paths), self.processes)

    def _results(self, files: Iterator[_File[K]], most: int) -> Generator[tuple[K, Result], None, None]:
        """Yield the result of each file with its key, in the order in which they are done."""
        busy: dict[ReaderProcess, _File[K]] = {}
        try:
            while True:
                file = next(files, None) if len(busy) < max(most, 1) else None
                if file is not None and file.result is None:
                    process = self._next_process()
                    busy[process] = file
                    process.begin(file.path)
                    continue
                if file is not None and file.result is not None:
                    yield file.key, file.result
                elif not busy:
                    return
                for process in self._done(busy, wait=file is None):
                    done = busy.pop(process)
                    yield done.key, self._result(process, done)
        finally:
            for process in busy:
                process.stop()

    def _looked_at(self, key: K, path: str | os.PathLike[str]) -> _File[K]:
        """Return a file, with its result if that takes no process. Raises `ConfigError` if it has no path."""
        self._check_open()
        if not isinstance(path, str | os.PathLike):
            raise ConfigError(f"a path is wrong: {type(path).__name__}")
        name = os.fspath(path)
        try:
            if _is_large(name):
                return _File(key, name, Reading())
            reading, is_final = examine_simple(content_of(name), Path(name).name)
        except UnusableError as error:
            reading, is_final = Reading(problem=str(error)), True
        except ConfigError as error:
            reason = str(error)
            return _File(key, name, Reading(), Result(Reading(problem="the file cannot be opened"), unreadable=reason))
        missing = "" if is_final else libraries.missing(reading.format)
        return _File(key, name, reading, Result(reading, missing=missing) if is_final or missing else None)

    def _next_process(self) -> ReaderProcess:
        """Return an idle process that is still running, or a new one."""
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            process.stop()
        try:
            return ReaderProcess(self._timeout, self._messages)
        except OSError as error:
            raise ConfigError(f"a process that reads files cannot be started: {error.strerror}") from None

    def _done(self, busy: Collection[ReaderProcess], *, wait: bool) -> list[ReaderProcess]:
        """Return the processes that have a result, have ended, or took too long; wait for one if asked to."""
        left = min(process.seconds_left for process in busy) if wait else 0
        with suppress(Empty):
            message = self._messages.get(timeout=max(left, 0))
            while True:
                if message is not None:
                    process, what = message
                    process.take(what)
                message = self._messages.get_nowait()
        self._check_open()
        return [process for process in busy if process.is_done]

    def _result(self, process: ReaderProcess, file: _File[K]) -> Result:
        """Return what a process has read, and keep the process or end it.

        Raises `ConfigError` if the process could not start.
        """
        result = process.result
        if process.can_go_on:
            self._idle.append(process)
        else:
            process.stop()
        if result is not None:
            return result
        if process.has_failed_to_start:
            raise ConfigError("the processes that read files end before they have started")
        _LOGGER.warning("reading %s ended its process, or took too long", file.path)
        return Result(file.reading)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ReaderPoolClosedError("this pool of readers is closed")


def read_many(
    paths: Iterable[P], *, processes: int | None = None, timeout: float = LIMITS.attempt_seconds
) -> Generator[tuple[P, list[EInvoice]], None, None]:
    """Yield each path with what `read` returns for it, in the order in which they are done.

    `paths` may be of any length: one path for each process is taken at a time. `processes` and `timeout` are those of a
    `ReaderPool`. A file that cannot be opened, that ends its process, or that takes longer than `timeout` seconds,
    gives an empty list and a line in the log. Closing the generator, or an exception at a `yield`, ends the processes.

    Raises `ConfigError` for wrong arguments, if a PDF or picture is among the files and the extra `einvoice` is not
    installed, and if no process can be started.
    """
    checked_inputs("paths", paths)
    if not isinstance(paths, Iterable):
        raise ConfigError("paths must be an iterable")
    return _invoices(ReaderPool(processes, timeout=timeout), paths)


def _invoices(pool: ReaderPool, paths: Iterable[P]) -> Generator[tuple[P, list[EInvoice]], None, None]:
    with pool, closing(pool.stream(paths)) as results:
        for path, result in results:
            if result.missing:
                raise ConfigError(result.missing)
            if result.unreadable:
                _LOGGER.warning("%s", result.unreadable)
            yield path, result.reading.invoices


def _is_large(path: str) -> bool:
    with suppress(OSError, ValueError):  # opening it gives the reason
        return Path(path).stat().st_size > LIMITS.simple_bytes
    return False


def _processors() -> int:
    """Return the number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
