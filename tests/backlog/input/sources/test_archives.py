"""ZIP archives: their files under safe names, the same every time, and nothing that does harm."""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekb_async import ManifestError, StorageError
from ekb_async.backlog.input.sources import archives
from ekb_async.backlog.input.sources.archives import Unpacked, unpack
from ekb_async.backlog.input.sources.left_out import FilesLeftOut
from tests.support.backlogs import names_in
from tests.support.full_disk import room_for
from tests.support.zips import Entry, encrypted, zipped

PDF = b"%PDF-1.4 "
_NAMES = st.text(st.characters(exclude_categories=("Cs", "Co"), exclude_characters="\0"), min_size=1, max_size=30)
OFD = zipped([("OFD.xml", b"<ofd/>"), ("Doc_0/Document.xml", b"<x/>")])


def unpacked(directory: Path, data: bytes, name: str = "a.zip") -> tuple[dict[str, str], dict[str, str]]:
    """Return the names and paths of the files of an archive, and the names and reasons of what is left out."""
    (directory / name).write_bytes(data)
    left_out = FilesLeftOut()
    found = list(unpack(directory / name, directory / "files", left_out))
    for path, _ in found:
        assert path.resolve().is_relative_to((directory / "files").resolve())
        assert stat.S_IMODE(path.lstat().st_mode) & 0o111 == 0
    return {name: "/".join(path.relative_to(directory / "files").parts[1:]) for path, name in found}, dict(left_out)


def refused(directory: Path, data: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        unpacked(directory, data)
    (problem,) = caught.value.problems
    assert problem.file == str(directory / "a.zip")
    return problem.reason


def test_files_and_their_names(tmp_path: Path) -> None:
    """Names are decoded from UTF-8 or GBK, with the mark or without it, and files are in natural order."""
    entries: list[Entry] = [
        ("发票10.pdf", PDF),
        ("发票2.pdf", PDF),
        ("餐费/票据.ofd".encode(), OFD),
        ("差旅\\机票.pdf".encode("gbk"), PDF),
        ("plain.png", b"\x89PNG"),
        ("folder/", b""),
    ]
    found, left_out = unpacked(tmp_path, zipped(entries))
    assert found == {
        "a.zip/plain.png": "plain.png",
        "a.zip/发票2.pdf": "发票2.pdf",
        "a.zip/发票10.pdf": "发票10.pdf",
        "a.zip/差旅\\机票.pdf": "差旅/机票.pdf",
        "a.zip/餐费/票据.ofd": "餐费/票据.ofd",
    }
    assert list(found)[1:3] == ["a.zip/发票2.pdf", "a.zip/发票10.pdf"]
    assert left_out == {}
    assert next((tmp_path / "files").rglob("票据.ofd")).read_bytes() == OFD


def test_a_name_in_an_extra_field(tmp_path: Path) -> None:
    """The name that some programs add in UTF-8 is used if it belongs to the other one."""
    for crc, expected in ((zlib.crc32(b"x.pdf"), "发票.pdf"), (7, "x.pdf")):
        name = "发票.pdf".encode()
        field = b"\x75\x70" + (5 + len(name)).to_bytes(2, "little") + b"\x01" + crc.to_bytes(4, "little") + name
        found, _ = unpacked(tmp_path, zipped([("x.pdf", PDF)], extra=field))
        assert found == {f"a.zip/{expected}": expected}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/x.pdf", "etc/x.pdf"),
        ("/etc/x.pdf", "etc/x.pdf"),
        ("C:\\Windows\\x.pdf", "Windows/x.pdf"),
        ("a/./../.././x.pdf", "a/x.pdf"),
        ("con.pdf", "_con.pdf"),
        ("LPT1", "_LPT1"),
        ('a<b>:"|?*.pdf', "a_b______.pdf"),
        ("a\x1b\n\u202e.pdf", "a___.pdf"),
        ("x.pdf. . ", "x.pdf"),
        ("长" * 100 + ".pdf", "长" * 65 + ".pdf"),
        ("a." + "b" * 300, "a." + "b" * 198),
    ],
)
def test_unsafe_names(tmp_path: Path, name: str, expected: str) -> None:
    """A name that leads elsewhere, or that a system does not accept, is replaced by one that does no harm."""
    found, left_out = unpacked(tmp_path, zipped([(name, PDF)]))
    assert (list(found.values()), left_out) == ([expected], {})


@settings(max_examples=60, deadline=None)
@given(st.lists(_NAMES, unique=True))
def test_any_names(names: list[str]) -> None:
    """Whatever entries are called, each file has a path of its own in the folder, or is left out with a reason."""
    with tempfile.TemporaryDirectory() as folder:
        found, left_out = unpacked(Path(folder), zipped([(name, b"x") for name in names]))
        left = FilesLeftOut()
        listed = [path for path, _ in unpack(Path(folder, "a.zip"), Path(folder, "files"), left)]
        assert len({str(path).casefold() for path in listed}) == len(listed)
        folders = sum(name.endswith(("/", "\\")) for name in names)
        assert len(listed) + left.count == len(names) - folders
        assert len(found) <= len(listed)
        assert len(left_out) <= left.count


def test_names_that_become_the_same(tmp_path: Path) -> None:
    """Names that differ only in case or in what is replaced get numbers, and so do two entries of one name."""
    entries: list[Entry] = [("a.pdf", b"1"), ("A.pdf", b"2"), ("a?.pdf", b"3"), ("a*.pdf", b"4"), (b"a.pdf", b"5")]
    unpacked(tmp_path, zipped(entries))
    files = {path.name: path.read_bytes() for path in (tmp_path / "files").rglob("*.pdf")}
    assert files == {"A.pdf": b"2", "a (2).pdf": b"1", "a (3).pdf": b"5", "a_.pdf": b"4", "a_ (2).pdf": b"3"}


def test_a_file_and_a_folder_of_one_name(tmp_path: Path) -> None:
    """A folder with the name of a file gets a number, and the other way round."""
    found, _ = unpacked(tmp_path, zipped([("a", b"1"), ("A/b.pdf", b"2"), ("c/d.pdf", b"3"), ("C.", b"4")]))
    assert sorted(found.values()) == ["A (2)/b.pdf", "C", "a", "c (2)/d.pdf"]


def test_what_is_left_out(tmp_path: Path) -> None:
    """What is no file of an invoice by its kind is left out with a reason, and the rest is unpacked."""
    entries: list[Entry] = [
        ("x.pdf", PDF),
        ("empty.pdf", b""),
        (".DS_Store", b"x"),
        ("__MACOSX/._x.pdf", b"x"),
        ("b.rar", b"Rar!\x1a\x07\x00"),
        ("c.7z", b"7z\xbc\xaf\x27\x1c"),
        ("d.docx", zipped([("[Content_Types].xml", b"<x/>")])),
        ("e.csv", b"kind\n"),
        ("bomb.pdf", b"\0" * 20_000_000),
        ("/".join(["d" * 90] * 12), PDF),
    ]
    found, left_out = unpacked(tmp_path, zipped(entries))
    assert found == {"a.zip/x.pdf": "x.pdf"}
    assert {name.removeprefix("a.zip/")[:8]: reason.partition(":")[0] for name, reason in left_out.items()} == {
        "empty.pd": "the file is empty",
        ".DS_Stor": "it is hidden, or a file of the system",
        "__MACOSX": "it is hidden, or a file of the system",
        "b.rar": "RAR archives cannot be read",
        "c.7z": "7z archives cannot be read",
        "d.docx": "it is a document of Word, Excel or another office program, not an invoice",
        "e.csv": "it is a manifest",
        "bomb.pdf": "it is more than 200 times as large when it is unpacked",
        "d" * 8: "its path is too long",
    }


def test_larger_than_the_vendor_takes(tmp_path: Path) -> None:
    """An entry that the vendor does not take is not unpacked."""
    noise = os.urandom(1_000_000) * 32
    found, left_out = unpacked(tmp_path, zipped([("x.pdf", noise)], compress_type=zipfile.ZIP_STORED))
    assert (found, list(left_out)) == ({}, ["a.zip/x.pdf"])
    assert "at most" in left_out["a.zip/x.pdf"]


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644])
def test_links_and_special_files(tmp_path: Path, mode: int) -> None:
    """A link or a device in an archive is left out."""
    found, left_out = unpacked(tmp_path, zipped([("x", b"/etc/passwd")], external_attr=mode << 16))
    assert (found, left_out) == ({}, {"a.zip/x": "it is a link or a special file"})


def test_an_executable_file(tmp_path: Path) -> None:
    """A file that is executable in the archive is none when it is unpacked."""
    found, _ = unpacked(tmp_path, zipped([("x.pdf", PDF)], external_attr=(stat.S_IFREG | 0o4777) << 16))
    assert list(found) == ["a.zip/x.pdf"]


def test_encrypted_entries(tmp_path: Path) -> None:
    """An encrypted entry is left out."""
    found, left_out = unpacked(tmp_path, encrypted(zipped([("x.pdf", PDF)])))
    assert (found, left_out) == ({}, {"a.zip/x.pdf": "it is encrypted: unpack the archive first"})


def test_a_damaged_entry(tmp_path: Path) -> None:
    """An entry whose content is damaged is left out, and the others are unpacked."""
    data = bytearray(zipped([("x.pdf", os.urandom(5_000)), ("y.pdf", PDF)]))
    data[2_000] ^= 1
    found, left_out = unpacked(tmp_path, bytes(data))
    assert list(found) == ["a.zip/y.pdf"]
    assert left_out == {"a.zip/x.pdf": "it is damaged, or packed in a way that cannot be read"}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_entry_of_any_packing(tmp_path: Path, method: int) -> None:
    """Each way of packing has errors of its own; the other entries are taken."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.pdf", PDF * 100)
        packed = file.tell()
        archive.writestr("b.pdf", PDF)
    data = bytearray(file.getvalue())
    start = 30 + len("a.pdf")
    data[start + 4 : packed] = bytes(packed - start - 4)
    found, left_out = unpacked(tmp_path, bytes(data))
    assert found == {"a.zip/b.pdf": "b.pdf"}
    assert "damaged" in left_out["a.zip/a.pdf"]


def test_archives_in_archives(tmp_path: Path) -> None:
    """Archives in archives are unpacked into a folder of their name, three deep; an OFD stays a file."""
    data, names = zipped([("x.pdf", PDF)]), []
    for depth in (4, 3, 2):
        data = zipped([(f"{depth}.zip", data), (f"{depth}.pdf", PDF), ("o.ofd", OFD)])
        names.append(depth)
    found, left_out = unpacked(tmp_path, data)
    assert found == {
        "a.zip/2.pdf": "2.pdf",
        "a.zip/2.zip/3.pdf": "2.zip/3.pdf",
        "a.zip/2.zip/3.zip/4.pdf": "2.zip/3.zip/4.pdf",
        "a.zip/2.zip/3.zip/o.ofd": "2.zip/3.zip/o.ofd",
        "a.zip/2.zip/o.ofd": "2.zip/o.ofd",
        "a.zip/o.ofd": "o.ofd",
    }
    assert left_out == {"a.zip/2.zip/3.zip/4.zip": "only 3 archives may be inside one another"}


def test_a_damaged_archive_in_an_archive(tmp_path: Path) -> None:
    """A damaged archive in another one is left out."""
    found, left_out = unpacked(tmp_path, zipped([("b.zip", b"PK\x03\x04 damaged"), ("x.pdf", PDF)]))
    assert list(found) == ["a.zip/x.pdf"]
    assert left_out == {"a.zip/b.zip": "this ZIP archive cannot be read: it is damaged, or no ZIP file"}


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip", zipped([("x", PDF)])[:-30]])
def test_a_damaged_archive(tmp_path: Path, data: bytes) -> None:
    """An archive that is damaged as a whole is an error that names it."""
    assert refused(tmp_path, data) == "this ZIP archive cannot be read: it is damaged, or no ZIP file"


def test_too_many_entries_and_entries_that_overlap(tmp_path: Path) -> None:
    """An archive with more entries than allowed, or with one content for many entries, is refused as a whole."""
    many = zipped([(f"{number}", b"") for number in range(20_001)])
    assert refused(tmp_path, many) == "this ZIP archive cannot be read: it has more than 20,000 entries"
    data = bytearray(zipped([("x.pdf", os.urandom(50_000)), ("y.pdf", b"z" * 50)]))
    at = data.rfind(b"PK\x01\x02")
    data[at + 20 : at + 24] = (60_000).to_bytes(4, "little")
    assert refused(tmp_path, bytes(data)) == "this ZIP archive cannot be read: its entries overlap"


def test_too_large_as_a_whole(tmp_path: Path) -> None:
    """The sizes that the directory states are added before anything is unpacked."""
    data = bytearray(zipped([(f"{number}.pdf", PDF) for number in range(3)]))
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 24 : at + 28] = (2_000_000_000).to_bytes(4, "little")
        at = data.find(b"PK\x01\x02", at + 4)
    assert "bytes when it is unpacked" in refused(tmp_path, bytes(data))
    assert not (tmp_path / "files").exists()


def state_of(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_the_same_archive_again(tmp_path: Path) -> None:
    """Under another name, too, nothing is written again and the paths are the same; what was changed is restored."""
    data = zipped([("x.pdf", PDF), ("n/y.pdf", b"y"), ("z.zip", zipped([("w.pdf", b"w")]))])
    first, _ = unpacked(tmp_path, data)
    before = state_of(tmp_path / "files")
    assert len(before) == 3
    again, _ = unpacked(tmp_path, data, "b.zip")
    assert list(again.values()) == list(first.values())
    assert state_of(tmp_path / "files") == before
    for path in (tmp_path / "files").rglob("*.pdf"):
        path.write_bytes(b"z" * path.stat().st_size)
    unpacked(tmp_path, data)
    assert {path: content for path, (content, _, _) in state_of(tmp_path / "files").items()} == {
        path: content for path, (content, _, _) in before.items()
    }


def test_an_interrupted_unpacking_is_continued(tmp_path: Path) -> None:
    """What was unpacked before the end of a process is kept, and what it left behind is removed."""
    (tmp_path / "a.zip").write_bytes(zipped([("1.pdf", b"1"), ("2.pdf", b"2")]))
    entries = unpack(tmp_path / "a.zip", tmp_path / "files", FilesLeftOut())
    first = next(entries)
    entries.close()
    assert [path.name for path in first.path.parent.iterdir()] == ["1.pdf"]
    (first.path.parent / ".ekb-0123456789abcdef.part").write_bytes(b"half")
    before = state_of(tmp_path)[str(first.path)]
    names = [name for _, name in unpack(tmp_path / "a.zip", tmp_path / "files", FilesLeftOut())]
    assert names == ["a.zip/1.pdf", "a.zip/2.pdf"]
    assert state_of(tmp_path)[str(first.path)] == before
    assert sorted(path.name for path in first.path.parent.iterdir()) == ["1.pdf", "2.pdf"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A target that cannot be written is an error of the storage, not of the archive."""
    (tmp_path / "files").write_bytes(b"in the way")
    with pytest.raises(StorageError):
        unpacked(tmp_path, zipped([("x.pdf", PDF)]))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no list of open files")
def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacking ends with an error wherever the disk is full, also at the last bytes of an archive in the archive."""
    inner = zipped([("a.pdf", PDF + os.urandom(20_000))])
    (tmp_path / "a.zip").write_bytes(zipped([("b.zip", inner)]))
    monkeypatch.setattr(archives, "_IN_MEMORY", 1000)
    for missing in (1, 100, 15_000):
        with room_for(len(inner) - missing), pytest.raises(StorageError, match="cannot be unpacked there"):
            list(unpack(tmp_path / "a.zip", tmp_path / "files", FilesLeftOut()))


def test_files_are_closed_when_nobody_reads_on(tmp_path: Path) -> None:
    """An abandoned unpacking leaves no file open."""
    (tmp_path / "a.zip").write_bytes(zipped([("b.zip", zipped([("1.pdf", b"1"), ("2.pdf", b"2")]))]))
    entries = unpack(tmp_path / "a.zip", tmp_path / "files", FilesLeftOut())
    assert isinstance(next(entries), Unpacked)
    before = names_in(Path("/proc/self/fd"))
    entries.close()
    assert len(names_in(Path("/proc/self/fd"))) < len(before)
