"""How a command ends: its exit status, and the sentence for a person.

No error of the package and no trouble with a file ends in a traceback. `AuthError` and `PermissionDeniedError` have a
status of their own: repeating the command cannot help before somebody has changed a key or switched on a feature.
"""

from __future__ import annotations

import asyncio
import enum
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import typer

from ekb_async.errors import ApiError, AuthError, ConfigError, EkbError, PermissionDeniedError
from ekb_async.redaction.masking import redact


class ExitStatus(enum.IntEnum):
    """What the shell is told."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    HOPELESS = 3
    INTERRUPTED = 130


class Interruption:
    """What becomes of work that is interrupted and ends in order, and that another command goes on with."""

    def __init__(self, go_on: str) -> None:
        self._go_on = go_on
        self.broken_off = 0
        """How many calls that were sent were broken off before they were answered."""
        self.break_off: Callable[[], object] | None = None
        """What a second wish to end calls."""

    @property
    def last_line(self) -> str:
        """What was broken off, and how to go on."""
        if not self.broken_off:
            return self._go_on
        calls = "1 call was" if self.broken_off == 1 else f"{self.broken_off:,} calls were"
        return f"{calls} broken off and may be billed. {self._go_on}"


_STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def finish(work: Coroutine[Any, Any, ExitStatus], interruption: Interruption | None = None) -> NoReturn:
    """Run a command to its end and exit with its status.

    With an `interruption`, a first Ctrl-C, SIGTERM or SIGHUP lets it end in order, and only the second ends it at once.
    """
    raise typer.Exit(_status(work, interruption))


def say(text: str) -> None:
    """A line for a person, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def need_output() -> None:
    """Raises `ConfigError` if there is no standard output, before anything is paid that would be written to it."""
    if sys.stdout is None:
        raise ConfigError("standard output is closed, and results go there")


def is_hopeless(error: BaseException | None) -> bool:
    """Whether every further call would fail as well."""
    return isinstance(error, AuthError | PermissionDeniedError)


def message_of(error: BaseException) -> str:
    """The error's own text, without secrets and without the hint."""
    if isinstance(error, ApiError):
        text = error.message
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error)
    return redact(text) or type(error).__name__


def hint_of(error: BaseException) -> str:
    """What to check, empty if there is nothing to add."""
    return str(getattr(error, "hint", ""))


def _status(work: Coroutine[Any, Any, ExitStatus], interruption: Interruption | None) -> ExitStatus:
    try:
        return asyncio.run(_interruptible(work, interruption))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("Interrupted.")
        if interruption is not None:
            say(interruption.last_line)
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        _leave_the_pipe()
        return ExitStatus.SOME_FAILED
    except (EkbError, OSError) as error:
        say(f"ekb: {message_of(error)}")
        if hint := hint_of(error):
            say(f"     {hint}")
        for note in getattr(error, "__notes__", ()):
            say(f"     {redact(note)}")
        if interruption is not None and (interruption.broken_off or not isinstance(error, ConfigError)):
            say(interruption.last_line)
        return _status_of(error)


async def _interruptible(work: Coroutine[Any, Any, ExitStatus], interruption: Interruption | None) -> ExitStatus:
    """The work, cancelled by each Ctrl-C, SIGTERM or SIGHUP.

    asyncio itself would answer the second with an exception in the midst of whatever runs then.
    """
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)

    def cancel() -> None:
        if not task.cancel() or interruption is None:
            return
        if task.cancelling() == 1:
            say("Waiting for calls that are under way. Once more ends at once.")
        elif interruption.break_off is not None:
            interruption.break_off()

    def interrupt(*_: object) -> None:
        loop.call_soon_threadsafe(cancel)

    # Signals are handled in the main thread; a command that runs in another one is stopped by what runs it there.
    stopping = _STOPPING if threading.current_thread() is threading.main_thread() else []
    before = {each: signal.signal(each, interrupt) for each in stopping}
    try:
        return await task
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _status_of(error: EkbError | OSError) -> ExitStatus:
    if is_hopeless(error):
        return ExitStatus.HOPELESS
    if isinstance(error, ConfigError) or not isinstance(error, EkbError):
        return ExitStatus.USAGE
    return ExitStatus.SOME_FAILED


def _leave_the_pipe() -> None:
    """Whoever read our output has left, and the interpreter must not find out again when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
