"""Run a command to its end: its exit status, and the message for a person.

No error of the package and no `OSError` ends in a traceback. `AuthError` and `PermissionDeniedError` have an exit
status of their own: repeating the command cannot help until a key is changed or a feature is enabled.
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

from ekb_async.cli.language import texts
from ekb_async.cli.output import say
from ekb_async.errors import ApiError, AuthError, ConfigError, EkbError, PermissionDeniedError
from ekb_async.redaction.masking import redact


class ExitStatus(enum.IntEnum):
    """The exit status of a command."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    HOPELESS = 3
    INTERRUPTED = 130


class Interruption:
    """How to end work in order when it is interrupted, and how to continue it; `go_on` is the sentence that says so."""

    def __init__(self, go_on: str) -> None:
        self._go_on = go_on
        self.broken_off = 0
        """Number of calls that were sent and then broken off without an answer."""
        self.break_off: Callable[[], object] | None = None
        """Called on a second Ctrl-C or signal, to end at once."""

    @property
    def last_line(self) -> str:
        """The sentence about calls broken off, if any, and how to go on."""
        if not self.broken_off:
            return self._go_on
        return texts(
            "{count:,} call was broken off and may be billed. {go_on}",
            "{count:,} calls were broken off and may be billed. {go_on}",
            count=self.broken_off,
            go_on=self._go_on,
        )


_STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def finish(work: Coroutine[Any, Any, ExitStatus], interruption: Interruption | None = None) -> NoReturn:
    """Run a command to its end and exit with its status.

    With an `interruption`, the first Ctrl-C, SIGTERM or SIGHUP ends it in order, and the second ends it at once.
    """
    raise typer.Exit(_status(work, interruption))


def is_hopeless(error: BaseException | None) -> bool:
    """Return whether every further call would fail as well."""
    return isinstance(error, AuthError | PermissionDeniedError)


def message_of(error: BaseException) -> str:
    """Return the text of an error in the language of the command, without secrets and without its hint."""
    if isinstance(error, ApiError):
        text = error.message
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error)
    return texts.rendered(redact(text)) or type(error).__name__


def hint_of(error: BaseException) -> str:
    """Return what to check in the language of the command, or "" if the error has no hint."""
    return texts.rendered(str(getattr(error, "hint", "")))


def _status(work: Coroutine[Any, Any, ExitStatus], interruption: Interruption | None) -> ExitStatus:
    try:
        return asyncio.run(_interruptible(work, interruption))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say(texts("Interrupted."))
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
            say(f"     {texts.rendered(redact(note))}")
        if interruption is not None and (interruption.broken_off or not isinstance(error, ConfigError)):
            say(interruption.last_line)
        return _status_of(error)


async def _interruptible(work: Coroutine[Any, Any, ExitStatus], interruption: Interruption | None) -> ExitStatus:
    """Await the work; each Ctrl-C, SIGTERM or SIGHUP cancels it.

    asyncio's own handler raises `KeyboardInterrupt` in the running code on the second Ctrl-C.
    """
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)

    def cancel() -> None:
        if not task.cancel() or interruption is None:
            return
        if task.cancelling() == 1:
            say(texts("Waiting for calls in progress. Interrupt again to end at once."))
        elif interruption.break_off is not None:
            interruption.break_off()

    def interrupt(*_: object) -> None:
        loop.call_soon_threadsafe(cancel)

    # Signals can be handled in the main thread only; in another thread, the caller has to stop the command.
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
    """Point standard output to nothing: its reader has gone, and the flush at exit would raise again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
