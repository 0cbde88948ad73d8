"""The statements of metrics and health read indexes only, so that their time does not depend on the answers' size."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg

from ekb_async.backlog import Backlog
from ekb_async.backlog.store.postgres.sql import metrics_sql as of_database
from ekb_async.backlog.store.sqlite.sql import metrics_sql as of_file
from ekb_async.storage.statements import numbered

COVERED = {
    "LOADS": ("", "calls_by_state"),
    "PENDING": ("ekb_call_oldest", "calls_oldest"),
    "OLDEST_READY": ("ekb_call_oldest", "calls_oldest"),
    "UNDATED_READY": ("ekb_call_oldest", "calls_oldest"),
    "FAILED": ("", "calls_failed"),
    "UNCONFIRMED": ("", "calls_failed"),
}
VALUES: dict[str, Any] = {
    "now": 1.0, "latest": 1.0, "unknown_type": "", "kinds": [], "tenants": [], "pairs": [],
}  # fmt: skip

_FILL = """
INSERT INTO ekb_call (tenant, identity, kind, state, row_id, error_type, maybe_billed, result, due_at)
SELECT 't' || n % 50, n, 'ocr', CASE n % 20 WHEN 0 THEN 'pending' WHEN 1 THEN 'failed' ELSE 'done' END, n,
    CASE n % 20 WHEN 1 THEN 'e' || n % 7 ELSE '' END, (n % 500 = 1)::int, decode(repeat(md5(n::text), 20), 'hex'),
    CASE n % 100 WHEN 0 THEN 'infinity'::float8 END
FROM generate_series(1, 20000) AS n
"""


async def test_in_a_database(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(_FILL)
        await connection.execute("VACUUM ANALYZE ekb_call")
        for name, (index, _) in COVERED.items():
            text, names = numbered(getattr(of_database, name), "$")
            plan = await connection.fetch(f"EXPLAIN {text}", *(VALUES[each] for each in names))
            # What is counted in `ekb_count` has as many rows as there are tenants, kinds and errors.
            wanted = f"Index Only Scan using {index}" if index else "on ekb_count"
            assert any(wanted in line for (line,) in plan), (name, plan)
            assert not any("Seq Scan on ekb_call" in line for (line,) in plan), (name, plan)
    finally:
        await connection.close()


async def test_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    async with Backlog.open(path):
        pass
    with closing(sqlite3.connect(path)) as file:
        for name, (_, index) in COVERED.items():
            text, names = numbered(getattr(of_file, name), "?")
            values = ["[]" if VALUES[each] == [] else VALUES[each] for each in names]
            plan = [line for *_, line in file.execute(f"EXPLAIN QUERY PLAN {text}", values)]
            assert any(f"INDEX {index}" in line for line in plan), (name, plan)
            assert not any("SCAN calls" in line and "INDEX" not in line for line in plan), (name, plan)
