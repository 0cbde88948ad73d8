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
from collections.abc import Coroutine
from typing import Any, NoReturn

import typer

from ekb_async.errors import ApiError, AuthError, ConfigError, EkbError, PermissionDeniedError
from ekb_async.redaction import redact


class ExitStatus(enum.IntEnum):
    """What the shell is told."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    HOPELESS = 3
    INTERRUPTED = 130


_STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def finish(work: Coroutine[Any, Any, ExitStatus], *, go_on: str = "") -> NoReturn:
    """Runs a command to its end and exits with its status; `go_on` is said when it was stopped before that."""
    raise typer.Exit(_status(work, go_on))


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


def _status(work: Coroutine[Any, Any, ExitStatus], go_on: str) -> ExitStatus:
    try:
        return asyncio.run(_interruptible(work, patient=bool(go_on)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("Interrupted.")
        if go_on:
            say(go_on)
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
        if go_on and not isinstance(error, ConfigError):
            say(go_on)
        return _status_of(error)


async def _interruptible(work: Coroutine[Any, Any, ExitStatus], *, patient: bool) -> ExitStatus:
    """The work, cancelled by each Ctrl-C, SIGTERM or SIGHUP; `patient` work ends in order, and at once on the second.

    asyncio itself would answer the second with an exception in the midst of whatever runs then.
    """
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)

    def cancel() -> None:
        if task.cancel() and task.cancelling() == 1 and patient:
            say("Waiting for calls that are under way. Once more ends at once.")

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
