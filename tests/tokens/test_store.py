"""One access token for all sessions, processes and hosts that use the same keys."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ekb_async import AuthError, ConfigError, EkbSession, SessionConfig, StaticToken
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.storage.migrations.steps import steps
from ekb_async.tokens.postgres import PostgresTokens
from ekb_async.tokens.sqlite import MachineTokens
from ekb_async.tokens.store import ProcessTokens, SharedToken, TokenEntry, TokenStore, TokenStoreError
from tests.conftest import FAST
from tests.support.entries import SECRET, TOKEN, entry_of, key_of, lock_in, token_in
from tests.support.postgres import cut_lock_holders, lock_holders, run_now

NewStore = Callable[[], TokenStore]
"""Returns the store as another process would open it."""


@pytest.fixture
def bare_database(request: pytest.FixtureRequest) -> str:
    """Return the DSN of a database without tables."""
    dsn: str = request.getfixturevalue("empty_database")
    return dsn


@pytest.fixture
def token_database(bare_database: str) -> str:
    """Return the DSN of a database with the table of tokens."""
    run_now(create_table(bare_database))
    return bare_database


async def create_table(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    [create] = [statement for statement in steps("postgres")[0] if "CREATE TABLE ekb_token (" in statement]
    await connection.execute(create)
    await connection.close()


@pytest.fixture
def machine() -> NewStore:
    return MachineTokens


@pytest.fixture
def postgres(token_database: str) -> NewStore:
    return lambda: PostgresTokens(token_database)


@pytest.fixture(params=["process", "machine", "postgres"])
def new_store(request: pytest.FixtureRequest) -> NewStore:
    """Return what opens each of the three kinds of store."""
    if request.param == "process":
        shared = ProcessTokens()
        return lambda: shared
    found: NewStore = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["machine", "postgres"])
def external_store(request: pytest.FixtureRequest) -> NewStore:
    """Return what opens each kind of store outside a process."""
    found: NewStore = request.getfixturevalue(request.param)
    return found


@asynccontextmanager
async def session_on(box: Sandbox, store: TokenStore, **config: Any) -> AsyncIterator[EkbSession]:
    """Open a session that shares its token, and check that no task of the package is left after it."""
    async with sessions_on(box, lambda: store, 1, **config) as [ekb]:
        yield ekb


@asynccontextmanager
async def sessions_on(box: Sandbox, new_store: NewStore, count: int, **config: Any) -> AsyncIterator[list[EkbSession]]:
    """Open sessions that share their token, and check that no task of the package is left after the last."""
    settings = SessionConfig(**{**FAST, **config})
    others = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        sessions = [
            EkbSession(box.credentials, base_url=box.base_url, config=settings, token_store=new_store())
            for _ in range(count)
        ]
        yield [await stack.enter_async_context(session) for session in sessions]
    left = [task.get_name() for task in asyncio.all_tasks() - others if task.get_name().startswith("ekb ")]
    assert left == []


async def call(*sessions: EkbSession, times: int = 1) -> None:
    """Make calls that need a token, all at once on each of the sessions."""
    await asyncio.gather(*(ekb.flow_invoices(codes=[f"B{n}"]) for ekb in sessions for n in range(times)))


# One token


async def test_sessions_that_start_at_once_ask_once(new_store: NewStore) -> None:
    """Eight sessions that start at once ask for one token, and one that comes later for none."""
    async with Sandbox() as box:
        async with sessions_on(box, new_store, 8) as sessions:
            await call(*sessions, times=3)
        async with session_on(box, new_store()) as late:
            await call(late)
        assert box.vendor.tokens_issued == box.count("token") == 1


async def test_a_revoked_token_costs_one_more(new_store: NewStore) -> None:
    """For any number of callers and sessions with a revoked token, at once or later, one new token is fetched."""
    async with Sandbox() as box, sessions_on(box, new_store, 5) as sessions:
        await call(*sessions)
        box.revoke_tokens()
        await call(*sessions[:3], times=10)
        await call(*sessions, times=2)
        assert box.vendor.tokens_issued == box.count("token") == 2


async def test_a_token_that_was_renewed_and_revoked(new_store: NewStore) -> None:
    """A session that missed a renewal replaces its own revoked token and the renewed one, which is revoked too."""
    async with Sandbox() as box:
        async with session_on(box, new_store()) as ekb:
            await call(ekb)
            async with entry_of(box, new_store()) as entry, entry.lock(5) as locked:
                found = await locked.read()
                assert found is not None
                pair = box.vendor.tokens.log_in("sandbox-key", box.credentials.app_security, at=0)
                await locked.write(SharedToken(pair.access, pair.refresh, found.generation + 1, -5.0, 5000.0, 7000.0))
            box.revoke_tokens()
            await call(ekb, times=5)
        assert box.count("token") == 2


async def test_patience_with_a_fresh_token_of_another_session(new_store: NewStore) -> None:
    """Sessions that did not fetch a token also wait until it is valid."""
    async with Sandbox(token_settle=0.5) as box, sessions_on(box, new_store, 3) as sessions:
        await call(*sessions)
        assert box.vendor.tokens_issued == 1


@pytest.mark.parametrize("ahead", [10_800.0, -10_800.0])
async def test_hosts_whose_clock_is_wrong(new_store: NewStore, ahead: float) -> None:
    """Machines whose clocks are three hours off the vendor's share their token."""
    async with Sandbox(clock_ahead=ahead) as box:
        for _ in range(3):
            async with session_on(box, new_store()) as ekb:
                await call(ekb)
        assert box.vendor.tokens_issued == 1


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock can be advanced."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def skipping(main: Callable[[SkippingLoop], Awaitable[None]]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SkippingLoop)
        await main(loop)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(run())


async def renewals() -> None:
    """Wait until no session is renewing its token."""
    while tasks := [task for task in asyncio.all_tasks() if task.get_name() == "ekb token renewal"]:
        await asyncio.wait(tasks)


def test_one_of_them_renews(new_store: NewStore) -> None:
    """Before a token expires one session refreshes it while calls go on, and the others use the new one."""

    async def main(loop: SkippingLoop) -> None:
        async with Sandbox() as box, sessions_on(box, new_store, 4) as sessions:
            await call(*sessions)
            loop.skipped += 6700
            await call(*sessions, times=3)
            await renewals()
            assert (box.count("token"), box.count("refresh")) == (1, 1)
            loop.skipped += 1000
            await call(*sessions, times=3)
            await renewals()
            assert (box.count("token"), box.count("refresh")) == (1, 1)
            assert box.count("flow_invoices", status=200) == box.count("flow_invoices")

    skipping(main)


def test_an_expired_token_is_not_used(machine: NewStore) -> None:
    """A session that finds an expired token fetches another one with the keys."""

    async def main(loop: SkippingLoop) -> None:
        async with Sandbox() as box:
            for _ in range(2):
                async with session_on(box, MachineTokens(clock=loop.time)) as ekb:
                    await call(ekb)
                loop.skipped += 8000
            assert box.count("token") == box.vendor.tokens_issued == 2
            assert box.count("flow_invoices", status=200) == 2

    skipping(main)


# Processes

CALLER = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession
from ekb_async.tokens.sqlite import MachineTokens
from ekb_async.tokens.postgres import PostgresTokens

async def main(base_url, secret, dsn):
    keys = AppCredentials(app_key="sandbox-key", app_security=secret)
    store = PostgresTokens(dsn) if dsn else MachineTokens()
    async with EkbSession(keys, base_url=base_url, token_store=store) as ekb:
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(await ekb.flow_invoices(codes=["B1"]), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["machine", "postgres"])
def dsn(request: pytest.FixtureRequest) -> str:
    """Return where processes share their token: a DSN, or "" for the user's state directory."""
    return "" if request.param == "machine" else str(request.getfixturevalue("token_database"))


async def caller(box: Sandbox, dsn: str) -> asyncio.subprocess.Process:
    """Start a process that makes a call for every line that it is sent."""
    pipe = subprocess.PIPE
    arguments = ("-W", "error", "-c", CALLER, box.base_url, box.credentials.app_security, dsn)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    await said(process, b"ready\n")
    return process


async def said(process: asyncio.subprocess.Process, line: bytes) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    if await process.stdout.readline() != line:
        raise AssertionError((await process.stderr.read()).decode())


def signal_call(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def ended(*processes: asyncio.subprocess.Process) -> None:
    for process in processes:
        _, errors = await process.communicate(b"")
        assert (process.returncode, errors) == (0, b"")


@pytest.mark.process
async def test_processes_ask_once(dsn: str) -> None:
    """Processes that need a token at once fetch one, and one more each time that it is revoked."""
    async with Sandbox(latency={"token": 0.2}) as box:
        processes = await asyncio.gather(*(caller(box, dsn) for _ in range(4)))
        for tokens in (1, 2, 3, 4):
            for process in processes:
                signal_call(process)
            await asyncio.gather(*(said(process, b"{}\n") for process in processes))
            assert box.count("token") == box.vendor.tokens_issued == tokens
            box.revoke_tokens()
        await ended(*processes)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_a_process_killed_while_it_fetches_delays_no_other(dsn: str) -> None:
    """Another process fetches the token as soon as the one that was fetching it is killed."""
    async with Sandbox(faults=[Fault.delay(600, calls="token", times=1)]) as box:
        victim, other = await asyncio.gather(caller(box, dsn), caller(box, dsn))
        signal_call(victim)
        await box.arrived("token")
        signal_call(other)
        victim.kill()
        await victim.communicate()
        await said(other, b"{}\n")
        await ended(other)
        assert victim.returncode == -signal.SIGKILL
        assert box.count("token") == 2


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")
async def test_a_process_that_hangs_while_it_fetches(token_database: str) -> None:
    """The database ends the lock of a process that is stopped before the others give up; its own token is its alone."""
    async with Sandbox(faults=[Fault.delay(1, calls="token", times=1)]) as box:
        victim, other = await asyncio.gather(caller(box, token_database), caller(box, token_database))
        signal_call(victim)
        await box.arrived("token")
        victim.send_signal(signal.SIGSTOP)
        for _ in range(2):
            signal_call(other)
            await said(other, b"{}\n")
        assert box.count("token") == 2
        victim.send_signal(signal.SIGCONT)
        await said(victim, b"{}\n")
        late = await caller(box, token_database)
        signal_call(late)
        await said(late, b"{}\n")
        assert box.count("token") == 2
        await ended(other, late)
        await victim.communicate(b"")


# Locks


async def test_one_lock_at_a_time(new_store: NewStore) -> None:
    """A locked entry cannot be locked again, but be read; the entry of another enterprise is not locked."""
    async with lock_in(new_store(), 5) as locked:
        await locked.write(TOKEN)
    async with lock_in(new_store(), 5) as locked:
        assert await locked.read() is not None
        assert await token_in(new_store()) is not None
        async with lock_in(new_store(), 5, key="cd" * 32) as other:
            assert await other.read() is None
        with pytest.raises(TokenStoreError):
            async with lock_in(new_store(), 0.1):
                pass
        await locked.write(TOKEN)
    async with lock_in(new_store(), 5) as locked:
        pass


async def test_a_lock_is_waited_for_as_long_as_for_an_answer(
    new_store: NewStore, caplog: pytest.LogCaptureFixture
) -> None:
    """While an entry stays locked, a session fetches a token of its own after `request_timeout` and logs a warning."""
    async with (
        Sandbox() as box,
        entry_of(box, new_store()) as entry,
        entry.lock(5),
        session_on(box, new_store(), request_timeout=0.3) as ekb,
    ):
        await call(ekb, times=3)
        assert box.count("token") == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "more than 0.3 s" in caplog.text


async def test_waiting_for_a_lock_can_be_cancelled(new_store: NewStore) -> None:
    """A caller that waits for another process to fetch the token can be cancelled, and the session closed."""
    async with Sandbox() as box, entry_of(box, new_store()) as entry, entry.lock(5):
        async with session_on(box, new_store()) as ekb:
            caller = asyncio.create_task(ekb.flow_invoices(codes=["B1"]))
            await asyncio.wait([caller], timeout=0.1)
            caller.cancel()
            await asyncio.wait([caller])
            assert caller.cancelled()
        await renewals()
        assert box.count("token") == 0


async def test_the_database_ends_a_lock_that_is_held_too_long(postgres: NewStore) -> None:
    """A row locked for longer than the others' patience is unlocked, and a late write does not replace theirs."""
    async with lock_in(postgres(), 0.2) as hung:
        async with lock_in(postgres(), 30) as locked:
            await locked.write(TOKEN)
        with pytest.raises(TokenStoreError):
            await hung.write(SharedToken("ID01:late", "", 1, 0.0, 5400.0, 7170.0))
    found = await token_in(postgres())
    assert found is not None
    assert found.value == TOKEN.value


async def test_a_connection_lost_while_a_token_is_fetched(postgres: NewStore, token_database: str) -> None:
    """The token that was fetched meanwhile is stored over another connection, and other sessions use it."""
    async with Sandbox(latency={"token": 0.3}) as box, sessions_on(box, postgres, 2) as sessions:
        first = asyncio.create_task(call(sessions[0]))
        await box.arrived("token")
        connection = await asyncpg.connect(token_database)
        await cut_lock_holders(connection)
        await connection.close()
        await call(sessions[1])
        await first
        assert box.count("token") == 1


# Stores that cannot be used


@pytest.fixture(
    params=["nowhere to write", "no server", "no DSN", pytest.param("no table", marks=pytest.mark.postgres)]
)
def broken_store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    """Return a store that cannot be used."""
    if request.param == "nowhere to write":
        (tmp_path / "file").touch()
        return MachineTokens(tmp_path / "file" / "state")
    if request.param == "no table":
        return PostgresTokens(request.getfixturevalue("bare_database"))
    where = "@127.0.0.1:1" if request.param == "no server" else "/#@127.0.0.1:y"
    return PostgresTokens(f"postgresql://ekb:{SECRET}{where}/ekb")


async def test_a_broken_store_fails_no_call(broken_store: TokenStore, caplog: pytest.LogCaptureFixture) -> None:
    """Without its store a session fetches its own token and renews it after a rejection; one warning is logged."""
    async with Sandbox() as box, session_on(box, broken_store) as ekb:
        await call(ekb, times=5)
        box.revoke_tokens()
        await call(ekb, times=5)
        assert box.count("token") == 2
    assert [(record.name, record.levelno) for record in caplog.records] == [("ekb_async.tokens", logging.WARNING)]
    assert SECRET not in caplog.text + repr(broken_store)


@pytest.mark.slow
async def test_a_database_that_does_not_answer_is_not_waited_for_in_turn() -> None:
    """If the database accepts connections and is silent, all sessions give up looking after ten seconds together."""

    async def stay_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    silent = asyncio.Event()
    async with await asyncio.start_server(stay_silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = PostgresTokens(f"postgresql://ekb@127.0.0.1:{port}/ekb")
        async with asyncio.timeout(25):
            looks = [token_in(store, key=f"{number:064x}") for number in range(30)]
            found = await asyncio.gather(*looks, return_exceptions=True)
        assert {type(error) for error in found} == {TokenStoreError}
        silent.set()


@pytest.fixture(params=["no database", "another version"])
def foreign_content(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """Return the content of a file that this version of the package did not write."""
    if request.param == "no database":
        return b"no database at all" * 100
    with closing(sqlite3.connect(tmp_path / "other")) as db:
        db.execute("CREATE TABLE token (id)")
        db.execute("PRAGMA user_version = 2")
    return (tmp_path / "other").read_bytes()


async def test_a_foreign_file_is_left_alone(foreign_content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A file that this version of the package did not write is not changed; the session goes on without it."""
    async with Sandbox() as box, session_on(box, MachineTokens()) as ekb:
        path = write_state(f"{key_of(box)}.sqlite", foreign_content)
        await call(ekb)
        assert (box.count("token"), len(caplog.records)) == (1, 1)
    assert read_state() == {path: foreign_content}


def write_state(name: str, content: bytes) -> Path:
    path = Path(os.environ["EKB_STATE_DIR"], "tokens", name)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def read_state() -> dict[Path, bytes]:
    """Return the content of the files of the machine's store."""
    return {path: path.read_bytes() for path in Path(os.environ["EKB_STATE_DIR"], "tokens").iterdir()}


async def test_a_store_that_comes_back_is_used_again(bare_database: str, caplog: pytest.LogCaptureFixture) -> None:
    """When a store can be used again, sessions that had tokens of their own share the next one."""
    async with Sandbox() as box, sessions_on(box, lambda: PostgresTokens(bare_database), 3) as sessions:
        await call(*sessions)
        assert box.count("token") == len(caplog.records) == 3
        await create_table(bare_database)
        box.revoke_tokens()
        await call(*sessions)
        assert box.count("token") == 4


async def test_a_given_pool_is_not_closed(token_database: str) -> None:
    """A given pool gets its connections back unchanged and is not closed."""
    async with Sandbox() as box, asyncpg.create_pool(token_database, min_size=0, max_size=2) as pool:
        async with sessions_on(box, lambda: PostgresTokens(pool), 8) as sessions:
            await call(*sessions)
        assert box.count("token") == 1
        assert pool.get_size() == pool.get_idle_size()
        assert await lock_holders(pool) == []


# Secrets


async def stored(new_store: NewStore, dsn: str) -> bytes:
    """Return all that a store contains."""
    if isinstance(new_store(), MachineTokens):
        return b"".join(str(path).encode() + content for path, content in read_state().items())
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT * FROM ekb_token")
    await connection.close()
    return b"".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)


async def test_stored_secrets_cannot_be_read(external_store: NewStore, token_database: str) -> None:
    """A store contains neither token nor keys nor address in clear text."""
    async with Sandbox() as box, session_on(box, external_store()) as ekb:
        await call(ekb)
        content = await stored(external_store, token_database)
        assert b"gAAAA" in content
        for secret in (*box.vendor.tokens.secrets, box.credentials.app_security, box.credentials.app_key, "127.0.0.1"):
            assert secret.encode() not in content


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
async def test_files_are_closed_to_other_users() -> None:
    """Directory and file of the machine's tokens are closed to other users."""
    async with lock_in(MachineTokens(), 5) as locked:
        await locked.write(TOKEN)
    (file,) = read_state()
    assert [mode(file.parent), mode(file)] == [0o700, 0o600]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_token_is_read_only_with_the_secret(new_store: NewStore) -> None:
    """A token cannot be read with the app key and another secret."""
    async with lock_in(new_store(), 5) as locked:
        await locked.write(TOKEN)
    found = await token_in(new_store())
    assert found is not None
    assert (found.value, found.refresh, found.generation) == (TOKEN.value, TOKEN.refresh, 1)
    assert TOKEN.value not in repr(found)
    assert TOKEN.refresh not in repr(found)
    assert await token_in(new_store(), secret="guessed") is None


async def test_the_key_of_the_environment_is_needed_as_well(
    external_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `EKB_TOKEN_KEY` set to any text, only processes with the same text can read a token."""
    monkeypatch.setenv("EKB_TOKEN_KEY", "钥匙 of the house")
    async with lock_in(external_store(), 5) as locked:
        await locked.write(TOKEN)
    assert await token_in(external_store()) is not None
    for other in ("another", ""):
        monkeypatch.setenv("EKB_TOKEN_KEY", other)
        assert await token_in(external_store()) is None


@pytest.mark.parametrize(
    "change",
    [
        "ciphertext = x'00'",
        "ciphertext = 'text'",
        "issued = 'text'",
        "unusable_from = -1e300",
        "generation = -5",
        "renew_from = 9e999, unusable_from = 9e999",
    ],
)
async def test_a_token_that_was_tampered_with_fails_no_call(change: str) -> None:
    """Whatever was written into the file, calls succeed, with at most one more token."""
    async with Sandbox() as box:
        async with session_on(box, MachineTokens()) as ekb:
            await call(ekb)
        (file,) = read_state()
        with closing(sqlite3.connect(file)) as db, db:
            db.execute(f"UPDATE token SET {change}")  # noqa: S608 - the statements above
        for _ in range(2):
            async with session_on(box, MachineTokens()) as ekb:
                await call(ekb)
        assert box.count("token") <= 2


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library that encrypts tokens, a store is refused at once, and the error says what to install."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"ekb-async\[tokens\]"):
        MachineTokens()


@pytest.mark.parametrize("place", ["", "mysql://host/db", 7])
def test_a_wrong_database_argument(place: Any) -> None:
    """An argument that is neither a DSN of PostgreSQL nor a pool is refused."""
    with pytest.raises(ConfigError):
        PostgresTokens(place)


async def test_a_given_token_is_not_shared() -> None:
    """A session with a given token does not use the store."""

    class Untouched:
        def entry(self, key: str, secret: str) -> TokenEntry:
            raise AssertionError

    given = StaticToken("ID01:given")
    async with Sandbox() as box, EkbSession(given, base_url=box.base_url, token_store=Untouched()) as ekb:
        with pytest.raises(AuthError):
            await call(ekb)
        assert box.count("flow_invoices") == 1
