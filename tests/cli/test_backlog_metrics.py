"""`ekb backlog metrics`: both formats, files for collectors, and that nothing is created."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
import msgspec
import pytest

from ekb_async.backlog import Backlog, BacklogMetrics, Row
from tests.backlog.metrics.test_exposition import parsed, values
from tests.support.backlog_stores import Location
from tests.support.backlogs import names_in
from tests.support.command import ekb


async def added(place: Location) -> str:
    async with Backlog.open(place) as backlog:
        await backlog.add(Row(kind="ocr", file=f"https://f.example/{n}.png", tenant=f"t{n}") for n in range(3))
    return str(place)


async def test_both_formats(place: Location) -> None:
    """The same figures for Prometheus and as JSON; tenants beyond the number asked for are the rest."""
    db = await added(place)
    ended = await ekb("backlog", "metrics", db, "--top", "1")
    assert (ended.status, ended.messages) == (0, "")
    page = parsed(ended.output)
    assert values(page["ekb_backlog_tenant_pending_calls"], "tenant") == {"t0": 1, "(rest)": 2}
    ended = await ekb("backlog", "metrics", db, "--format", "json", "--name", "payables")
    figures = msgspec.json.decode(ended.output, type=BacklogMetrics)
    assert (figures.backlog, figures.rows["pending"], len(figures.top)) == ("payables", 3, 3)


async def test_a_file_for_a_collector(place: Location, tmp_path: Path) -> None:
    """The file is complete, can be read by other users, and replaces the one of before, and nothing else is left."""
    db = await added(place)
    directory = tmp_path / "collector"
    directory.mkdir()
    target = directory / "ekb.prom"
    for _ in range(2):
        ended = await ekb("backlog", "metrics", db, "--output", target)
        assert (ended.status, ended.output, ended.messages) == (0, b"", "")
        assert values(parsed(target.read_bytes())["ekb_backlog_rows"], "state")["pending"] == 3
        assert names_in(directory) == ["ekb.prom"]
    assert (await ekb("backlog", "metrics", db, "--format", "json", "--output", target)).status == 0
    assert msgspec.json.decode(target.read_bytes(), type=BacklogMetrics).rows["pending"] == 3
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


async def test_files_that_are_kept(tmp_path: Path) -> None:
    """A file with something else is not replaced, least of all the backlog."""
    db = await added(tmp_path / "b.sqlite")
    other = tmp_path / "other.csv"
    other.write_text("kind,file\n")
    for target in (Path(db), other):
        before = target.read_bytes()
        ended = await ekb("backlog", "metrics", db, "--output", target)
        assert ended.status == 2
        assert "this file has no earlier metrics; choose another name" in ended.messages
        assert target.read_bytes() == before
    assert (await ekb("backlog", "metrics", db, "--output", tmp_path)).status == 2
    assert (await ekb("backlog", "metrics", db, "--output", tmp_path / "missing" / "ekb.prom")).status == 2


async def test_no_backlog(tmp_path: Path, empty_database: str) -> None:
    """Neither a file nor tables are created, and an earlier output stays."""
    target = tmp_path / "ekb.prom"
    target.write_text("# HELP ekb_backlog_calls before\n")
    for db in (str(tmp_path / "none.sqlite"), empty_database):
        ended = await ekb("backlog", "metrics", db, "--output", target)
        assert ended.status == 2
        assert "no" in ended.messages
    assert names_in(tmp_path) == ["ekb.prom"]
    assert target.read_text() == "# HELP ekb_backlog_calls before\n"
    ended = await ekb("backlog", "health", empty_database)
    assert (ended.status, ended.output) == (1, b"the database has no backlog\n")


@pytest.mark.parametrize("arguments", [("--top", "0"), ("--format", "xml"), ("--output", "postgresql://u:p@h/d")])
async def test_wrong_arguments(tmp_path: Path, arguments: tuple[str, str]) -> None:
    db = await added(tmp_path / "b.sqlite")
    ended = await ekb("backlog", "metrics", db, *arguments)
    assert ended.status == 2
    assert "u:p" not in ended.messages


async def test_a_role_that_may_only_read(database: str) -> None:
    """A monitoring system needs no more than SELECT."""
    role = database.rpartition("/")[2].partition("?")[0] + "_monitor"
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN")
        tables = "SELECT relname FROM pg_class WHERE relname LIKE 'ekb%' AND relkind = 'r'"
        for (table,) in await connection.fetch(tables):
            await connection.execute(f"GRANT SELECT ON {table} TO {role}")
        db = database.replace("postgres:@", f"{role}@")
        for command in ("metrics", "health"):
            ended = await ekb("backlog", command, db)
            assert (ended.status, ended.messages) == (0, "")
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()
