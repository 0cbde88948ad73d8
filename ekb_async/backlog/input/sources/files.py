"""The rows of a folder, of a ZIP archive, or of a single file: one for each file that may be an invoice."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ekb_async.backlog.input.manifest import kept_path
from ekb_async.backlog.input.rows.identity import file_identity
from ekb_async.backlog.input.rows.kinds import OF_FILES
from ekb_async.backlog.input.rows.row import ManifestRow, has_control
from ekb_async.backlog.input.rows.staff import staff_reference
from ekb_async.backlog.input.sources.archives import folder_of, unpack
from ekb_async.backlog.input.sources.content import LOOKED_AT_BYTES, REASONS, content_of, is_foreign
from ekb_async.backlog.input.sources.folders import files_in
from ekb_async.backlog.input.sources.left_out import FilesLeftOut
from ekb_async.backlog.input.sources.stopping import Stopping
from ekb_async.errors import ConfigError, ManifestError
from ekb_async.files.local_files import open_regular

ARCHIVE = "archive"
"""The column with the archive of a file, and the name of the file in it."""
ALL = "*"
"""Stands for the manifest of a folder: the paths of its files are relative to the folder."""
_IS_NO_PATH = ("attachment:", "http:", "https:")
"""Beginnings by which a file of a manifest is taken for something else."""


class _Found(NamedTuple):
    path: Path
    name: str


class FileSource:
    """Files to be recognised or verified, read as a manifest is. `path` is what the backlog keeps as its manifest.

    `source` is a folder, a ZIP archive or one file. Archives are unpacked under `unpacked`; `without` has files and
    folders in the folder that are not looked at. `left_out` has the files that give no row. `stopping` ends the work of
    another thread. Raises `ConfigError` if
    `kind` is none of a file, or `verify` and no `staff_id` is given, `ManifestError` if the source cannot be read.
    """

    columns: tuple[str, ...] = ()

    def __init__(
        self,
        source: Path,
        unpacked: Path,
        *,
        kind: str,
        staff_id: str = "",
        without: Collection[Path] = (),
        stopping: Stopping | None = None,
    ) -> None:
        if kind not in OF_FILES:
            raise ConfigError(f"files without a manifest need a kind, one of {', '.join(OF_FILES)}")
        self._kind, self._staff_id = kind, staff_reference(staff_id)
        if kind == "verify" and not self._staff_id:
            raise ConfigError("verify needs a staff_id, that of the person who verifies; ocr needs none")
        self.left_out = FilesLeftOut()
        self._has_archives = False
        self.names: dict[str, str] = {}
        """The names of files in archives as people know them, by the row's file; may be cleared at any time."""
        self._source = kept_path(source, "a folder or file")
        self._unpacked = kept_path(unpacked, "a folder")
        self._without = (*without, self._unpacked)
        self._stopping = stopping or Stopping()
        if self._source.is_dir():
            self._folder, self._find = self._source, self._in_folder
        elif _content(self._source) == "zip":
            self._folder, self._find = folder_of(self._source, self._unpacked, self._stopping), self._in_archive
        else:
            self._folder, self._find = self._source.parent, self._alone
        self.path = self._folder / ALL

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns of the rows' own: the name in its archive, of a file that was unpacked."""
        return (ARCHIVE,) if self._has_archives else ()

    def close(self) -> None:
        """Do nothing: files are only open while a row is made."""

    def locate(self, row: ManifestRow) -> Path:
        """Return the path of the file of a row."""
        return self._folder / row.file

    def rows(self) -> Iterator[ManifestRow]:
        """Yield a row for each file, and hash it. Files that cannot be added are counted in `left_out`.

        Raises `ManifestError` if the source itself cannot be read, `StorageError` if an archive cannot be unpacked.
        """
        numbers = itertools.count(1)
        for path, name in self._find():
            try:
                identity = file_identity(self._kind, self._file(path), self._folder.joinpath)
                _check_format(path)
            except ConfigError as error:
                self.left_out.add(name, str(error))
                continue
            file, own = self._file(path), ""
            if path.is_relative_to(self._unpacked):
                self._has_archives = True
                self.names[file] = name
                own = msgspec.json.encode({ARCHIVE: name}).decode()
            yield ManifestRow(
                next(numbers), kind=self._kind, identity=identity, file=file, staff_id=self._staff_id, own=own
            )

    def _in_folder(self) -> Iterator[_Found]:
        for path in files_in(self._folder, self.left_out, self._without, self._stopping):
            name = str(path.relative_to(self._folder))
            try:
                content = _content(path)
            except ManifestError as error:
                self.left_out.add(name, error.problems[0].reason)
                continue
            if content == "zip":
                yield from self._unpacked_in(path, name)
            elif content in REASONS:
                self.left_out.add(name, REASONS[content])
            elif has_control("file", name):
                self.left_out.add(name, "its name has control characters: rename it")
            else:
                yield _Found(path, name)

    def _unpacked_in(self, path: Path, name: str) -> Iterator[_Found]:
        """Yield the files of an archive in the folder; it is left out if it is damaged."""
        try:
            yield from self._entries(path, name)
        except ManifestError as error:
            self.left_out.add(name, error.problems[0].reason)

    def _in_archive(self) -> Iterator[_Found]:
        yield from self._entries(self._source, self._source.name)

    def _entries(self, archive: Path, name: str) -> Iterator[_Found]:
        """Yield the files of an archive, which counts as left out if it has nothing at all."""
        before, is_empty = self.left_out.count, True
        for found in unpack(archive, self._unpacked, self.left_out, name, self._stopping):
            is_empty = False
            yield _Found(*found)
        if is_empty and self.left_out.count == before:
            self.left_out.add(name, "this ZIP archive has no files")

    def _alone(self) -> Iterator[_Found]:
        if (content := _content(self._source)) in REASONS:
            raise ManifestError.at(self._source, REASONS[content])
        yield _Found(self._source, self._source.name)

    def _file(self, path: Path) -> str:
        """Return a path as the row has it: relative if it lies in the folder."""
        if not path.is_relative_to(self._folder):
            return str(path)
        file = str(path.relative_to(self._folder))
        return os.path.join(os.curdir, file) if file.startswith(_IS_NO_PATH) else file  # noqa: PTH118 - keeps `./`


def _check_format(path: Path) -> None:
    """Raise `ConfigError` for a file that no invoice can be, which would be paid for all the same."""
    with contextlib.suppress(OSError), open_regular(path) as file:
        if is_foreign(file.read(LOOKED_AT_BYTES)):
            raise ConfigError("no invoice file")


def _content(path: Path) -> str:
    """Return what a file is. Raises `ManifestError` if it cannot be read."""
    try:
        with open_regular(path) as file:
            return content_of(file, path.name)
    except FileNotFoundError:
        raise ManifestError.at(path, "there is no such file or folder") from None
    except OSError as error:
        raise ManifestError.at(path, f"it cannot be read: {error.strerror}") from None
    except ManifestError:
        raise
    except ConfigError as error:
        raise ManifestError.at(path, str(error)) from None
