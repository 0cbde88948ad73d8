"""ZIP archives of unknown origin, unpacked into a folder where they can do no harm.

An entry gets a safe path under the folder of its archive, whose name is the SHA-256 of the archive. So the same archive
has the same paths again, whatever it is called, and what is there already is not written again. A file appears under
its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from ekb_async.backlog.input.limits import LIMITS, MB
from ekb_async.backlog.input.manifest import open_list
from ekb_async.backlog.input.sources.content import HEAD_BYTES, REASONS, ZIP_HEADS, content_of
from ekb_async.backlog.input.sources.entry_names import Places, entry_name, parts_of
from ekb_async.backlog.input.sources.folders import is_hidden, natural_key
from ekb_async.backlog.input.sources.left_out import FilesLeftOut, readable
from ekb_async.backlog.input.sources.stopping import Stopping
from ekb_async.backlog.input.zips import ENCRYPTED_FLAG, WrongZipError, open_zip
from ekb_async.errors import ConfigError, ManifestError, StorageError
from ekb_async.files.local_files import check_size
from ekb_async.storage.atomic_files import PartFile, is_there, prepare

_FOLDER_DIGITS = 16
_CHUNK_BYTES = 1 << 18
_IN_MEMORY = 32 * MB
"""Size up to which an entry is unpacked in memory before it is written."""
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(NotImplementedError, RuntimeError, EOFError, ValueError, MemoryError),
)
"""What zipfile raises for an entry that is damaged, or packed or encrypted in a way that it does not read."""

_DAMAGED = "it is damaged, or packed in a way that cannot be read"


class Unpacked(NamedTuple):
    """A file of an archive: where it lies now, and its name as people know it, `archive.zip/folder/name.pdf`."""

    path: Path
    name: str


def folder_of(archive: Path, target: Path, stopping: Stopping | None = None) -> Path:
    """Return the folder under `target` for an archive. Raises `ManifestError` if the archive cannot be read."""
    digest, stopping = hashlib.sha256(), stopping or Stopping()
    with open_list(archive, "ZIP archive") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            stopping.check()
    return target / digest.hexdigest()[:_FOLDER_DIGITS]


def unpack(
    archive: Path, target: Path, left_out: FilesLeftOut, name: str = "", stopping: Stopping | None = None
) -> Generator[Unpacked, None, None]:
    """Unpack a ZIP archive under `target`, and yield each file that may be one of an invoice, in natural order.

    `name` is that of the archive as people know it, by default the name of its file. Entries that are hidden, empty,
    links, encrypted, damaged, larger than the vendor takes, or no invoices by their kind are left out; archives in the
    archive are unpacked too. Raises `ManifestError` if the archive is damaged, larger than 5 GB when it is unpacked, or
    has more than 20,000 entries, `StorageError` if a file cannot be written.
    """
    stopping = stopping or Stopping()
    folder = folder_of(archive, target, stopping)
    with open_list(archive, "ZIP archive") as file:
        try:
            yield from _Unpacking(folder, left_out, stopping).entries(file, name or archive.name, "", 1)
        except WrongZipError as error:
            raise ManifestError.at(archive, f"this ZIP archive cannot be read: {error}") from None
        except OSError as error:
            raise ManifestError.at(archive, f"this ZIP archive cannot be read: {error.strerror}") from None


class _Unpacking:
    """Unpacks one archive and those in it into a folder."""

    def __init__(self, folder: Path, left_out: FilesLeftOut, stopping: Stopping) -> None:
        self._folder = folder
        self._left_out = left_out
        self._stopping = stopping
        self._places = Places()
        self._prepared: set[Path] = set()
        self._bytes = 0

    def entries(self, file: IO[bytes], name: str, inside: str, depth: int) -> Iterator[Unpacked]:
        """Yield the files of an archive that is the entry `inside` of the outer one, "" for that itself.

        Raises `WrongZipError` if it is refused as a whole.
        """
        archive = open_zip(file, entries=LIMITS.archive_entries, directory_bytes=LIMITS.archive_directory_bytes)
        with closing(archive):
            entries = [(entry_name(entry), entry) for entry in archive.infolist()]
            entries = [(path, entry) for path, entry in entries if not path.endswith(("/", "\\"))]
            self._check_whole(file, [entry for _, entry in entries])
            for path, entry in sorted(entries, key=lambda each: natural_key(each[0])):
                self._stopping.check()
                shown = readable(f"{name}/{path}")
                parts = parts_of(path)
                if any(map(is_hidden, parts)):
                    self._left_out.add_hidden(shown)
                elif reason := _problem(entry, [inside, *parts]):
                    self._left_out.add(shown, reason)
                else:
                    place = self._places.place(parts, inside and f"{inside}/")
                    yield from self._entry(archive, entry, place, shown, depth)

    def _check_whole(self, file: IO[bytes], entries: list[zipfile.ZipInfo]) -> None:
        if sum(entry.compress_size for entry in entries) > file.seek(0, 2):
            raise WrongZipError("its entries overlap")
        self._bytes += sum(entry.file_size for entry in entries)
        if self._bytes > LIMITS.archive_bytes:
            raise WrongZipError(f"it has more than {LIMITS.archive_bytes:,} bytes when it is unpacked")

    def _entry(
        self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str, shown: str, depth: int
    ) -> Iterator[Unpacked]:
        path = self._folder / place
        if _has_content(path, entry):
            yield Unpacked(path, shown)
            return
        self._prepare(self._folder)
        with _temporary_file(self._folder) as file:
            reason = self._spool(archive, entry, file)
            content = "other" if reason else content_of(file, place)
            if content == "zip" and depth < LIMITS.archive_depth:
                try:
                    yield from self.entries(file, shown, place, depth + 1)
                except WrongZipError as error:
                    self._left_out.add(shown, f"this ZIP archive cannot be read: {error}")
                return
            if content == "zip":
                reason = f"only {LIMITS.archive_depth} archives may be inside one another"
            reason = reason or REASONS.get(content, "") or _wrong_size(entry)
            if not reason:
                self._keep(path, file)
        if reason:
            self._left_out.add(shown, reason)
        else:
            yield Unpacked(path, shown)

    def _spool(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: IO[bytes]) -> str:
        """Write the content of an entry to a temporary file. Return why it is left out, "" if it is not."""
        try:
            with archive.open(entry) as stream:
                head = stream.read(HEAD_BYTES)
                most = LIMITS.inner_archive_bytes if head.startswith(ZIP_HEADS) else 0
                # Only an archive may be larger than the vendor takes.
                if entry.file_size > most and (reason := _wrong_size(entry)):
                    return reason
                file.write(head)
                while chunk := stream.read(_CHUNK_BYTES):
                    file.write(chunk)
                    self._stopping.check()
                file.flush()
        except _UNREADABLE:
            return _DAMAGED
        except OSError as error:
            # Damaged data in bzip2 raises one without a number.
            if error.errno is None:
                return _DAMAGED
            raise StorageError(f"{self._folder}: an archive cannot be unpacked there: {error.strerror}") from None
        return ""

    def _prepare(self, folder: Path) -> None:
        if folder not in self._prepared:
            prepare(folder)
            self._prepared.add(folder)

    def _keep(self, path: Path, file: IO[bytes]) -> None:
        self._prepare(path.parent)
        part = PartFile(path)
        try:
            while chunk := file.read(_CHUNK_BYTES):
                part.append(chunk)
            part.complete(b"")
        finally:
            part.discard()


@contextmanager
def _temporary_file(folder: Path) -> Iterator[IO[bytes]]:
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        # Closing writes what is left in the buffer, which fails on a full disk and would hide that error.
        with suppress(OSError):
            file.close()


def _problem(entry: zipfile.ZipInfo, parts: list[str]) -> str:
    """Return why an entry with this path is left out unread, "" if it is not."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if not any(parts[1:]):
        return "it has no name"
    if kind not in {0, stat.S_IFREG}:
        return "it is a link or a special file"
    if entry.flag_bits & ENCRYPTED_FLAG:
        return "it is encrypted: unpack the archive first"
    if entry.file_size > max(LIMITS.small_entry_bytes, LIMITS.entry_ratio * entry.compress_size):
        return f"it is more than {LIMITS.entry_ratio} times as large when it is unpacked"
    if len("/".join(parts).encode()) > LIMITS.path_bytes:
        return "its path is too long"
    return ""


def _wrong_size(entry: zipfile.ZipInfo) -> str:
    try:
        check_size(entry.file_size)
    except ConfigError as error:
        return str(error)
    return ""


def _has_content(path: Path, entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry was unpacked to the path before."""
    if not is_there(path):
        return False
    checksum = 0
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != entry.file_size:
                return False
            while chunk := file.read(_CHUNK_BYTES):
                checksum = zlib.crc32(chunk, checksum)
    except OSError:
        return False
    return checksum == entry.CRC
