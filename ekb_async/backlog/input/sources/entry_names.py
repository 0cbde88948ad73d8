"""The names of entries in ZIP archives of unknown origin, as text and as safe paths."""

from __future__ import annotations

import re
import struct
import unicodedata
import zipfile
import zlib

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.storage.file_names import DEVICE, is_plain

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
_DRIVE = re.compile(r"^(?:[A-Za-z]:)+")
_SEPARATORS = re.compile(r"[\\/]+")
_MAX_SUFFIX = 16


def entry_name(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry: in UTF-8 if it is marked as that or valid, otherwise in GB18030 as on Windows.

    Without the mark, zipfile takes the bytes of the name for those of cp437.
    """
    if entry.flag_bits & _UTF8_FLAG:
        return entry.orig_filename
    raw = entry.orig_filename.encode("cp437", "replace")
    if (name := _unicode_path(entry.extra, raw)) is not None:
        return name
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name in the field that some programs add, None if there is none for this name."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(field) > 5 and struct.unpack_from("<L", field, 1)[0] == zlib.crc32(raw):
            try:
                return field[5:].decode()
            except UnicodeDecodeError:
                return None
    return None


def parts_of(name: str) -> list[str]:
    """Return the safe names of a path: relative, without `..`, and with each name accepted by every system."""
    parts = [part for part in _SEPARATORS.split(_DRIVE.sub("", name)) if part.strip(" .")]
    return [_plain(part) for part in parts]


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFC", name[: 4 * LIMITS.name_bytes])
    name = "".join(each if is_plain(each) else "_" for each in name).rstrip(" .").lstrip(" ")
    if DEVICE.fullmatch(name.partition(".")[0].rstrip()):
        name = f"_{name}"
    return _cut(name, LIMITS.name_bytes)


def _cut(name: str, most: int) -> str:
    """Return a name of at most so many bytes in UTF-8, with its suffix."""
    if len(name.encode()) <= most:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _MAX_SUFFIX:
        stem, dot, suffix = name, "", ""
    end = dot + suffix
    return stem.encode()[: most - len(end.encode())].decode(errors="ignore").rstrip(" .") + end


class Places:
    """Gives each entry of an archive a path of its own, also where case does not distinguish names."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._numbers: dict[str, int] = {}

    def place(self, parts: list[str], folder: str = "") -> str:
        """Return a path, with `/` between its names, that no earlier entry has; it is the given one or has numbers.

        `folder` begins the path, and ends in `/` unless it is empty.
        """
        for part in parts[:-1]:
            folder = self._free(f"{folder}{part}", self._files) + "/"
            self._folders.add(_key(folder[:-1]))
        path = self._free(f"{folder}{parts[-1]}", self._files, self._folders)
        self._files.add(_key(path))
        return path

    def _free(self, path: str, *taken: set[str]) -> str:
        """Return the path, or the first one with a number that is not taken."""
        free, key = path, _key(path)
        folder, slash, name = path.rpartition("/")
        stem, dot, suffix = name.rpartition(".") if "." in name[1:] else (name, "", "")
        while any(_key(free) in each for each in taken):
            self._numbers[key] = number = self._numbers.get(key, 1) + 1
            free = f"{folder}{slash}{stem} ({number}){dot}{suffix}"
        return free


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())
