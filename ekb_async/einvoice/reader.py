"""`read` and `examine`: the format of a file, its parts, and the invoices in them."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

from ekb_async.einvoice.formats import ofd, pictures
from ekb_async.einvoice.formats.archives import Archive
from ekb_async.einvoice.formats.pdf_files import pdf
from ekb_async.einvoice.formats.sniff import check_parts, format_of
from ekb_async.einvoice.formats.xml_invoice import read_xml
from ekb_async.einvoice.libraries import MissingLibraryError
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.merge import invoices_of
from ekb_async.einvoice.model import EInvoice, Evidence, Reading, Source, Unit
from ekb_async.einvoice.progress import (
    LibrariesNeededError,
    NoInvoiceFileError,
    OutOfTimeError,
    Progress,
    UnusableError,
)
from ekb_async.errors import ConfigError

_LOGGER = logging.getLogger("ekb_async.einvoice")
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif")
_OFFICE = "[Content_Types].xml"
"""An entry of every Word and Excel file, whose pictures are no invoices."""
_FORMATS: dict[str, Literal["pdf", "picture", "xml", "zip", ""]] = {
    "pdf": "pdf",
    "picture": "picture",
    "heif": "picture",
    "xml": "xml",
    "zip": "zip",
    "unknown": "",
}
_WITHOUT_INVOICE = {"xml": "XML without an invoice", "ofd": "OFD without an invoice", "zip": "a ZIP without an invoice"}
_TOO_LARGE = "the file is too large"


def read(path_or_bytes: str | os.PathLike[str] | bytes, *, name: str | None = None) -> list[EInvoice]:
    """Return what an invoice file says of itself, one entry per invoice; an empty list if it says nothing.

    Reads XML, OFD, PDF, pictures and ZIP archives of them, by their content. `name` is the file's name if bytes are
    given, or one to use instead of the path's; it confirms a number that is found in the file, and nothing else. A
    damaged, hostile or foreign file gives an empty list, or what could be read of it. No network is used. Blocks for
    milliseconds to a second: in asyncio, call `asyncio.to_thread(read, path)`.

    Raises `ConfigError` if the path cannot be read, or if the file is a PDF or a picture and the extra `einvoice` is
    not installed.
    """
    return examine(path_or_bytes, name=name).invoices


def examine(path_or_bytes: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Reading:
    """Return what `read` returns, with the file's format, whether it was read to its end, and why it is of no use.

    Arguments and errors as for `read`.
    """
    if isinstance(path_or_bytes, bytes | bytearray | memoryview):
        return _examined(bytes(path_or_bytes), name or "", Progress())
    try:
        data = content_of(path_or_bytes)
    except UnusableError as error:
        return Reading(problem=str(error))
    return _examined(data, Path(path_or_bytes).name if name is None else name, Progress())


def examine_simple(data: bytes, name: str) -> tuple[Reading, bool]:
    """Return what `examine` returns, and True; if that takes libraries or time, the format alone, and False."""
    progress = Progress(with_libraries=False)
    try:
        return _examined(data, name, progress), True
    except LibrariesNeededError:
        return Reading(format=progress.format), False


def _examined(data: bytes, name: str, progress: Progress) -> Reading:
    units: list[Unit] = []
    problem = ""
    try:
        for unit in _units(data, name, progress):
            units.append(unit)
            progress.renew(unit.evidence)
    except NoInvoiceFileError as error:
        problem = str(error)
    except UnusableError as error:
        problem = str(error)
        progress.leave_out()
    except LibrariesNeededError:
        raise
    except MissingLibraryError:
        if not units:
            raise
        progress.leave_out()
    except OutOfTimeError:
        progress.leave_out()
        problem = "reading it takes too long" if progress.format in _WITHOUT_INVOICE else ""
        _LOGGER.log(logging.WARNING if units else logging.INFO, "an invoice file took too long, its rest was not read")
    except Exception as error:  # noqa: BLE001 - foreign bytes make the libraries raise a dozen classes
        progress.leave_out()
        _LOGGER.debug("an invoice file cannot be read: %s", type(error).__name__)
    invoices = invoices_of(units)
    problem = "" if invoices else problem or _WITHOUT_INVOICE.get(progress.format, "")
    return Reading(format=progress.format, invoices=invoices, is_complete=progress.is_complete, problem=problem)


def content_of(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file.

    Raises `UnusableError` for one that is too large, and `ConfigError` if it cannot be read.
    """
    try:
        with open(os.fspath(path), "rb", opener=_opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path}: not a file")
            if status.st_size > LIMITS.file_bytes:
                raise UnusableError(_TOO_LARGE)
            return file.read()
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError | UnusableError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path!s}: {reason}") from None


def _opener(path: str, flags: int) -> int:
    # A pipe without a writer would block.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _units(data: bytes, name: str, progress: Progress, depth: int = 0) -> Iterator[Unit]:
    """Yield the evidence of each place in a file. Raises `UnusableError` for a file that has none."""
    if len(data) > LIMITS.file_bytes:
        raise UnusableError(_TOO_LARGE)
    kind = format_of(data)
    if depth == 0:
        progress.format = _FORMATS[kind]
    check_parts(data, kind)
    if kind == "zip":
        yield from _zip_units(data, name, progress, depth)
        return
    if kind == "xml":
        found: Iterator[list[Evidence]] = read_xml(data, Source.XML, progress)
    else:
        progress.need_libraries()
        readers = {"pdf": pdf.read_pdf, "picture": pictures.read_picture, "heif": pictures.read_heif}
        found = readers[kind](data, progress)
    for evidence in found:
        if evidence:
            yield Unit(evidence, name)


def _zip_units(data: bytes, name: str, progress: Progress, depth: int) -> Iterator[Unit]:
    try:
        archive = Archive(data)
    except (BadZipFile, ValueError, NotImplementedError) as error:
        raise UnusableError(str(error) if type(error) is ValueError else "the archive is damaged") from None
    if archive.has_encrypted_entries:
        progress.leave_out()
    if ofd.ROOT in archive:
        if depth == 0:
            progress.format = "ofd"
        for evidence in ofd.read_ofd(archive, progress):
            if evidence:
                yield Unit(evidence, name)
    elif _OFFICE in archive:
        if depth == 0:
            progress.format = ""
        raise UnusableError("no invoice file")
    elif depth < LIMITS.archive_depth:
        progress.need_libraries()
        yield from _entry_units(archive, progress, depth)
    else:
        progress.leave_out()


def _entry_units(archive: Archive, progress: Progress, depth: int) -> Iterator[Unit]:
    """Yield the evidence of each entry, pictures last, as they take longest; what cannot be read is left out.

    A missing library raises `MissingLibraryError` after the entries that can be read without it.
    """
    missing: MissingLibraryError | None = None
    for name in sorted(archive.names, key=_is_picture):
        progress.check()
        try:
            yield from _units(archive.read(name), name, progress, depth + 1)
        except OutOfTimeError:
            raise
        except NoInvoiceFileError:
            continue
        except MissingLibraryError as error:
            missing = error
        except Exception as error:  # noqa: BLE001 - as in `_examined`
            progress.leave_out()
            _LOGGER.debug("an entry of an archive cannot be read: %s", type(error).__name__)
    if missing is not None:
        raise missing


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_PICTURE_SUFFIXES)
