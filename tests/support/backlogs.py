"""Helpers for tests of backlogs: manifests, picture files, and access to the stored rows."""

from __future__ import annotations

from pathlib import Path

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog, Task
from ekb_async.backlog.store.sqlite.store import SqliteStore
from ekb_async.sandbox import Sandbox

HEADER = "kind,file,invoice_id,staff_id,file_name,ref\n"
CHECKS_HEADER = "kind,invoice_id,code,number,date,amount,check_code,ref\n"


def picture(directory: Path, name: str) -> str:
    """Write an image file whose content differs from every other's, and return its name."""
    (directory / name).write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
    return name


def manifest(directory: Path, *rows: str, name: str = "m.csv", header: str = HEADER) -> Path:
    """Write a manifest with these rows and return its path."""
    path = directory / name
    path.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def checks(directory: Path, *rows: str, name: str = "m.csv") -> Path:
    """Write a manifest with the columns of checks without a file, and return its path."""
    return manifest(directory, *rows, name=name, header=CHECKS_HEADER)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def all_tasks(backlog: Backlog, state: str | None = None) -> list[Task]:
    return [task async for task in backlog.results(state)]


async def execute(backlog: Backlog, statement: str) -> None:
    """Run a statement on the connection of a backlog file."""
    store = backlog._store
    assert isinstance(store, SqliteStore)
    await store._worker.call(store._file.database.execute, statement)


def session(box: Sandbox, **config: float) -> EkbSession:
    """Return a session on a sandbox with short waits."""
    fast = {"ocr_rate": 1000.0, "verify_rate": 1000.0, "rate_guard": 0.0, "max_backoff": 0.02}
    return EkbSession(box.credentials, base_url=box.base_url, config=SessionConfig(**{**fast, **config}))  # type: ignore[arg-type]
