"""`ekb backlog` with tenants, and on a PostgreSQL database that hosts share."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from ekb_async.cli.location import Location
from ekb_async.sandbox import Sandbox
from tests.support.command import PNG, Finished, ekb, start
from tests.support.waiting import until
from tests.support.watched_log import WatchedLog

PASSWORD = "5ecret-of-the-database"


def with_password(dsn: str) -> str:
    """Return the DSN of a test's database with a password, which the database does not require."""
    return dsn.replace("postgres:@", f"postgres:{PASSWORD}@")


async def quiet(*arguments: str | Path, box: Sandbox | None = None) -> Finished:
    """Run `ekb backlog` to its end; its output contains no password."""
    done = await ekb("backlog", *arguments, box=box)
    assert PASSWORD not in done.messages + done.output.decode()
    return done


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """The same two files for three tenants: two with accounts of their own, and one without a name."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(PNG + name.encode())
    rows = [f"ocr,{name}.png,{tenant}" for tenant in ("acme", "测试", "") for name in ("a", "b")]
    path = tmp_path / "manifest.csv"
    path.write_text("kind,file,tenant\n" + "\n".join(rows), encoding="utf-8")
    return path


def accounts(directory: Path, **boxes: Sandbox) -> Path:
    """Write a file of tenants, each with a platform of its own."""
    path = directory / "tenants.json"
    path.touch(mode=0o600)
    path.write_text(
        json.dumps(
            {
                tenant: {
                    "app_key": box.credentials.app_key,
                    "app_security": box.credentials.app_security,
                    "base_url": box.base_url,
                    "ocr_rate": 1000,
                }
                for tenant, box in boxes.items()
            }
        )
    )
    return path


@pytest.fixture(params=["file", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The backlog's argument for the command."""
    if request.param == "file":
        return str(tmp_path / "backlog.sqlite")
    return with_password(request.getfixturevalue("empty_database"))


async def status_of(db: str) -> dict[str, Any]:
    """Return the object of `status --json`."""
    found = await quiet("status", db, "--json")
    assert found.status == 0
    decoded: dict[str, Any] = msgspec.json.decode(found.output)
    return decoded


async def test_each_tenant_pays_for_its_own(manifest: Path, db: str, tmp_path: Path) -> None:
    """Rows of tenants are made with the accounts of `--tenants`, rows without one with that of the environment."""
    async with Sandbox(ocr_rate=0) as acme, Sandbox(ocr_rate=0) as other, Sandbox(ocr_rate=0) as mine:
        file = accounts(tmp_path, acme=acme, 测试=other)
        assert "6 rows added" in (await quiet("add", db, manifest)).messages
        alone = await quiet("run", db, box=mine)
        assert alone.status == 2
        assert "--tenants FILE" in alone.messages
        ran = await quiet("run", db, "--tenants", file, "--ocr-rate", "1000", box=mine)
        assert (ran.status, "6 done" in ran.messages) == (0, True), ran.messages
        assert [box.count("ocr") for box in (acme, other, mine)] == [2, 2, 2]
    words = (await quiet("status", db)).output.decode()
    assert [line.split() for line in words.splitlines()[-4:]] == [
        ["pending", "running", "done", "failed", "unconfirmed", "tenant"],
        ["0", "0", "2", "0", "0", "(none)"],
        ["0", "0", "2", "0", "0", "acme"],
        ["0", "0", "2", "0", "0", "测试"],
    ]
    found = await status_of(db)
    assert [each["tenant"] for each in found["tenants"]] == ["", "acme", "测试"]
    assert (found["doubtful"], found["hosts"]) == (0, [])


async def test_a_tenant_without_an_account(manifest: Path, db: str, tmp_path: Path) -> None:
    """A tenant without an account is named, its rows stay pending, and those of the others are made."""
    async with Sandbox(ocr_rate=0) as box:
        await quiet("add", db, manifest)
        stopped = await quiet("run", db, "--tenants", accounts(tmp_path, acme=box), "--ocr-rate", "1000", box=box)
        assert stopped.status == 2
        assert "'测试'" in stopped.messages
    found = await status_of(db)
    pending = {each["tenant"]: each["counts"]["pending"] for each in found["tenants"]}
    assert pending == {"": 0, "acme": 0, "测试": 2}


async def test_what_one_tenant_must_not_do(manifest: Path, db: str, tmp_path: Path) -> None:
    """A tenant without permission keeps its rows and ends the run with status 3 when those of the others are done."""
    async with Sandbox(ocr_rate=0) as box, Sandbox(permissions=set()) as closed:
        file = accounts(tmp_path, acme=closed, 测试=box)
        await quiet("add", db, manifest)
        stopped = await quiet("run", db, "--tenants", file, "--ocr-rate", "1000", box=box)
    assert stopped.status == 3
    assert f"Go on with: ekb backlog run {Location(db)} --ocr-rate 1000 --tenants {file}" in stopped.messages
    assert (await status_of(db))["counts"] == {"pending": 2, "running": 0, "done": 4, "failed": 0}


@pytest.mark.process
async def test_status_names_active_runs(manifest: Path, db: str, tmp_path: Path) -> None:
    """`status` names the host, process and calls of an active run, and mentions no hosts without one."""
    await quiet("add", db, manifest)
    assert "running on" not in (await quiet("status", db)).output.decode()
    async with Sandbox(ocr_rate=0, latency=60) as box:
        file = accounts(tmp_path, acme=box, 测试=box)
        box.log = log = WatchedLog()
        process = await start("backlog", "run", db, "--tenants", file, "--ocr-rate", "1000", box=box)
        await log.arrival("ocr", 1).wait()
        words, found = (await quiet("status", db)).output.decode(), await status_of(db)
        process.kill()
        await process.communicate()
    (run,) = found["hosts"]
    assert (run["host"], run["pid"]) == (socket.gethostname(), process.pid)
    assert 1 <= run["running"] <= 6
    assert f"running on {run['host']}, process {process.pid}" in words


@pytest.mark.process
async def test_rows_that_wait_for_a_decision(manifest: Path, db: str, tmp_path: Path) -> None:
    """Held calls of a killed run are counted per tenant and in total, with the command that retries them."""
    async with Sandbox(ocr_rate=0, latency=60) as slow, Sandbox(ocr_rate=0) as box:
        file = accounts(tmp_path, acme=slow, 测试=box)
        await quiet("add", db, manifest)
        slow.log = log = WatchedLog()
        settings = ("--tenants", str(file), "--ocr-rate", "1000", "--hold-unknown")
        process = await start("backlog", "run", db, *settings, box=box)
        await log.arrival("ocr", 1).wait()
        process.kill()
        await process.communicate()
        accounts(tmp_path, acme=box, 测试=box)

        async def nothing_is_left() -> bool:
            await quiet("run", db, *settings, box=box)
            counts = (await status_of(db))["counts"]
            return bool(counts["pending"] + counts["running"] == 0)

        # On a database, a run is only known to be dead when it has not been seen for a while.
        await until(nothing_is_left)
    found = await status_of(db)
    unconfirmed = {each["tenant"]: each["doubtful"] for each in found["tenants"]}
    assert unconfirmed["acme"] >= 1
    assert sum(unconfirmed.values()) == found["doubtful"] == found["counts"]["failed"]
    assert f"ekb backlog retry {Location(db)} --unknown" in (await quiet("status", db)).output.decode()


async def test_a_backlog_is_copied_to_hosts_and_back(manifest: Path, tmp_path: Path, empty_database: str) -> None:
    """`copy` moves a backlog with its results from a file to a database, and from there to another file."""
    here, there, back = str(tmp_path / "here.sqlite"), with_password(empty_database), str(tmp_path / "back.sqlite")
    async with Sandbox(ocr_rate=0) as box:
        file = accounts(tmp_path, acme=box)
        await quiet("add", here, manifest)
        await quiet("run", here, "--tenants", file, "--ocr-rate", "1000", box=box)
    for source, target in ((here, there), (there, back)):
        copied = await quiet("copy", source, target)
        assert (copied.status, f"{Location(target)}: 6 rows added" in copied.messages) == (0, True)
        assert (await status_of(target))["counts"] == {"pending": 2, "running": 0, "done": 4, "failed": 0}
    missing = await quiet("copy", tmp_path / "none.sqlite", there)
    assert (missing.status, "none.sqlite" in missing.messages) == (2, True)


DSN = f"postgresql://me:{PASSWORD}@127.0.0.1:1/db"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", f"postgresql://me:{PASSWORD}@host:port/db"),
        ("add", "new.sqlite", DSN),
        ("status", DSN.replace("postgresql", "mysql")),
        ("status", "b.sqlite", DSN),
        ("export", "b.sqlite", DSN),
        ("report", "b.sqlite", "-o", DSN),
        ("copy", DSN, DSN, DSN),
        ("copy", "b.sqlite", DSN),
        ("run", DSN, "--ocr-rate", DSN),
        ("export", DSN, "out.csv", "--state", DSN),
        (DSN, "status"),
    ],
)
async def test_the_password_is_not_repeated(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """No message quotes the password of a DSN, whatever its position and whatever is wrong with it: status 2."""
    async with Sandbox() as box:
        done = await quiet(*(tmp_path / each if each.endswith("sqlite") else each for each in arguments), box=box)
    assert done.status == 2
    assert done.messages


async def test_a_database_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable database gives a message with the command to go on, without the password: status 1."""
    (manifest := tmp_path / "manifest.csv").write_text("kind,file\n")
    monkeypatch.setenv("EKB_TIMING", '{"setup_patience": 0.5}')
    query = f"postgresql://me@127.0.0.1:1/db?password={PASSWORD}"
    async with Sandbox() as box:
        ran, asked, added = await asyncio.gather(
            quiet("run", query, box=box), quiet("status", DSN), quiet("add", DSN, manifest)
        )
    assert {ran.status, asked.status, added.status} == {1}
    assert "ekb backlog run postgresql://me@127.0.0.1:1/db\n" in ran.messages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mine.sqlite", "mine.sqlite"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgres://me:pw@host:5432,[::1]:5433/db", "'postgresql://me@host:5432,[::1]:5433/db'"),
        ("POSTGRESQL://me:pw%40@host/db?sslmode=require", "'postgresql://me@host/db?sslmode=require'"),
        ("postgresql://me:@/db?host=/run/pg&password=pw", "'postgresql://me@/db?host=/run/pg'"),
        ("postgresql://me:p@w@host/db", "DSN"),
        ("postgresql://me:1/pw@host/db", "DSN"),
        ("postgresql://me:1?pw@host/db", "DSN"),
        ("postgresql://me:1#pw@host/db", "DSN"),
        ("postgresql://me:pw", "DSN"),
        ("postgresql://me@host/db?sslpassword=pw", "DSN"),
        ("mysql://me:pw@host/db", "DB"),
    ],
)
def test_how_a_location_is_shown(text: str, shown: str) -> None:
    """A DSN is shown without its password and quoted for a shell, or not at all if any part may be a password."""
    assert str(Location(text)) == shown
    assert "pw" not in repr(Location(text))


@pytest.mark.process
@pytest.mark.parametrize("command", ["status", "run", "retry"])
async def test_a_database_without_a_backlog(empty_database: str, quick_box: Sandbox, command: str) -> None:
    """Only `add` and `copy` make a backlog in a database; everything else says that there is none."""
    done = await quiet(command, with_password(empty_database), box=quick_box)
    assert done.status == 2
    assert "there is no such backlog; make one with: ekb backlog add " in done.messages
    connection = await asyncpg.connect(empty_database)
    assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'ekb_%'") == 0
    await connection.close()
