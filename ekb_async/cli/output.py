"""What a command writes: results to standard output, texts for a person to standard error.

Output for programs (JSON Lines, `status --json`) is UTF-8 in every locale. Texts for a person are in the encoding of
their stream, and a character that the encoding lacks is shown by its escape. An argument that is sent or looked up must
be UTF-8; a path may be any bytes.
"""

from __future__ import annotations

import io
import os
import re
import sys

from ekb_async.errors import ConfigError

_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tabs and line breaks, and those that change the direction of a text."""


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
        from ekb_async.redaction.masking import redact

        raise ConfigError(f"{redact(readable(text))}: this argument is not UTF-8") from None
    return text


def readable(path: str) -> str:
    """Return a path as printable text, with replacement characters for bytes that are not UTF-8."""
    return path.encode(errors="surrogateescape").decode(errors="replace")
