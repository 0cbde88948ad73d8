"""Exports tasks to a file for other programs and for people, in the format that its suffix selects.

The file is written in a hidden directory beside its target, which libraries also use for temporary files, and is moved
to its name once it is complete, together with the file of invoice lines if there is one. The libraries for .xlsx and
.parquet are extras, imported on first use.
"""

from __future__ import annotations

import importlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ekb_async.backlog.results.export.about import About
from ekb_async.backlog.results.export.columns import columns_with
from ekb_async.backlog.results.export.lines import line_columns
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.results.tasks import Task
from ekb_async.errors import ConfigError, StorageError
from ekb_async.i18n.language import checked_language
from ekb_async.models.wire.exact import exactly

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Writer(Protocol):
    """Writes one format. The methods raise `OSError` if the file cannot be written."""

    def write(self, tasks: Iterable[Task]) -> None: ...

    def finish(self) -> None:
        """Write what is buffered, and the end of the format."""

    def close(self) -> None:
        """Close everything, whether or not the file was finished."""


class _Format(NamedTuple):
    """The module and class that write a format, the class for its second file with the lines, and the extra."""

    module: str
    writer: str
    lines: str = ""
    extra: str = ""


_FORMATS = {
    ".jsonl": _Format("text", "JsonLines"),
    ".ndjson": _Format("text", "JsonLines"),
    ".csv": _Format("text", "CsvLines", lines="CsvInvoiceLines"),
    ".xlsx": _Format("workbook", "XlsxWorkbook", extra="xlsx"),
    ".parquet": _Format("parquet", "ParquetFile", lines="ParquetInvoiceLines", extra="parquet"),
}


def lines_path(path: Path) -> Path:
    """Return the path of the file with the lines of the invoices in another file: `results.lines.csv`."""
    return path.with_suffix(f".lines{path.suffix}")


class Export:
    """A file being written; it gets its name once it is complete.

    It has a column for each name in `own`, at most 200 of them, and with `tenants` one for the tenant. With `lines`, a
    second file is written with the lines of the invoices, at `lines_path`. `about` is for the summary of a workbook.

    Raises `ConfigError` for an unknown suffix or language, `lines` of a format that has no such file, an extra that is
    not installed, or a file that cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        lang: str = "en",
        own: Sequence[str] = (),
        tenants: bool = False,
        lines: bool = False,
        about: About | None = None,
    ) -> None:
        checked_language(lang)
        form, module = _format_of(path, lines=lines)
        columns = columns_with(own[: LIMITS.own_columns], tenants=tenants)
        for each in (path, lines_path(path)) if lines else (path,):
            if each.is_dir():
                raise ConfigError(f"{each}: this is a directory")
        self._path = path
        self._parts: list[_Part] = []
        with self._disk_errors(), ExitStack() as undo:
            _clear(path.parent)
            scratch = Path(tempfile.mkdtemp(prefix=".ekb-export-", suffix=".part", dir=path.parent))
            undo.callback(shutil.rmtree, scratch, ignore_errors=True)
            self._scratch = scratch
            more = {"about": about} if about is not None and form.module == "workbook" else {}
            self._open(undo, path, lambda file: getattr(module, form.writer)(file, lang, scratch, columns, **more))
            if lines:
                listed = line_columns(tenants=tenants)
                self._open(
                    undo, lines_path(path), lambda file: getattr(module, form.lines)(file, lang, scratch, listed)
                )
            self._undo = undo.pop_all()

    def _open(self, undo: ExitStack, path: Path, begin: Callable[[_PartFile], _Writer]) -> None:
        file = _PartFile(io.FileIO(self._scratch / path.name, "xb"))
        undo.callback(file.close)
        writer = begin(file)
        undo.callback(writer.close)
        undo.callback(file.abandon)
        self._parts.append(_Part(path, file, writer))

    @exactly
    def write(self, tasks: Iterable[Task]) -> None:
        """Write tasks. Raises `ConfigError` if the file cannot be written."""
        with self._disk_errors():
            if len(self._parts) > 1:
                tasks = list(tasks)
            for part in self._parts:
                part.writer.write(tasks)

    @exactly
    def finish(self) -> None:
        """Complete the file and move it to its name, replacing an older one. Raises `ConfigError` as `write` does."""
        with self._disk_errors():
            for part in self._parts:
                part.writer.finish()
                part.file.flush()
                os.fsync(part.file.fileno())
                part.file.close()
            self._move()

    def close(self) -> None:
        """Remove temporary files, and the file itself if it was not finished."""
        self._undo.close()

    def _move(self) -> None:
        """Move the files to their names: all of them, or none."""
        with ExitStack() as undo:
            for number, part in enumerate(self._parts):
                # The name of the file may be as long as the file system allows.
                older = self._scratch / f"older-{number}"
                if len(self._parts) > 1 and part.path.is_file():
                    part.path.replace(older)
                    undo.callback(older.replace, part.path)
                Path(part.file.name).replace(part.path)
                if not older.exists():
                    undo.callback(part.path.unlink)
            undo.pop_all()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self._path}: the file cannot be written: {error.strerror or error}") from None


class _Part(NamedTuple):
    """One of the files: the name it gets, the file until then, and what writes it."""

    path: Path
    file: _PartFile
    writer: _Writer


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


def _format_of(path: Path, *, lines: bool) -> tuple[_Format, Any]:
    """Return the format of a file, and the module that writes it."""
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"{path}: an export ends in .jsonl, .csv, .xlsx or .parquet")
    if lines and not form.lines:
        raise ConfigError(
            f"{path}: this format has the invoice lines already; only .csv and .parquet have a file of them"
        )
    try:
        return form, importlib.import_module(f"ekb_async.backlog.results.export.{form.module}")
    except ImportError as error:
        raise ConfigError(
            f'{path}: {path.suffix} needs a library that is not there ({error}): pip install "ekb-async[{form.extra}]"'
        ) from None
