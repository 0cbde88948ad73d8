"""ZIP archives of unknown origin: entries are read one by one into memory, and nothing is ever extracted."""

from __future__ import annotations

import io
import re
import zipfile

from ekb_async.einvoice.limits import LIMITS

_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_ABSOLUTE = re.compile(r"/|\\|[A-Za-z]:")
_SMALL = 64 * 1024
"""Size up to which an entry may have any ratio: a form full of spaces is no bomb."""


class Archive:
    """The entries of a ZIP archive, by name."""

    def __init__(self, data: bytes) -> None:
        """Read the directory. Raises `ValueError` or `BadZipFile` for an archive that is refused as a whole."""
        self._zip = zipfile.ZipFile(io.BytesIO(data))
        entries = self._zip.infolist()
        if len(entries) > LIMITS.archive_entries:
            raise ValueError("the archive has too many entries")
        if sum(entry.compress_size for entry in entries) > len(data):
            raise ValueError("entries of the archive overlap")
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self.has_encrypted_entries = any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries)
        for entry in entries:
            _check(entry)
            name = _name(entry)
            if _ABSOLUTE.match(name) or ".." in re.split(r"[/\\]", name):
                raise ValueError("an entry of the archive lies outside it")
            if not entry.is_dir() and not entry.flag_bits & _ENCRYPTED_FLAG:
                self._entries[name] = entry

    @property
    def names(self) -> list[str]:
        """The names of the entries that can be read, with `/` between folders."""
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def size(self, name: str) -> int:
        """Return the size of an entry in bytes."""
        return self._entries[name].file_size

    def read(self, name: str, *, most: int = LIMITS.entry_bytes) -> bytes:
        """Return an entry. Raises `ValueError` if it is larger than `most`, `KeyError` if there is none."""
        entry = self._entries[name]
        if entry.file_size > most:
            raise ValueError("an entry of the archive is too large")
        return self._zip.read(entry)


def _check(entry: zipfile.ZipInfo) -> None:
    ratio = entry.file_size / max(entry.compress_size, 1)
    if entry.file_size > LIMITS.entry_bytes or (entry.file_size > _SMALL and ratio > LIMITS.entry_ratio):
        raise ValueError("an entry of the archive is too large")


def _name(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry; without the mark for UTF-8, zipfile has taken its bytes for those of cp437."""
    if entry.flag_bits & _UTF8_FLAG:
        return entry.filename
    raw = entry.filename.encode("cp437", "replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")
