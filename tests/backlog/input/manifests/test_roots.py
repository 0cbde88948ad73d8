"""Files that a manifest may name: those under its own folder and under allowed folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ekb_async import ConfigError, EkbSession
from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import all_tasks, manifest, picture
from tests.support.command import ekb as command

posix = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Return a folder that a tenant may write to, beside a file that does not belong to the tenant."""
    (tmp_path / "tenants.toml").write_text("secret")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


async def refused(directory: Path, file: str) -> str:
    """Return the error for a row that names the file; check that nothing is added."""
    async with Backlog.open(directory.parent / "b.sqlite") as backlog:
        with pytest.raises(ConfigError) as caught:
            await backlog.add_manifest(manifest(directory, f"ocr,{picture(directory, 'a.png')},,,,", f"ocr,{file},,,,"))
        assert await all_tasks(backlog) == []
    return str(caught.value)


@pytest.mark.parametrize(
    "file", ["../tenants.toml", "sub/../../tenants.toml", "./.././tenants.toml", "../missing.toml", "../", "..", "/"]
)
async def test_a_path_that_leads_outside(inbox: Path, file: str) -> None:
    """A path outside is refused by line and column, whether or not the file exists."""
    (inbox / "sub").mkdir()
    assert "m.csv, line 3, column file: this file lies outside the folder" in await refused(inbox, file)


async def test_an_absolute_path_outside(inbox: Path) -> None:
    """An absolute path outside is refused too."""
    assert "lies outside" in await refused(inbox, str(inbox.parent / "tenants.toml"))
    sibling = inbox.with_name("inbox-2")
    sibling.mkdir()
    picture(sibling, "b.png")
    assert "lies outside" in await refused(inbox, str(sibling / "b.png"))


@posix
@pytest.mark.parametrize("file", ["link.png", "chain.png", "folder/tenants.toml", "folder/inbox/../tenants.toml"])
async def test_a_link_that_leads_outside(inbox: Path, file: str) -> None:
    """Links are resolved before a path is checked."""
    (inbox / "link.png").symlink_to(inbox.parent / "tenants.toml")
    (inbox / "chain.png").symlink_to("link.png")
    (inbox / "folder").symlink_to(inbox.parent)
    assert "lies outside" in await refused(inbox, file)


@posix
async def test_paths_that_stay_inside(inbox: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """Absolute paths, `..` and links are accepted if they lead to files under the manifest's folder."""
    (inbox / "sub").mkdir()
    picture(inbox / "sub", "a.png")
    (inbox / "link.png").symlink_to("sub/a.png")
    (inbox / "up").symlink_to(".")
    entrance = inbox.with_name("entrance")
    entrance.symlink_to(inbox)
    files = [
        "sub/a.png",
        "sub/../sub/a.png",
        "link.png",
        "up/up/link.png",
        str(inbox / "sub/a.png"),
        "../inbox/link.png",
    ]
    async with Backlog.open(inbox.parent / "b.sqlite") as backlog:
        report = await backlog.add_manifest(manifest(entrance, *(f"ocr,{file},,,," for file in files)))
        assert (report.added, report.duplicates) == (1, 5)
        assert (await backlog.run(ekb)).counts["done"] == 6
    assert quick_box.count("upload") == 1


async def test_folders_that_are_allowed(inbox: Path, quick_box: Sandbox, ekb: EkbSession) -> None:
    """`roots` are further folders for the files of one manifest."""
    files = [inbox.parent / "archive" / name for name in ("a.png", "b.png")]
    files[0].parent.mkdir()
    for file in files:
        picture(file.parent, file.name)
    rows = [f"ocr,../archive/{files[0].name},,,,", f"ocr,{files[1]},,,,"]
    async with Backlog.open(inbox.parent / "b.sqlite") as backlog:
        path = manifest(inbox, *rows)
        for roots in ((), [inbox], [inbox.parent / "archive" / "deeper"], str(inbox.parent)):
            with pytest.raises(ConfigError, match=r"lies outside|no such folder|roots must be"):
                await backlog.add_manifest(path, roots=roots)
        assert (await backlog.add_manifest(path, roots=[inbox, inbox.parent / "archive"])).added == 2
        assert (await backlog.run(ekb)).counts["done"] == 2
    assert quick_box.count("upload") == 2


@pytest.mark.process
async def test_the_command_takes_roots(inbox: Path) -> None:
    """`--root` may be given several times, and the error suggests it if it is missing."""
    archive = inbox.parent / "archive"
    archive.mkdir()
    picture(archive, "a.png")
    arguments = ("backlog", "add", inbox.parent / "b.sqlite", manifest(inbox, "ocr,../archive/a.png,,,,"))
    without = await command(*arguments)
    assert without.status == 2
    assert "--root" in without.messages
    allowed = await command(*arguments, "--root", inbox, "--root", archive)
    assert (allowed.status, "1 row added" in allowed.messages) == (0, True)


@posix
async def test_a_manifest_that_is_a_pipe(inbox: Path) -> None:
    """A pipe is refused at once, without waiting for a writer."""
    os.mkfifo(inbox / "m.csv")
    async with Backlog.open(inbox.parent / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match=r"m\.csv: a manifest must be a regular file"):
            await backlog.add_manifest(inbox / "m.csv")
