"""Exports and reports replace no file of the backlog, of its manifests or of its rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ekb_async import ConfigError
from ekb_async.backlog import Backlog
from tests.support.backlog_stores import Location
from tests.support.backlogs import manifest, picture
from tests.support.command import ekb as command

posix = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


def content(path: Path) -> bytes:
    return path.read_bytes()


async def refuses(backlog: Backlog, path: Path) -> None:
    """Check that neither a report nor an export may be written to the path, and that its file is unchanged."""
    before = content(path)
    with pytest.raises(ConfigError, match="choose another name"):
        await backlog.report(path)
    if path.suffix in {".csv", ".jsonl"}:
        with pytest.raises(ConfigError, match="choose another name"):
            await backlog.export(path)
    assert content(path) == before


async def test_files_that_rows_name(tmp_path: Path, place: Location) -> None:
    """Files of rows are not replaced, also in subfolders and if they have changed since they were added."""
    (tmp_path / "sub").mkdir()
    names = ["a.html", "b.csv", "sub/c.jsonl"]
    rows = [f"ocr,{picture(tmp_path, name)},,,," for name in names]
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, *rows))
        for name in names:
            await refuses(backlog, tmp_path / name)
            (tmp_path / name).write_bytes(b"changed")
            await refuses(backlog, tmp_path / name)
        picture(tmp_path, "c.jsonl")
        assert await backlog.export(tmp_path / "c.jsonl") == 3
        await backlog.report(tmp_path / "new.html")
        await backlog.report(tmp_path / "new.html")


@posix
async def test_files_that_rows_name_by_other_names(tmp_path: Path, place: Location) -> None:
    """Files are recognised through links in the manifest, links as the target, and second names."""
    picture(tmp_path, "real.html")
    (tmp_path / "link.png").symlink_to("real.html")
    picture(tmp_path, "b.png")
    (tmp_path / "out.html").symlink_to("b.png")
    os.link(tmp_path / "b.png", tmp_path / "twin.csv")
    async with Backlog.open(place) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "ocr,link.png,,,,", "ocr,b.png,,,,"))
        for name in ("real.html", "out.html", "twin.csv"):
            await refuses(backlog, tmp_path / name)


@posix
async def test_files_of_the_backlog(tmp_path: Path) -> None:
    """The backlog file, SQLite's files beside it, and manifests under any of their names are refused."""
    async with Backlog.open(tmp_path / "b.csv") as backlog:
        path = manifest(tmp_path, "url,,corp:1:2,,,")
        await backlog.add_manifest(path)
        os.link(path, tmp_path / "twin.csv")
        await refuses(backlog, tmp_path / "b.csv")
        await refuses(backlog, tmp_path / "b.csv-wal")
        await refuses(backlog, path)
        await refuses(backlog, tmp_path / "twin.csv")
        with pytest.raises(ConfigError, match="choose another name"):
            await backlog.report(tmp_path / "b.csv-journal")


async def test_the_command_refuses_them(tmp_path: Path) -> None:
    """`report -o` and `export` refuse with the status of wrong usage."""
    added = manifest(tmp_path, f"ocr,{picture(tmp_path, 'invoice.csv')},,,,")
    await command("backlog", "add", tmp_path / "b.sqlite", added)
    for arguments in (("report", "-o", tmp_path / "invoice.csv"), ("export", tmp_path / "invoice.csv")):
        name, *more = arguments
        refused = await command("backlog", name, tmp_path / "b.sqlite", *more)
        assert (refused.status, "a row of the backlog names" in refused.messages) == (2, True)
    assert (tmp_path / "invoice.csv").read_bytes().endswith(b"invoice.csv")


async def test_another_backlog(tmp_path: Path) -> None:
    """A report or an export replaces no other database, which may hold billed results."""
    other = tmp_path / "other.csv"
    async with Backlog.open(other) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "url,,c:1:1,,,"))
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await refuses(backlog, other)
