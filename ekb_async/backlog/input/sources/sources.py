"""What a user names to be added: decided by what it is, then by its suffix."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from ekb_async.backlog.input.manifest import MANIFEST_SUFFIXES, WORKBOOK_SUFFIXES, Manifest, open_list
from ekb_async.backlog.input.sources.content import REASONS, content_of
from ekb_async.backlog.input.sources.files import FileSource
from ekb_async.einvoice.formats.sniff import format_of
from ekb_async.errors import ManifestError

SourceKind = Literal["folder", "archive", "manifest", "file"]

VERIFY = "verify"
"""What files are added for by default."""
_HEAD_BYTES = 1024


def source_kind(path: Path) -> SourceKind:
    """Return what a path is. Raises `ManifestError` for what cannot be added, with what could be."""
    if path.is_dir():
        return "folder"
    suffix = path.suffix.lower()
    if suffix in MANIFEST_SUFFIXES or suffix in WORKBOOK_SUFFIXES:
        return "manifest"
    with open_list(path, "source") as file:
        content = content_of(file, path.name)
        head = file.read(_HEAD_BYTES)
    if content == "zip":
        return "archive"
    if content in REASONS:
        raise ManifestError.at(path, REASONS[content])
    if content == "ofd" or format_of(head) != "unknown":
        return "file"
    raise ManifestError.at(
        path,
        f"this is no folder, no ZIP archive, no manifest ({', '.join(MANIFEST_SUFFIXES)}) "
        "and no invoice file (PDF, picture, OFD, XML)",
    )


def open_source(
    path: Path,
    unpacked: Path,
    *,
    roots: Iterable[str | os.PathLike[str]] = (),
    kind: str = "",
    staff_id: str = "",
    without: Collection[Path] = (),
) -> Manifest | FileSource:
    """Open what a user has named. `kind` and `staff_id` are for what names none itself; files are verified by default.

    Archives are unpacked under `unpacked`; `without` has what is not looked at in a folder. Raises `ConfigError`, and
    the errors of `Manifest` and `FileSource`.
    """
    if source_kind(path) == "manifest":
        return Manifest(path, roots, kind=kind, staff_id=staff_id)
    return FileSource(path, unpacked, kind=kind or VERIFY, staff_id=staff_id, without=without)
