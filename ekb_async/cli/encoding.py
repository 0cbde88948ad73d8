"""Texts in and out of a command, whatever encoding the terminal, the redirected file or the arguments have.

What a program reads (JSON Lines, `status --json`) is UTF-8 in every locale. What a person reads is in the encoding of
its stream, where a character that this lacks is shown by its escape. An argument that is sent or looked up has to be
UTF-8; a path may be any bytes.
"""

from __future__ import annotations

import io
import os
import sys

from ekb_async.errors import ConfigError
from ekb_async.redaction.masking import redact


def show_all_characters() -> None:
    """Let the standard streams escape what their encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_line(line: bytes) -> None:
    """Write a line of results, in UTF-8, to standard output, and flush it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def utf8_argument(text: str) -> str:
    """Return the text of an argument; raise `ConfigError` if its bytes are not UTF-8."""
    if text.isascii():
        return text
    try:
        # In a locale without Chinese, Python takes the argument's bytes for undecodable, though they are UTF-8.
        return os.fsencode(text).decode()
    except UnicodeError:
        pass
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{redact(readable(text))}: this argument is not UTF-8") from None
    return text


def readable(path: str) -> str:
    """Return a path as a text that can be shown, with marks in place of what is not UTF-8."""
    return path.encode(errors="surrogateescape").decode(errors="replace")
