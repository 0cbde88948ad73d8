"""Folders in which the files of a manifest must lie, so that a manifest from outside can name only files from outside.

Paths are checked after `..` and links are resolved. A file elsewhere is not read, and the error does not reveal whether
it exists.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ekb_async.errors import ConfigError

_MAX_CACHED_FOLDERS = 10_000


class Roots:
    """The folder of a manifest and further allowed folders. Raises `ConfigError` if one does not exist."""

    def __init__(self, folder: Path, others: Iterable[str | os.PathLike[str]] = ()) -> None:
        if isinstance(others, str | bytes | os.PathLike):
            raise ConfigError("roots must be several folders, not one")
        others = list(others)
        if not all(isinstance(other, str | os.PathLike) and os.fspath(other) for other in others):
            # An empty path, as from an unset variable, would allow the working directory.
            raise ConfigError("each of the roots must be the path of a folder")
        roots = [folder, *map(Path, others)]
        for root in roots[1:]:
            if not root.is_dir():
                raise ConfigError(f"{root}: there is no such folder")
        self._folder = folder
        self._prefixes = tuple(_as_prefix(os.path.realpath(root)) for root in roots)
        self._real_folder = functools.lru_cache(_MAX_CACHED_FOLDERS)(os.path.realpath)

    def find(self, file: str) -> Path:
        """Return the resolved form of a path that is relative to the manifest's folder.

        Raises `ConfigError` if it lies outside all allowed folders.
        """
        found = self._real_path(os.path.join(self._folder, file))  # noqa: PTH118 - `Path` takes far longer
        if not _as_prefix(found).startswith(self._prefixes):
            raise ConfigError(
                "this file lies outside the folder of the manifest; --root or roots= allows other folders"
            )
        return Path(found)

    def _real_path(self, path: str) -> str:
        folder, name = os.path.split(path)
        if name in {"", os.curdir, os.pardir}:
            return os.path.realpath(path)
        # The files of a manifest lie in few folders, and resolving a folder takes as long as reading a small file.
        found = os.path.join(self._real_folder(folder), name)  # noqa: PTH118 - as above
        try:
            is_link = stat.S_ISLNK(os.lstat(found).st_mode)
        except (OSError, ValueError):
            return found
        return os.path.realpath(found) if is_link else found


def _as_prefix(folder: str) -> str:
    return os.path.normcase(folder.rstrip(os.sep) + os.sep)
