"""Atomic files: written under a temporary name in the target's directory, renamed when complete.

A temporary name is `.ekb-<random>.part`, so no two writers share one. It is only opened as a new file, and neither
opening nor renaming follows a link that was put there. A killed process leaves its part file behind. A writer holds the
system's lock on its part file, and the lock ends with the process, so a part file that can be locked is abandoned and
is removed; on Windows a file in use cannot be removed anyway.

Everything here blocks and belongs in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ekb_async.errors import StorageError

_PART = re.compile(r"\.ekb-[0-9a-f]{16}\.part")

if sys.platform == "win32":

    def _lock(file: BinaryIO) -> None:
        pass

    def _remove_unless_in_use(path: Path) -> None:
        path.unlink()

    def _sync_entries(directory: Path) -> None:
        pass

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        # A file system without locks is used all the same; its part files then count as in use.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)

    def _remove_unless_in_use(path: Path) -> None:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()

    def _sync_entries(directory: Path) -> None:
        entries = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(entries)
        finally:
            os.close(entries)


def prepare(directory: Path) -> None:
    """Create the directory if it is missing, and remove part files of processes that were killed.

    Raises `StorageError` if the directory cannot be created or read.
    """
    with _as_config_error(directory, for_all=True):
        directory.mkdir(parents=True, exist_ok=True)
        with os.scandir(directory) as entries:
            parts = [entry.name for entry in entries if _PART.fullmatch(entry.name) and _is_regular(entry)]
    for name in parts:
        with contextlib.suppress(OSError):
            _remove_unless_in_use(directory / name)


def is_there(path: Path) -> bool:
    """Return whether a file exists at the path; a link is not one, wherever it leads."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


class PartFile:
    """A file that will appear at `path`. `append` and `complete` raise `StorageError` if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: tuple[Path, BinaryIO] | None = None

    def append(self, data: bytes | bytearray) -> None:
        with _as_config_error(self._path.parent, for_all=True):
            _, file = self._opened()
            file.write(data)

    def complete(self, rest: bytes | bytearray) -> None:
        """Append the rest and move the file to its path, replacing an older one."""
        with _as_config_error(self._path.parent, for_all=True):
            self._write_rest(rest)
        with _as_config_error(self._path, for_all=False):
            self._rename()

    def discard(self) -> None:
        """Remove the part file, if there is one."""
        if self._open is None:
            return
        (part, file), self._open = self._open, None
        # Closing writes what is left in the buffer, which fails on a full disk.
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            part.unlink()

    def complete_in_place_of(self, content: bytes) -> None:
        """Do what `complete` does, with the permissions of the older file, and raise `OSError`."""
        part, _ = self._opened()
        if self._path.exists():
            part.chmod(self._path.stat().st_mode & 0o777)
        self._write_rest(content)
        self._rename()

    def _write_rest(self, rest: bytes | bytearray) -> None:
        _, file = self._opened()
        file.write(rest)
        file.flush()
        os.fsync(file.fileno())

    def _rename(self) -> None:
        part, file = self._opened()
        if sys.platform == "win32":
            file.close()
        part.replace(self._path)
        self._open = None
        file.close()
        _sync_entries(self._path.parent)

    def _opened(self) -> tuple[Path, BinaryIO]:
        while self._open is None:
            part = self._path.with_name(f".ekb-{secrets.token_hex(8)}.part")
            file = part.open("xb")
            _lock(file)
            if os.fstat(file.fileno()).st_nlink:
                self._open = part, file
            else:
                # Another process took it for abandoned and removed it, just before it was locked.
                file.close()
        return self._open


def _is_regular(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


@contextlib.contextmanager
def _as_config_error(path: Path, *, for_all: bool) -> Iterator[None]:
    """Turn errors of the file system into `StorageError`; `for_all` if every other file would fail as well."""
    try:
        yield
    except (OSError, ValueError) as error:
        # A path that no file system accepts, such as one with a NUL, raises ValueError.
        reason = error.strerror if isinstance(error, OSError) else error
        problem = StorageError(f"{path}: files of invoices cannot be kept there: {reason}")
        # One file that is too large is no sign that others are.
        problem.for_all = for_all and not (isinstance(error, OSError) and error.errno == errno.EFBIG)
        raise problem from None


def write_whole(path: Path, content: bytes) -> None:
    """Write the content to the path atomically, replacing an older file. Raises `StorageError` if it cannot."""
    part = PartFile(path)
    try:
        part.complete_in_place_of(content)
    except OSError as error:
        raise StorageError(f"{path}: the file cannot be written: {error.strerror}") from None
    finally:
        part.discard()
