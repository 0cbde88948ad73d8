"""Files that are whole or not there: written under a temporary name beside their place, renamed when complete.

A temporary name is `.ekb-<random>.part`, so that nobody else has it, and it is opened only as a new file: neither it
nor the renaming follows a link that someone put there. A killed process leaves its part behind. Whoever writes one
holds the system's lock on it, which ends with the process, so a part that can be locked is nobody's and is removed; on
Windows a file in use cannot be removed anyway.

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
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from ekb_async.errors import ConfigError

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
        # A file system without locks is written to all the same; its parts then count as in use.
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
    """Makes the directory if it is missing and removes parts left by processes that were killed."""
    with _in_our_terms(directory, for_all=True):
        directory.mkdir(parents=True, exist_ok=True)
        with os.scandir(directory) as entries:
            parts = [entry.name for entry in entries if _PART.fullmatch(entry.name) and _is_regular(entry)]
    for name in parts:
        with contextlib.suppress(OSError):
            _remove_unless_in_use(directory / name)


def is_there(path: Path) -> bool:
    """Whether a file is in its place already; a link, wherever it leads, is not one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


class PartFile:
    """A file on its way to `path`. All methods raise `ConfigError` if the disk does not do as it should."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: tuple[Path, BinaryIO] | None = None

    def append(self, data: bytes | bytearray) -> None:
        with _in_our_terms(self._path.parent, for_all=True):
            _, file = self._opened()
            file.write(data)

    def complete(self, rest: bytes | bytearray) -> None:
        """Appends the rest and puts the file in its place, instead of whatever may be there."""
        with _in_our_terms(self._path.parent, for_all=True):
            part, file = self._opened()
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
        with _in_our_terms(self._path, for_all=False):
            if sys.platform == "win32":
                file.close()
            part.replace(self._path)
            self._open = None
            file.close()
            _sync_entries(self._path.parent)

    def discard(self) -> None:
        """Removes what is not in its place yet, if there is anything."""
        if self._open is None:
            return
        (part, file), self._open = self._open, None
        # Closing writes what is left, for which a full disk has no room.
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            part.unlink()

    def _opened(self) -> tuple[Path, BinaryIO]:
        while self._open is None:
            part = self._path.with_name(f".ekb-{secrets.token_hex(8)}.part")
            file = part.open("xb")
            _lock(file)
            if os.fstat(file.fileno()).st_nlink:
                self._open = part, file
            else:
                # Taken for left behind and removed by another process, just before it was locked.
                file.close()
        return self._open


def _is_regular(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


@contextlib.contextmanager
def _in_our_terms(path: Path, *, for_all: bool) -> Iterator[None]:
    """Tells of trouble with the disk; `for_all` if every other file would meet it too."""
    try:
        yield
    except (OSError, ValueError) as error:
        # A path that no file system takes, as one with a NUL in it, is a ValueError.
        reason = error.strerror if isinstance(error, OSError) else error
        problem = ConfigError(f"{path}: files of invoices cannot be kept there: {reason}")
        # A file that is too large says nothing about the others.
        problem.for_all = for_all and not (isinstance(error, OSError) and error.errno == errno.EFBIG)
        raise problem from None


def write_whole(path: Path, content: bytes) -> None:
    """Puts the content in the place of an older file. Raises `ConfigError` if it cannot be written."""
    try:
        with ExitStack() as undo:
            part = path.with_name(f".ekb-{secrets.token_hex(8)}.part")
            undo.callback(part.unlink, missing_ok=True)
            with part.open("xb") as file:
                if path.exists():
                    part.chmod(path.stat().st_mode & 0o777)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be written: {error.strerror}") from None
