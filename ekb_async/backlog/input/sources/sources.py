"""What a user names to be added: decided by what it is, then by its suffix."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal

from ekb_async.backlog.input.manifest import MANIFEST_SUFFIXES, WORKBOOK_SUFFIXES, Manifest, open_list
from ekb_async.backlog.input.sources.archives import folder_of
from ekb_async.backlog.input.sources.content import LOOKED_AT_BYTES, REASONS, content_of, is_foreign
from ekb_async.backlog.input.sources.files import ALL, FileSource
from ekb_async.backlog.input.sources.stopping import Stopping
from ekb_async.errors import ManifestError
from ekb_async.i18n import message

SourceKind = Literal["folder", "archive", "manifest", "file"]

VERIFY = "verify"
"""What files are added for by default."""


def source_kind(path: Path) -> SourceKind:
    """Return what a path is. Raises `ManifestError` for what cannot be added, with what could be."""
    if path.is_dir():
        return "folder"
    suffix = path.suffix.lower()
    if suffix in MANIFEST_SUFFIXES or suffix in WORKBOOK_SUFFIXES:
        return "manifest"
    with open_list(path, message("source")) as file:
        content = content_of(file, path.name)
        head = file.read(LOOKED_AT_BYTES)
    if content == "zip":
        return "archive"
    if content in REASONS:
        raise ManifestError.at(path, REASONS[content])
    if content == "ofd" or not is_foreign(head):
        return "file"
    raise ManifestError.at(
        path,
        f"this is no folder, no ZIP archive, no manifest ({', '.join(MANIFEST_SUFFIXES)}) "
        "and no invoice file (PDF, picture, OFD, XML)",
    )


def kept_as(path: str, known: Collection[str]) -> Iterator[str]:
    """Yield what a backlog may keep as the manifest of the rows from a path; `known` has all that it keeps.

    An archive is found by its content, since it may have been unpacked anywhere.
    """
    yield path
    yield str(place := Path(path).absolute())
    yield str(place / ALL)
    yield os.path.normpath(place)
    yield os.path.join(os.path.normpath(place), ALL)  # noqa: PTH118 - as normpath returns it
    with contextlib.suppress(ManifestError):
        if place.is_file() and source_kind(place) == "archive":
            name = folder_of(place, Path()).name
            yield from (each for each in known if Path(each).parts[-2:] == (name, ALL))


def open_source(
    path: Path,
    unpacked: Path,
    stopping: Stopping | None = None,
    *,
    roots: Iterable[str | os.PathLike[str]] = (),
    kind: str = "",
    staff_id: str = "",
    without: Collection[Path] = (),
) -> Manifest | FileSource:
    """Open what a user has named. `kind` and `staff_id` are for what names none itself; files are verified by default.

    Archives are unpacked under `unpacked`; `without` has what is not looked at in a folder, `stopping` ends the reading
    of files. Raises `ConfigError`, and the errors of `Manifest` and `FileSource`.
    """
    if source_kind(path) == "manifest":
        return Manifest(path, roots, kind=kind, staff_id=staff_id)
    kind = kind or VERIFY
    return FileSource(path, unpacked, kind=kind, staff_id=staff_id, without=without, stopping=stopping)
