"""`ekb backlog serve`: the page of a backlog in a browser, live, for this machine only, and only reading."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.cli.backlog.results import live_page
from ekb_async.cli.limits import LIMITS
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest, names_in, picture, session
from tests.support.command import ekb, start
from tests.support.postgres import Postgres
from tests.support.report_pages import Given, backlog_of, invoice
from tests.support.served_pages import Served, served
from tests.support.waiting import DEADLINE


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page be made again at once."""
    quick = msgspec.structs.replace(LIMITS, live_look_seconds=0.05, live_page_seconds=0.05, live_share=0.3)
    monkeypatch.setattr(live_page, "LIMITS", quick)


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    """Return a backlog with a row that is done."""
    async with backlog_of(tmp_path, Given((invoice("1"),))):
        pass
    return tmp_path / "b.sqlite"


async def test_the_numbers_go_up_while_a_run_is_at_work(tmp_path: Path) -> None:
    """While rows are worked on, each page has more of them; the run goes on as without the page."""
    rows = [f"verify,{picture(tmp_path, f'{n}.png')},,corp:s{n % 3},,R{n}" for n in range(50)]
    async with (
        Sandbox(verify_rate=0) as box,
        session(box, verify_rate=40.0) as ekb_session,
        Backlog.open(tmp_path / "b.sqlite") as backlog,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows))
        async with served(tmp_path / "b.sqlite") as page:
            running = asyncio.create_task(backlog.run(ekb_session))
            await page.until(lambda answer: "A run is at work" in answer.live)
            counts = [0]
            while len(counts) < 3:
                seen = counts[-1]
                answer = await page.until(lambda answer, seen=seen: answer.rows_done > seen)  # type: ignore[misc]
                counts.append(answer.rows_done)
            summary = await running
            await page.until(lambda answer: answer.rows_done == 50 and "50 rows done, 0 failed, 0 to do" in answer.live)
        assert counts[1] < 50
        assert summary.counts["done"] == 50
        assert len([each for each in box.log if each.call == "verify"]) == 50


async def test_nothing_is_changed(db: Path) -> None:
    """The file stays as it is, byte by byte, and no other file appears beside it."""
    before = _files_beside(db)
    async with served(db) as page:
        assert "No run is at work: 1 rows done" in (await page.ask()).live
        assert _files_beside(db) == before
    assert _files_beside(db) == before


def _files_beside(path: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the time of change of each file in the directory."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in path.parent.iterdir()}


async def test_a_backlog_that_is_away_comes_back_by_itself(db: Path) -> None:
    """While the file is away, the last page stays with a note since when; later the note is gone."""
    async with served(db) as page:
        shutil.move(db, db.with_name("away"))
        away = await page.until(lambda answer: "cannot be read since" in answer.live)
        assert away.rows_done == 1
        shutil.move(db.with_name("away"), db)
        back = await page.until(lambda answer: "cannot be read" not in answer.live)
        assert back.rows_done == 1


async def test_a_backlog_that_was_locked_comes_back_soon(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait for a lock is no work that has to be rare, so the page is up to date soon after the lock is gone."""
    monkeypatch.setattr(live_page, "LIMITS", msgspec.structs.replace(LIMITS, live_share=0.01))
    async with served(db) as page:
        with closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            other.execute("UPDATE rows SET ref = 'x'")
            await page.until(lambda answer: "database is locked" in answer.live)
            other.execute("COMMIT")
        await page.until(lambda answer: "cannot be read" not in answer.live)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:{port}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
    ],
)
async def test_foreign_hosts_and_origins_are_refused(db: Path, headers: dict[str, str], status: int) -> None:
    """Only requests to loopback, and from the page itself, are answered; others get nothing of the page."""
    async with served(db) as page:
        answer = await page.ask(**{name: value.format(port=page.port) for name, value in headers.items()})
    assert answer.status == status
    assert ("<main>" in answer.text) == (status == 200)
    _check_headers(answer.headers)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/", 405), ("PUT", "/", 405), ("DELETE", "/x", 405), ("OPTIONS", "/", 405), ("GET", "/b.sqlite", 404)],
)
async def test_only_the_page_can_be_got(db: Path, method: str, path: str, status: int) -> None:
    """Other methods and other paths are refused."""
    async with served(db) as page:
        answer = await page.ask(path, method)
    assert answer.status == status
    assert "<main>" not in answer.text
    _check_headers(answer.headers)


@pytest.mark.parametrize(("method", "path"), [("GET", f"/{'a' * 10_000}"), ("FOO", "/")])
async def test_what_is_no_request_fills_no_terminal(
    db: Path, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    """A request that cannot be read, as any website can send them, is refused without a traceback in the log."""
    async with served(db) as page:
        assert (await page.ask(path, method)).status == 400
    assert caplog.records == []


def _check_headers(headers: Mapping[str, str]) -> None:
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "aiohttp" not in str(headers)


async def test_a_page_is_sent_again_only_if_it_is_new(db: Path) -> None:
    """The answer to a browser that has the page already is 304; HEAD has the same headers."""
    async with served(db) as page:
        version = await _settled(page)
        assert (await page.ask(If_None_Match=version)).status == 304
        head = await page.ask(method="HEAD")
    assert head.status == 200
    assert head.headers["ETag"]
    assert head.text == ""


async def _settled(page: Served) -> str:
    """Return the version of the page, which has the time of the last minute in it, once two pages have the same."""
    first = await page.ask()
    return (await page.until(lambda answer: answer.headers["ETag"] == first.headers["ETag"])).headers["ETag"]


async def test_the_live_page_runs_its_own_scripts_only(db: Path) -> None:
    """The policy names both scripts by their hashes, and the page may ask only its own server; a browser without
    scripts loads it again.
    """
    async with served(db, title="<三月>") as page:
        answer = await page.ask()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.count("'sha256-") == 3
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<title>&lt;三月&gt;</title>" in answer.text
    assert '<noscript><meta http-equiv="refresh"' in answer.text


async def test_wrong_usage(tmp_path: Path, db: Path) -> None:
    """A backlog that is not there, an empty title and a port in use are mistakes."""
    missing = await ekb("backlog", "serve", tmp_path / "none.sqlite")
    assert missing.status == 2
    assert "there is no such backlog" in missing.messages
    assert names_in(tmp_path) == ["b.sqlite"]
    assert (await ekb("backlog", "serve", db, "--title", " ")).status == 2
    async with served(db) as page:
        taken = await ekb("backlog", "serve", db, "--port", str(page.port))
    assert taken.status == 2
    assert f"port {page.port} cannot be used" in taken.messages


@pytest.mark.process
async def test_a_signal_ends_it(db: Path) -> None:
    """SIGTERM and Ctrl-C end the command at once, without a traceback, and the file is as before."""
    for number in (signal.SIGTERM, signal.SIGINT):
        process = await start("backlog", "serve", db, "--lang", "zh", box=None)
        assert process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            # In Python's development mode there may be lines about slow imports.
            while not (await process.stderr.readline()).decode().startswith("页面地址：http://127.0.0.1:"):
                assert process.returncode is None
            process.send_signal(number)
            rest = (await process.stderr.read()).decode()
            assert await process.wait() == 130
        assert "Traceback" not in rest
    assert names_in(db.parent) == ["b.sqlite"]


@pytest.mark.postgres
async def test_a_database_is_served_by_a_role_that_can_only_read(empty_database: str, tmp_path: Path) -> None:
    """The page of a backlog in a database needs no right but to read."""
    import asyncpg

    async with Backlog.open(empty_database) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "url,,corp:1:2,,,"))
    connection = await asyncpg.connect(empty_database)
    role = f"reader_{hashlib.sha256(empty_database.encode()).hexdigest()[:12]}"
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN")
        await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        async with served(_as_role(empty_database, role)) as page:
            answer = await page.ask()
        assert "No run is at work: 0 rows done, 0 failed, 1 to do" in answer.live
    finally:
        await connection.execute(f"DROP OWNED BY {role}")
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()


def _as_role(dsn: str, role: str) -> str:
    scheme, _, rest = dsn.partition("://")
    return f"{scheme}://{role}@{rest.rpartition('@')[2]}"


async def test_one_page_for_any_number_of_viewers(db: Path) -> None:
    """A hundred viewers at once get the page that is there; it is not made for each of them."""
    async with served(db) as page:
        answers = await asyncio.gather(*(page.ask() for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["ETag"] for answer in answers}) < 20


@pytest.mark.slow
async def test_a_database_that_is_away_comes_back_by_itself(own_postgres: Postgres, tmp_path: Path) -> None:
    """While the server of a database is down, the last page stays with a note; it goes on when the server is back."""
    async with Backlog.open(own_postgres.dsn) as backlog:
        await backlog.add_manifest(manifest(tmp_path, "url,,corp:1:2,,,"))
    async with served(own_postgres.dsn) as page:
        await own_postgres.crash()
        away = await page.until(lambda answer: "cannot be read since" in answer.live)
        assert "0 rows done, 0 failed, 1 to do" in away.live
        await own_postgres.start()
        await page.until(lambda answer: "cannot be read" not in answer.live)
