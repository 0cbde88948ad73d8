"""The package's log on standard error, while a command runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ekb_async.cli.language import texts
from ekb_async.cli.output import say
from ekb_async.i18n import Texts

_LOGGER = logging.getLogger("ekb_async")
_VERBOSE = "ekb.verbose"


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


def log(context: Any) -> None:
    """Write log lines to standard error until the command ends, as the options say."""
    context.obj = handler = context.with_resource(log_to_standard_error())
    if context.meta.get(_VERBOSE):
        handler.be_verbose()


def be_verbose(context: Any, _param: Any, value: bool) -> None:  # noqa: FBT001 - typer passes it so
    """Log more. Given before the name of the first command, the option is for the handler that is made next."""
    if value:
        context.meta[_VERBOSE] = True
        if (handler := context.obj) is not None:
            handler.be_verbose()


def _level(names: Texts, record: logging.LogRecord) -> str:
    match record.levelno:
        case logging.INFO:
            return names.word("level", "INFO")
        case logging.WARNING:
            return names.word("level", "WARNING")
        case logging.ERROR:
            return names.word("level", "ERROR")
    return record.levelname
