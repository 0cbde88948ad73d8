"""The encodings of a command's input and output.

Output for programs (JSON Lines, `status --json`) is UTF-8 in every locale. Texts for a person are in the encoding of
their stream, and a character that the encoding lacks is shown by its escape. An argument that is sent or looked up must
be UTF-8; a path may be any bytes.
"""

from __future__ import annotations

import io
import os
import sys

from ekb_async.errors import ConfigError
from ekb_async.redaction.masking import redact


def show_all_characters() -> None:
    """Make the standard streams escape characters that their encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_line(line: bytes) -> None:
    """Write a line of results, in UTF-8, to standard output, and flush it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def utf8_argument(text: str) -> str:
    """Return the text of an argument. Raises `ConfigError` if its bytes are not UTF-8."""
    if text.isascii():
        return text
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
