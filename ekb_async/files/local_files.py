"""Local files within the vendor's limits: regular files, not empty, at most 30 MB, under a name that it accepts.

The functions that open a file block, so call them in a thread. They raise `ConfigError` with a reason that does not
name the file; the caller adds the name by which its user knows the file.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from ekb_async.errors import ConfigError
from ekb_async.files.limits import LIMITS
from ekb_async.protocol.endpoints import MAX_UPLOAD_BYTES, UPLOAD_NAME_FORBIDS
from ekb_async.validation import checked_text

CHANGED = "the file was changed since it was added: add it again"

_NO_NAME = "file"
# O_NONBLOCK: opening a pipe without a writer must not block. Windows lacks most of these flags.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)


def read_file(path: Path, *, sha256: str | None = None) -> bytes:
    """Return the content of a file.

    `sha256` is the digest it must have, in hexadecimal digits; None if any will do. Raises `ConfigError` if the digest
    differs, or the file cannot be read or uploaded.
    """
    content = b"".join(_chunks(path))
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ConfigError(CHANGED)
    return content


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def check_size(size: int) -> None:
    """Raise `ConfigError` unless the vendor accepts a file of that many bytes."""
    if size == 0:
        raise ConfigError("the file is empty")
    if size > MAX_UPLOAD_BYTES:
        raise ConfigError(f"the file has {size:,} bytes; at most {MAX_UPLOAD_BYTES:,} can be uploaded")


def checked_name(name: str) -> str:
    """Return the name given for an upload; raise `ConfigError` if the vendor does not accept it."""
    checked_text("the name of an uploaded file", name)
    if refused := next((character for character in name if not _is_accepted(character)), None):
        raise ConfigError(f"the name of an uploaded file must not hold {refused!r}: {name!r}")
    return name


def accepted_name(path: Path) -> str:
    """Return the name of a file with `_` in place of each character that the vendor does not accept."""
    # Bytes of a name that are not UTF-8 become surrogates, which cannot be sent.
    name = path.name.encode(errors="replace").decode()
    name = "".join(character if _is_accepted(character) else "_" for character in name)
    return _NO_NAME if not name or name.isspace() else name


def _is_accepted(character: str) -> bool:
    return character not in UPLOAD_NAME_FORBIDS and unicodedata.category(character) != "Cc"


def _chunks(path: Path) -> Iterator[bytes]:
    """Read a file to its end. Raises `ConfigError` as soon as it proves larger than the vendor accepts."""
    size = 0
    try:
        with open_regular(path) as file:
            check_size(os.fstat(file.fileno()).st_size)
            while chunk := file.read(LIMITS.read_chunk_bytes):
                size += len(chunk)
                check_size(size)
                yield chunk
    except FileNotFoundError:
        raise ConfigError("there is no such file") from None
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        # An impossible path, such as one with a NUL in it, raises ValueError.
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"the file cannot be read: {reason}") from None
    check_size(size)


def open_regular(path: Path) -> io.FileIO:
    """Open a regular file for reading; raise `ConfigError` for anything else, since a pipe may block its reader."""
    # Opening a device may change its state, so the path is checked first. The open file is checked again, since the
    # path may have been replaced in between.
    _check_kind(path.stat())
    file = open(os.open(path, _OPEN_FLAGS), "rb", buffering=0)  # noqa: PTH123, SIM115 - pathlib opens without flags
    try:
        _check_kind(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def _check_kind(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError("this is not a regular file")
