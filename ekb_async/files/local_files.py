"""Files on this machine as the vendor takes them: regular ones, not empty, of at most 30 MB, under a name it accepts.

Everything that opens a file blocks and belongs in a thread. It raises `ConfigError` with a reason that does not name
the file, since callers know better how to call it.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ekb_async.errors import ConfigError
from ekb_async.protocol.endpoints import MAX_UPLOAD_BYTES, UPLOAD_NAME_FORBIDS
from ekb_async.validation import checked_text

CHANGED = "the file was changed since it was added: add it again"

_AT_ONCE = 1 << 18
_NO_NAME = "file"
# Opening a pipe that has no writer must not block; Windows has no such flags.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)


def read_file(path: Path, *, sha256: str | None = None) -> bytes:
    """Return the content of a file; `sha256` is what its content must have, as hexadecimal digits, if that is known."""
    content = b"".join(_chunks(path))
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ConfigError(CHANGED)
    return content


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def check_size(size: int) -> None:
    """Raise `ConfigError` unless the vendor takes a file of that many bytes."""
    if size == 0:
        raise ConfigError("the file is empty")
    if size > MAX_UPLOAD_BYTES:
        raise ConfigError(f"the file has {size:,} bytes; at most {MAX_UPLOAD_BYTES:,} can be uploaded")


def checked_name(name: str) -> str:
    """Return the name that a caller gave to an upload; raise `ConfigError` if the vendor does not accept it."""
    checked_text("the name of an uploaded file", name)
    if wrong := next((character for character in name if not _is_accepted(character)), None):
        raise ConfigError(f"the name of an uploaded file must not hold {wrong!r}: {name!r}")
    return name


def accepted_name(path: Path) -> str:
    """Return the name of a file as the vendor accepts it, `_` in place of each character that it does not."""
    # Bytes of a name that are no UTF-8 are surrogates, which cannot be sent.
    name = path.name.encode(errors="replace").decode()
    name = "".join(character if _is_accepted(character) else "_" for character in name)
    return _NO_NAME if not name or name.isspace() else name


def _is_accepted(character: str) -> bool:
    return character not in UPLOAD_NAME_FORBIDS and unicodedata.category(character) != "Cc"


def _chunks(path: Path) -> Iterator[bytes]:
    """Read a file to its end, or until it is larger than the vendor takes."""
    size = 0
    try:
        with _open(path) as file:
            while chunk := file.read(_AT_ONCE):
                size += len(chunk)
                check_size(size)
                yield chunk
    except FileNotFoundError:
        raise ConfigError("there is no such file") from None
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        # A path that no file system takes, as one with a NUL in it, is a ValueError.
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"the file cannot be read: {reason}") from None
    check_size(size)


@contextmanager
def _open(path: Path) -> Iterator[io.FileIO]:
    with open_regular(path) as file:
        check_size(os.fstat(file.fileno()).st_size)
        yield file


def open_regular(path: Path) -> io.FileIO:
    """Open a regular file for reading, and nothing else: a pipe might keep its reader waiting for ever."""
    # Opening a device may change it, so the path is checked before, and the open file afterwards.
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
        raise ConfigError("this is no regular file")
