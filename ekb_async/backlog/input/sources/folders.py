"""The files of a folder and of those in it, in the order in which people see them."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.sources.left_out import FilesLeftOut
from ekb_async.backlog.input.sources.stopping import Stopping
from ekb_async.errors import ManifestError

_DIGITS = re.compile(r"(\d+)")
_LEFTOVERS = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information")
)
_BESIDE_A_DATABASE = ("", "-wal", "-shm", "-journal")


def files_in(
    folder: Path, left_out: FilesLeftOut, without: Collection[Path] = (), stopping: Stopping | None = None
) -> Iterator[Path]:
    """Yield the paths of all files in a folder and in those below it, each folder's names in natural order.

    Hidden files and folders are left out, and so are links, except to files inside the folder. `without` has files and
    folders that are passed over silently, with the files that a database has beside it. Only the names of the folders
    on the way to a file are kept in memory. Raises `ManifestError` if the folder cannot be read.
    """
    walk = _Walk(folder, left_out, without)
    try:
        levels = [walk.names(folder)]
    except OSError as error:
        raise ManifestError.at(folder, f"the folder cannot be read: {error.strerror}") from None
    places, stopping = [folder], stopping or Stopping()
    while levels:
        stopping.check()
        name = next(levels[-1], None)
        if name is None:
            levels.pop()
            places.pop()
            continue
        path = places[-1] / name
        try:
            kind = walk.kind(path)
            if kind == "folder":
                levels.append(walk.names(path))
                places.append(path)
        except OSError as error:
            left_out.add(walk.shown(path), f"it cannot be read: {error.strerror}")
            continue
        if kind == "file":
            yield path


class _Walk:
    """Decides what is taken from one folder."""

    def __init__(self, folder: Path, left_out: FilesLeftOut, without: Collection[Path]) -> None:
        self._folder = folder
        self._left_out = left_out
        self._inside = os.path.join(os.path.realpath(folder), "")  # noqa: PTH118 - with a separator at its end
        self._without = {
            os.path.normcase(os.path.realpath(path) + suffix) for path in without for suffix in _BESIDE_A_DATABASE
        }

    def names(self, folder: Path) -> Iterator[str]:
        """Return the names in a folder. Raises `OSError` if it cannot be read."""
        return iter(sorted(os.listdir(folder), key=natural_key))  # noqa: PTH208 - names only, of a million files

    def shown(self, path: Path) -> str:
        return str(path.relative_to(self._folder))

    def kind(self, path: Path) -> str:
        """Return "file" or "folder", or "" for what is left out. Raises `OSError` if that cannot be seen."""
        mode = path.lstat().st_mode
        # Links to folders are not followed, so this is the real path of everything but a link.
        if os.path.normcase(self._inside + self.shown(path)) in self._without:
            return ""
        if is_hidden(path.name):
            self._left_out.add_hidden(self.shown(path))
        elif not _is_utf_8(path.name):
            self._left_out.add(self.shown(path), "its name is not UTF-8: rename it")
        elif stat.S_ISDIR(mode):
            return "folder"
        elif reason := self._problem(path, mode):
            self._left_out.add(self.shown(path), reason)
        else:
            return "file"
        return ""

    def _problem(self, path: Path, mode: int) -> str:
        """Return why something that is no folder is left out, "" if it is not."""
        if not stat.S_ISLNK(mode):
            return "" if stat.S_ISREG(mode) else "it is no file"
        target = os.path.realpath(path)
        with contextlib.suppress(OSError):
            mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "it is a link to a folder, and such links are not followed"
        if not os.path.normcase(target).startswith(os.path.normcase(self._inside)):
            return "it is a link to a place outside the folder"
        return "" if stat.S_ISREG(mode) else "it is a link that leads to no file"


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or left behind by a system."""
    return name.startswith((".", "~$")) or name.casefold() in _LEFTOVERS


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return the key by which names are sorted as people expect: 2 before 10, without regard to case."""
    parts = _DIGITS.split(unicodedata.normalize("NFC", name[: LIMITS.name_characters_read]).casefold())
    # The parts at odd places are digits.
    return [(1, int(part), "") if at % 2 else (0, 0, part) for at, part in enumerate(parts)], name


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
