"""Exports tasks to a file for other programs and for people, in the format that its suffix selects.

The file is written in a hidden directory beside its target, which libraries also use for temporary files, and is moved
to its name once it is complete. The libraries for .xlsx and .parquet are extras, imported on first use.
"""

from __future__ import annotations

import importlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from ekb_async.backlog.results.export.columns import LANGUAGES, Columns, columns_with
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.tasks import Task
from ekb_async.errors import ConfigError, StorageError
from ekb_async.models.wire.exact import exactly

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Writer(Protocol):
    """Writes one format. The methods raise `OSError` if the file cannot be written."""

    def __init__(self, file: BinaryIO, lang: str, scratch: Path, columns: Columns) -> None:
        """Begin writing to `file`; temporary files go into the directory `scratch`."""

    def write(self, tasks: Iterable[Task]) -> None: ...

    def finish(self) -> None:
        """Write what is buffered, and the end of the format."""

    def close(self) -> None:
        """Close everything, whether or not the file was finished."""


class _Format(NamedTuple):
    module: str
    writer: str
    extra: str = ""


_FORMATS = {
    ".jsonl": _Format("text", "JsonLines"),
    ".ndjson": _Format("text", "JsonLines"),
    ".csv": _Format("text", "CsvLines"),
    ".xlsx": _Format("xlsx", "XlsxWorkbook", extra="xlsx"),
    ".parquet": _Format("parquet", "ParquetFile", extra="parquet"),
}


class Export:
    """A file being written; it gets its name once it is complete.

    It has a column for each name in `own`, at most 200 of them, and with `tenants` one for the tenant.

    Raises `ConfigError` for an unknown suffix or language, an extra that is not installed, or a file that cannot be
    written.
    """

    def __init__(self, path: Path, *, lang: str = "en", own: Sequence[str] = (), tenants: bool = False) -> None:
        if lang not in LANGUAGES:
            raise ConfigError(f"lang must be one of {', '.join(LANGUAGES)}, not {lang!r}")
        begin = _writer_for(path)
        columns = columns_with(own[: LIMITS.own_columns], tenants=tenants)
        if path.is_dir():
            raise ConfigError(f"{path}: this is a directory")
        self._path = path
        with self._disk_errors(), ExitStack() as undo:
            _clear(path.parent)
            scratch = Path(tempfile.mkdtemp(prefix=".ekb-export-", suffix=".part", dir=path.parent))
            undo.callback(shutil.rmtree, scratch, ignore_errors=True)
            self._part = _PartFile(io.FileIO(scratch / path.name, "xb"))
            undo.callback(self._part.close)
            self._writer = begin(self._part, lang, scratch, columns)
            undo.callback(self._writer.close)
            undo.callback(self._part.abandon)
            self._undo = undo.pop_all()

    @exactly
    def write(self, tasks: Iterable[Task]) -> None:
        """Write tasks. Raises `ConfigError` if the file cannot be written."""
        with self._disk_errors():
            self._writer.write(tasks)

    @exactly
    def finish(self) -> None:
        """Complete the file and move it to its name, replacing an older one. Raises `ConfigError` as `write` does."""
        with self._disk_errors():
            self._writer.finish()
            self._part.flush()
            os.fsync(self._part.fileno())
            self._part.close()
            Path(self._part.name).replace(self._path)

    def close(self) -> None:
        """Remove temporary files, and the file itself if it was not finished."""
        self._undo.close()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self._path}: the file cannot be written: {error.strerror or error}") from None


class _PartFile(io.BufferedWriter):
    """The file until it gets its name.

    Libraries write the end of their format when they are closed or garbage-collected, even after a write failed because
    the disk was full. Once the file is abandoned, such writes are discarded and raise nothing.
    """

    abandoned = False

    def abandon(self) -> None:
        self.abandoned = True

    def write(self, buffer: ReadableBuffer, /) -> int:
        return memoryview(buffer).nbytes if self.abandoned else super().write(buffer)

    def seek(self, target: int, whence: int = 0, /) -> int:
        return 0 if self.abandoned else super().seek(target, whence)

    def tell(self) -> int:
        return 0 if self.abandoned else super().tell()

    def flush(self) -> None:
        if not self.abandoned:
            super().flush()


def _clear(directory: Path) -> None:
    """Remove the directories of killed exports: those older than any export takes."""
    for leftover in directory.glob(".ekb-export-*.part"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > LIMITS.leftover_seconds:
                shutil.rmtree(leftover, ignore_errors=True)


def _writer_for(path: Path) -> type[_Writer]:
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"{path}: an export ends in .jsonl, .csv, .xlsx or .parquet")
    try:
        module = importlib.import_module(f"ekb_async.backlog.results.export.{form.module}")
    except ImportError as error:
        raise ConfigError(
            f'{path}: {path.suffix} needs a library that is not there ({error}): pip install "ekb-async[{form.extra}]"'
        ) from None
    writer: type[_Writer] = getattr(module, form.writer)
    return writer
