"""The files of a folder: in the order in which people see them, and nothing from elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekb_async import ManifestError
from ekb_async.backlog.input.sources.folders import files_in, natural_key
from ekb_async.backlog.input.sources.left_out import FilesLeftOut


def fill(folder: Path, *names: str) -> Path:
    """Create files with these paths, and return the folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def found_in(folder: Path, *without: Path) -> tuple[list[str], FilesLeftOut]:
    left_out = FilesLeftOut()
    return [str(path.relative_to(folder)) for path in files_in(folder, left_out, without)], left_out


def test_natural_order(tmp_path: Path) -> None:
    """Names are in the order of their numbers, folders among them, and the order is the same every time."""
    names = ["10.pdf", "9.pdf", "发票2.pdf", "发票10.pdf", "b/2.pdf", "b/10.pdf", "A/1.pdf", "c.pdf", "a.pdf", "B.pdf"]
    expected = [
        "9.pdf",
        "10.pdf",
        "A/1.pdf",
        "a.pdf",
        "b/2.pdf",
        "b/10.pdf",
        "B.pdf",
        "c.pdf",
        "发票2.pdf",
        "发票10.pdf",
    ]
    assert found_in(fill(tmp_path, *names))[0] == expected


@given(st.lists(st.text(max_size=8), max_size=8, unique=True), st.randoms())
def test_any_names_have_one_order(names: list[str], chance: object) -> None:
    """Any names can be compared, and their order does not depend on the one in which they are found."""
    ordered = sorted(names, key=natural_key)
    chance.shuffle(names)  # type: ignore[attr-defined]
    assert sorted(names, key=natural_key) == ordered


def test_what_is_hidden_is_left_out(tmp_path: Path) -> None:
    """Hidden files and folders, and what systems leave behind, are left out and counted."""
    hidden = [".DS_Store", "a/._x.pdf", "~$x.xlsx", "Thumbs.db", "a/desktop.ini"]
    found, left_out = found_in(fill(tmp_path, "a.pdf", *hidden, ".git/config", "__MACOSX/x/y.pdf"))
    assert found == ["a.pdf"]
    assert (left_out.count, left_out.hidden) == (7, 7)
    assert sorted(name for name, _ in left_out) == sorted([*hidden, ".git", "__MACOSX"])


def test_the_backlog_is_passed_over(tmp_path: Path) -> None:
    """The backlog, what its database has beside it, and the folder of unpacked files are no files of the folder."""
    backlog, unpacked = tmp_path / "b.sqlite", tmp_path / "b.sqlite.files"
    fill(tmp_path, "a.pdf", "b.sqlite", "b.sqlite-wal", "b.sqlite-shm", "b.sqlite.files/1/x.pdf", "c/b.sqlite")
    found, left_out = found_in(tmp_path, backlog, unpacked)
    assert (found, left_out.count) == (["a.pdf", "c/b.sqlite"], 0)
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    assert found_in(link, backlog, unpacked)[0] == ["a.pdf", "c/b.sqlite"]
    link.unlink()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links(tmp_path: Path) -> None:
    """A link is followed to a file inside the folder, and nowhere else, so a loop has an end."""
    folder = fill(tmp_path / "in", "a.pdf", "b/c.pdf")
    fill(tmp_path, "out.pdf", "in-too/x.pdf")
    for name, target in (
        ("b/link.pdf", "../a.pdf"),
        ("out.pdf", "../out.pdf"),
        ("beside.pdf", "../in-too/x.pdf"),
        ("loop", "."),
        ("self", "self"),
        ("gone", "nowhere"),
        ("device", "/dev/zero"),
    ):
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.pdf")
    found, left_out = found_in(folder)
    assert found == ["a.pdf", "b/c.pdf", "b/link.pdf"]
    assert dict(left_out) == {
        "beside.pdf": "it is a link to a place outside the folder",
        "device": "it is a link to a place outside the folder",
        "gone": "it is a link that leads to no file",
        "loop": "it is a link to a folder, and such links are not followed",
        "out.pdf": "it is a link to a place outside the folder",
        "pipe.pdf": "it is no file",
        "self": "it is a link that leads to no file",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_of_other_bytes(tmp_path: Path) -> None:
    """A name that is not UTF-8 is reported in readable form, a folder's too, and the other files are found."""
    fill(tmp_path, "a.pdf")
    (tmp_path / os.fsdecode(b"\xb7\xa2.pdf")).write_bytes(b"x")
    (tmp_path / os.fsdecode(b"\xb7\xa2")).mkdir()
    found, left_out = found_in(tmp_path)
    assert found == ["a.pdf"]
    reason = "its name is not UTF-8: rename it"
    assert sorted(left_out) == [("\ufffd\ufffd", reason), ("\ufffd\ufffd.pdf", reason)]


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be read is reported, and the rest is found; if it is the first one, that is an error."""
    fill(tmp_path, "a/x.pdf", "b/y.pdf")
    listdir = os.listdir

    def refused(folder: Path) -> list[str]:
        if folder == tmp_path / "a":
            raise PermissionError(13, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refused)
    found, left_out = found_in(tmp_path)
    assert (found, list(left_out)) == (["b/y.pdf"], [("a", "it cannot be read: Permission denied")])
    with pytest.raises(ManifestError, match="the folder cannot be read: Permission denied"):
        found_in(tmp_path / "a")
    with pytest.raises(ManifestError, match="the folder cannot be read: No such file"):
        found_in(tmp_path / "nowhere")


def test_a_deep_folder(tmp_path: Path) -> None:
    """Folders far below one another are read; the depth is that of the system's paths."""
    deep = "/".join(["d"] * 900)
    assert found_in(fill(tmp_path, f"{deep}/x.pdf"))[0] == [f"{deep}/x.pdf"]


def test_only_the_first_are_named() -> None:
    """All files left out are counted, and the first thousand are named."""
    left_out = FilesLeftOut()
    for number in range(1_500):
        left_out.add(f"{number}\n", "x")
    assert (len(left_out), left_out.count, len(list(left_out))) == (1_500, 1_500, 1_000)
    assert next(iter(left_out)) == ("0\ufffd", "x")
