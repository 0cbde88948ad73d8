"""Sources of a backlog: what a path is, and the rows of folders, archives and single files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from ekb_async import ConfigError, ManifestError
from ekb_async.backlog.input.manifest import Manifest
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.input.sources.files import FileSource
from ekb_async.backlog.input.sources.sources import open_source, source_kind
from tests.support.workbooks import workbook
from tests.support.zips import zipped

PDF = b"%PDF-1.4 "
OFD = zipped([("OFD.xml", b"<ofd/>")])


def read(source: FileSource) -> tuple[list[ManifestRow], dict[str, str]]:
    """Return the rows of a source and what is left out, after checking that each row's file is found as a run does."""
    rows = list(source.rows())
    for row in rows:
        path = Path(source.path).parent / row.file
        assert row.identity == f"{row.kind}:sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        assert source.locate(row) == path
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    return rows, dict(source.left_out)


def test_a_folder_as_people_have_it(tmp_path: Path) -> None:
    """Each file of a folder and of the archives in it is a row, and everything else is listed with a reason."""
    folder = tmp_path / "发票"
    (folder / "五月").mkdir(parents=True)
    for name, content in {
        "1.pdf": PDF,
        "五月/2.ofd": OFD,
        "五月/3.zip": zipped([("餐费.pdf".encode("gbk"), PDF + b"3"), ("x.rar", b"Rar!\x1a\x07\x00")]),
        "list.csv": b"kind\n",
        "empty.pdf": b"",
        "Thumbs.db": b"x",
        "damaged.zip": b"PK\x03\x04",
        "big.pdf": b"",
        "old.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    }.items():
        (folder / name).write_bytes(content)
    os.truncate(folder / "big.pdf", 31 << 20)
    source = FileSource(folder, tmp_path / "b.files", kind="ocr")
    rows, left_out = read(source)
    assert source.path == folder / "*"
    assert [row.file for row in rows[:2]] == ["1.pdf", "五月/2.ofd"]
    assert rows[2].file.endswith("/餐费.pdf")
    assert {(row.kind, row.ref, row.staff_id) for row in rows} == {("ocr", "", "")}
    assert [row.own for row in rows] == ["", "", '{"archive":"五月/3.zip/餐费.pdf"}']
    assert source.own_columns == ("archive",)
    assert {name: reason[:24] for name, reason in left_out.items()} == {
        "list.csv": "it is a manifest: add it",
        "empty.pdf": "the file is empty",
        "Thumbs.db": "it is hidden, or a file ",
        "damaged.zip": "this ZIP archive cannot ",
        "old.xls": "it is a document of Word",
        "big.pdf": "the file has 32,505,856 ",
        "五月/3.zip/x.rar": "RAR archives cannot be r",
    }


def test_an_archive_without_files(tmp_path: Path) -> None:
    """It is listed as a file is that gives no row, in a folder and alone."""
    (tmp_path / "folder").mkdir()
    for place in (tmp_path, tmp_path / "folder"):
        (place / "none.zip").write_bytes(zipped([("inside/", b"")]))
    for source in (tmp_path / "folder", tmp_path / "none.zip"):
        rows, left_out = read(FileSource(source, tmp_path / "b.files", kind="ocr"))
        assert (rows, left_out) == ([], {"none.zip": "this ZIP archive has no files"})


def test_the_same_folder_again(tmp_path: Path) -> None:
    """With the backlog and the unpacked files in the folder, the rows are the same again."""
    (tmp_path / "a.pdf").write_bytes(PDF)
    (tmp_path / "a.zip").write_bytes(zipped([("b.pdf", PDF)]))
    backlog = tmp_path / "b.sqlite"
    found = []
    for _ in range(2):
        backlog.write_bytes(b"a database")
        (tmp_path / "b.sqlite-wal").write_bytes(b"x")
        found.append(read(FileSource(tmp_path, tmp_path / "b.sqlite.files", kind="ocr", without=[backlog])))
    assert found[0] == found[1]
    assert len(found[0][0]) == 2
    assert found[0][0][1].file.startswith("b.sqlite.files/")
    assert found[0][1] == {}


def test_an_archive(tmp_path: Path) -> None:
    """The files of an archive are relative to the folder into which it is unpacked."""
    (tmp_path / "x").write_bytes(zipped([("n/b.pdf", PDF)]))
    source = FileSource(tmp_path / "x", tmp_path / "b.files", kind="verify", staff_id="Z@x.cn")
    rows, _ = read(source)
    assert [(row.file, row.staff_id) for row in rows] == [("n/b.pdf", "email:z@x.cn")]
    assert source.path.parent.parent == tmp_path / "b.files"
    (tmp_path / "x").write_bytes(b"PK\x03\x04")
    with pytest.raises(ManifestError, match="this ZIP archive cannot be read"):
        list(FileSource(tmp_path / "x", tmp_path / "b.files", kind="ocr").rows())


def test_a_single_file(tmp_path: Path) -> None:
    """A single file is relative to its folder, as it is if the folder is added."""
    (tmp_path / "a.pdf").write_bytes(PDF)
    alone = FileSource(tmp_path / "a.pdf", tmp_path / "b.files", kind="ocr")
    folder = FileSource(tmp_path, tmp_path / "b.files", kind="ocr")
    assert (alone.path, read(alone)) == (folder.path, read(folder))


@pytest.mark.parametrize("name", ["attachment:a:b.pdf", "http:x.pdf"])
def test_a_name_that_looks_like_no_file(tmp_path: Path, name: str) -> None:
    """A file whose name begins as an attachment or URL is nevertheless a file."""
    (tmp_path / name).write_bytes(PDF)
    rows, _ = read(FileSource(tmp_path, tmp_path / "b.files", kind="ocr"))
    assert [row.file for row in rows] == [f"./{name}"]


def test_a_name_with_a_line_break(tmp_path: Path) -> None:
    """A name that a manifest could not hold is left out."""
    (tmp_path / "a\nb.pdf").write_bytes(PDF)
    assert read(FileSource(tmp_path, tmp_path / "b.files", kind="ocr")) == (
        [],
        {"a\ufffdb.pdf": "its name has control characters: rename it"},
    )


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("m.csv", b"", "manifest"),
        ("m.NDJSON", b"", "manifest"),
        ("m.xlsx", zipped([("[Content_Types].xml", b"")]), "manifest"),
        ("m.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "manifest"),
        ("x", zipped([("a.pdf", PDF)]), "archive"),
        ("x.zip", b"PK\x03\x04", "archive"),
        ("x.ofd", OFD, "file"),
        ("x.zip", OFD, "file"),
        ("x.pdf", PDF, "file"),
        ("x", b"\xff\xd8\xff\xe0", "file"),
        ("x.xml", b"\xef\xbb\xbf<?xml version='1.0'?><x/>", "file"),
    ],
)
def test_what_a_path_is(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    """Content decides what a file is, and the suffix only for manifests, which any text may be."""
    (tmp_path / name).write_bytes(content)
    assert source_kind(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.rar", b"Rar!\x1a\x07\x01\x00", "RAR archives cannot be read: unpack it first"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "7z archives cannot be read: unpack it first"),
        ("x.tar.gz", b"\x1f\x8b\x08", "archives other than ZIP cannot be read: unpack it first"),
        ("x.docx", zipped([("[Content_Types].xml", b"")]), "it is a document of Word"),
        ("x.txt", b"a list", "this is no folder, no ZIP archive, no manifest (.csv, .jsonl, .ndjson, .xlsx) and no"),
        ("x.pdf", b"", "the file is empty"),
        ("x.zip", b"not a zip", "this is no folder, no ZIP archive"),
    ],
)
def test_what_cannot_be_added(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    """The error names the file and says what could be added instead."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        source_kind(tmp_path / name)
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / name)
    assert problem.reason.startswith(reason)


def test_a_folder_with_the_name_of_a_manifest(tmp_path: Path) -> None:
    """A folder is a folder, and a path that leads nowhere is an error."""
    (tmp_path / "x.csv").mkdir()
    assert source_kind(tmp_path / "x.csv") == "folder"
    with pytest.raises(ManifestError, match="the source cannot be read: No such file"):
        source_kind(tmp_path / "x")


def test_opening_a_source(tmp_path: Path) -> None:
    """A manifest takes kind and person where it has none; files need a kind, and a person to be verified."""
    (tmp_path / "a.pdf").write_bytes(PDF)
    unpacked = tmp_path / "b.files"
    path = workbook(tmp_path / "m.xlsx", [["文件"], ["a.pdf"]])
    manifest = open_source(path, unpacked, kind="verify", staff_id="c:s")
    assert isinstance(manifest, Manifest)
    assert [(row.kind, row.staff_id) for row in manifest.rows()] == [("verify", "c:s")]
    manifest.close()
    source = open_source(tmp_path / "a.pdf", unpacked, kind="verify", staff_id="c:s")
    assert isinstance(source, FileSource)
    assert [(row.kind, row.staff_id) for row in source.rows()] == [("verify", "c:s")]
    source.close()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "verify needs a staff_id"),
        ({"kind": "url"}, "files without a manifest need a kind, one of ocr, verify"),
        ({"kind": "verify"}, "verify needs a staff_id"),
    ]
    for options, reason in wrong:
        with pytest.raises(ConfigError, match=reason):
            open_source(tmp_path / "a.pdf", unpacked, **options)
