"""What a file is, by its content first and its suffix second, as far as that decides how it is added."""

from __future__ import annotations

from pathlib import PurePath
from typing import IO, Literal

from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.manifest import MANIFEST_SUFFIXES
from ekb_async.backlog.input.zips import WrongZipError, open_zip
from ekb_async.einvoice.formats.sniff import format_of

Content = Literal["empty", "zip", "ofd", "office", "manifest", "rar", "7z", "archive", "other"]

_PARTS_OF = {"ofd": "ofd.xml", "office": "[content_types].xml"}
_HEADS: tuple[tuple[bytes, Content], ...] = (
    (b"Rar!\x1a\x07", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b", "archive"),
    (b"BZh", "archive"),
    (b"\xfd7zXZ\0", "archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office"),
)
ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
HEAD_BYTES = 16
LOOKED_AT_BYTES = 1024
"""The beginning of a file that shows whether it can be one of an invoice."""
REASONS: dict[Content, str] = {
    "empty": "the file is empty",
    "office": "it is a document of Word, Excel or another office program, not an invoice",
    "manifest": "it is a manifest: add it by its own name",
    "rar": "RAR archives cannot be read: unpack it first",
    "7z": "7z archives cannot be read: unpack it first",
    "archive": "archives other than ZIP cannot be read: unpack it first",
}
"""Why a file in a folder or an archive is not added."""


def content_of(file: IO[bytes], name: str) -> Content:
    """Return what an open file is; its position is at its start again. Raises `OSError` if it cannot be read."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    suffix = PurePath(name).suffix.lower()
    if not head:
        return "empty"
    found: Content = "other"
    if suffix in MANIFEST_SUFFIXES:
        found = "manifest"
    elif head.startswith(ZIP_HEADS):
        found = _content_of_zip(file)
    else:
        for start, content in _HEADS:
            if head.startswith(start):
                found = content
                break
    file.seek(0)
    return found


def is_foreign(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of no kind that an invoice can have."""
    return format_of(head) == "unknown"


def _content_of_zip(file: IO[bytes]) -> Content:
    """Return what a ZIP is, "zip" if it is damaged."""
    try:
        with open_zip(file, entries=LIMITS.archive_entries, directory_bytes=LIMITS.archive_directory_bytes) as archive:
            names = {name.lower() for name in archive.namelist()}
    except WrongZipError:
        return "zip"
    for content, part in _PARTS_OF.items():
        if part in names:
            return "ofd" if content == "ofd" else "office"
    return "zip"
