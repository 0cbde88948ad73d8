"""What a command writes: results to standard output, texts for a person and the package's log to standard error.

Output for programs (JSON Lines, `status --json`) is UTF-8 in every locale. Texts for a person are in the encoding of
their stream, and a character that the encoding lacks is shown by its escape. An argument that is sent or looked up must
be UTF-8; a path may be any bytes.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.errors import ConfigError
from ekb_async.i18n import Texts
from ekb_async.redaction.masking import redact

_LOGGER = logging.getLogger("ekb_async")
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tabs and line breaks, and those that change the direction of a text."""
_YES = frozenset({"y", "yes", "是", "好"})


def show_all_characters() -> None:
    """Make the standard streams escape characters that their encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def need_output() -> None:
    """Raise `ConfigError` if standard output is closed, before anything is paid that would be written to it."""
    if sys.stdout is None:
        raise ConfigError("standard output is closed, and results go there")


def write_line(line: bytes) -> None:
    """Write a line of results, in UTF-8, to standard output, and flush it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Write a line for a person to standard error, without characters that would act on a terminal."""
    sys.stderr.write(shown(text) + "\n")
    sys.stderr.flush()


def shown(text: str) -> str:
    """Return a text without characters that would act on a terminal."""
    return _ACTING.sub("\N{REPLACEMENT CHARACTER}", text)


def utf8_argument(text: str) -> str:
    """Return the text of an argument. Raises `ConfigError` if its bytes are not UTF-8."""
    try:
        # In a locale without Chinese, Python decodes the UTF-8 bytes of the argument as surrogate escapes.
        return os.fsencode(text).decode()
    except UnicodeError:
        pass
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{redact(readable(text))}: this argument is not UTF-8") from None
    return text


def readable(path: str) -> str:
    """Return a path as printable text, with replacement characters for bytes that are not UTF-8."""
    return path.encode(errors="surrogateescape").decode(errors="replace")


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


class LogHandler(logging.Handler):
    """Writes to the current `sys.stderr`, which a progress bar may have replaced, in the language of the command."""

    def __init__(self) -> None:
        super().__init__()
        # Lines are logged in other threads too, which do not have the language of this one.
        self._texts = Texts(texts.lang)
        self._is_verbose = False

    def be_verbose(self) -> None:
        """Write information too, and each line with its time, its level and the part of the package."""
        self._is_verbose = True
        _LOGGER.setLevel(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(level)s %(name)s %(message)s"))

    def filter(self, record: logging.LogRecord) -> bool:
        # The progress display shows already why a backlog waits.
        return self._is_verbose or record.name != "ekb_async.backlog"

    def format(self, record: logging.LogRecord) -> str:
        translated = logging.makeLogRecord(vars(record))
        translated.msg, translated.args = self._texts.rendered(record.getMessage()), None
        level = _level(self._texts, record)
        translated.level = level if self._texts.is_chinese else f"{level:<7}"
        return super().format(translated)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:  # noqa: BLE001 - a log line that cannot be written must not end the command
            self.handleError(record)


@contextmanager
def log_to_standard_error() -> Iterator[LogHandler]:
    """Write the package's warnings to standard error during the block."""
    handler, level = LogHandler(), _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.WARNING)
    try:
        yield handler
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)


def _level(names: Texts, record: logging.LogRecord) -> str:
    match record.levelno:
        case logging.INFO:
            return names.word("level", "INFO")
        case logging.WARNING:
            return names.word("level", "WARNING")
        case logging.ERROR:
            return names.word("level", "ERROR")
    return record.levelname
