"""`read`: the format of a file, its parts, and the invoices in them."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ekb_async.einvoice.budget import Budget, OutOfTimeError
from ekb_async.einvoice.formats import ofd, pdf, pictures
from ekb_async.einvoice.formats.archives import Archive
from ekb_async.einvoice.formats.sniff import format_of
from ekb_async.einvoice.formats.xml_invoice import read_xml
from ekb_async.einvoice.identity import keys
from ekb_async.einvoice.libraries import MissingLibraryError
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.merge import invoices_of
from ekb_async.einvoice.model import EInvoice, Evidence, Source, Unit
from ekb_async.errors import ConfigError

_LOGGER = logging.getLogger("ekb_async.einvoice")
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif")
_OFFICE = "[Content_Types].xml"
"""An entry of every Word and Excel file, whose pictures are no invoices."""


def read(path_or_bytes: str | os.PathLike[str] | bytes, *, name: str | None = None) -> list[EInvoice]:
    """Return what an invoice file says of itself, one entry per invoice; an empty list if it says nothing.

    Reads XML, OFD, PDF, pictures and ZIP archives of them, by their content. `name` is the file's name if bytes are
    given, or one to use instead of the path's; it confirms a number that is found in the file, and nothing else. A
    damaged, hostile or foreign file gives an empty list, or what could be read of it. No network is used. Blocks for
    milliseconds to a second: in asyncio, call `asyncio.to_thread(read, path)`.

    Raises `ConfigError` if the path cannot be read, or if the file is a PDF or a picture and the extra `einvoice` is
    not installed.
    """
    if isinstance(path_or_bytes, bytes | bytearray | memoryview):
        data, name = bytes(path_or_bytes), name or ""
    else:
        data = content_of(path_or_bytes)
        name = Path(path_or_bytes).name if name is None else name
    if len(data) > LIMITS.file_bytes:
        return []
    units: list[Unit] = []
    budget = Budget()
    try:
        for unit in _units(data, name, budget):
            units.append(unit)
            if any(map(keys, unit.evidence)):
                budget.renew()
    except MissingLibraryError:
        if not units:
            raise
    except OutOfTimeError:
        _LOGGER.log(logging.WARNING if units else logging.INFO, "an invoice file took too long, its rest was not read")
    except Exception as error:  # noqa: BLE001 - foreign bytes make the libraries raise a dozen classes
        _LOGGER.debug("an invoice file cannot be read: %s", type(error).__name__)
    return invoices_of(units)


def content_of(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file; nothing of one that is too large. Raises `ConfigError` if it cannot be read."""
    try:
        with open(os.fspath(path), "rb", opener=_opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path}: not a file")
            return file.read() if status.st_size <= LIMITS.file_bytes else b""
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path!s}: {reason}") from None


def _opener(path: str, flags: int) -> int:
    # A pipe without a writer would block.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _units(data: bytes, name: str, budget: Budget, depth: int = 0) -> Iterator[Unit]:
    """Yield the evidence of each place in a file."""
    match format_of(data):
        case "xml":
            found: Iterator[list[Evidence]] = iter(read_xml(data, Source.XML))
        case "pdf":
            found = pdf.read_pdf(data, budget)
        case "picture":
            found = pictures.read_picture(data, budget)
        case "heif":
            found = iter([pictures.read_heif(data, budget)])
        case "zip":
            yield from _zip_units(data, name, budget, depth)
            return
        case _:
            return
    for evidence in found:
        if evidence:
            yield Unit(evidence, name)


def _zip_units(data: bytes, name: str, budget: Budget, depth: int) -> Iterator[Unit]:
    archive = Archive(data)
    if ofd.ROOT in archive:
        for evidence in ofd.read_ofd(archive, budget):
            if evidence:
                yield Unit(evidence, name)
    elif depth < LIMITS.archive_depth and _OFFICE not in archive:
        yield from _entry_units(archive, budget, depth)


def _entry_units(archive: Archive, budget: Budget, depth: int) -> Iterator[Unit]:
    """Yield the evidence of each entry, pictures last, as they take longest; what cannot be read is left out.

    A missing library raises `MissingLibraryError` after the entries that can be read without it.
    """
    missing: MissingLibraryError | None = None
    for name in sorted(archive.names, key=_is_picture):
        budget.check()
        try:
            yield from _units(archive.read(name), name, budget, depth + 1)
        except OutOfTimeError:
            raise
        except MissingLibraryError as error:
            missing = error
        except Exception as error:  # noqa: BLE001 - as in `read`
            _LOGGER.debug("an entry of an archive cannot be read: %s", type(error).__name__)
    if missing is not None:
        raise missing


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_PICTURE_SUFFIXES)
