"""What job engines keep of finished wakeups is purged with calls: only that, and only what is old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.ext import pgqueuer, procrastinate
from tests.support.postgres import connected

pytestmark = pytest.mark.postgres

PGQUEUER = """
INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint)
SELECT now() - make_interval(days => CASE WHEN n <= 20 THEN 40 ELSE 1 END), n, 'successful', 0,
    CASE WHEN n % 4 = 0 THEN 'theirs' ELSE 'ekb_turn' END
FROM generate_series(1, 40) AS n;
INSERT INTO pgqueuer_statistics (created, count, priority, status, entrypoint)
SELECT now() - make_interval(days => n), 1, 0, 'successful', 'ekb_turn' FROM generate_series(20, 40, 20) AS n
"""
PROCRASTINATE = """
ALTER TABLE procrastinate_jobs DISABLE TRIGGER USER;
INSERT INTO procrastinate_jobs (queue_name, task_name, status)
SELECT 'ekb', CASE WHEN n % 4 = 0 THEN 'theirs' WHEN n = 1 THEN 'ekb_upkeep' ELSE 'ekb_turn' END,
    (CASE WHEN n % 5 = 0 THEN 'todo' ELSE 'succeeded' END)::procrastinate_job_status
FROM generate_series(1, 40) AS n;
ALTER TABLE procrastinate_jobs ENABLE TRIGGER USER;
INSERT INTO procrastinate_events (job_id, type, at)
SELECT id, 'deferred', now() - make_interval(days => CASE WHEN id <= 20 THEN 40 ELSE 1 END) FROM procrastinate_jobs;
INSERT INTO procrastinate_events (job_id, type, at)
SELECT id, 'succeeded', now() - make_interval(days => CASE WHEN id < 20 AND id <> 2 THEN 39 ELSE 1 END)
FROM procrastinate_jobs WHERE status = 'succeeded';
INSERT INTO procrastinate_periodic_defers (task_name, defer_timestamp, job_id) VALUES ('ekb_upkeep', 1, 1)
"""


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a purge look at three entries at a time."""
    limits = msgspec.structs.replace(LIMITS, entries_per_purged_page=3)
    monkeypatch.setattr("ekb_async.backlog.store.postgres.store.LIMITS", limits)


@pytest.mark.usefixtures("_small_pages")
async def test_old_entries_of_wakeups_go(empty_database: str) -> None:
    """Old entries of finished wakeups go; those of other programs, of open jobs and newer ones stay."""
    await pgqueuer.install_schema(empty_database)
    await procrastinate.install_schema(empty_database)
    month = datetime.now(UTC) - timedelta(days=30)
    async with Backlog.open(empty_database) as backlog, connected(empty_database) as connection:
        await connection.execute(PGQUEUER)
        await connection.execute(PROCRASTINATE)
        assert (await backlog.purge(month, tenant="acme")).log_entries == 0
        report = await backlog.purge(month)
        left = await connection.fetch("SELECT job_id, entrypoint FROM pgqueuer_log ORDER BY job_id")
        assert [row["job_id"] for row in left] == [4, 8, 12, 16, *range(20, 41)]
        assert await connection.fetchval("SELECT count(*) FROM pgqueuer_statistics") == 1
        jobs = [row["id"] for row in await connection.fetch("SELECT id FROM procrastinate_jobs ORDER BY id")]
        # Number 2 has ended lately.
        assert jobs == [2, 4, 5, 8, 10, 12, 15, 16, *range(20, 41)]
        assert report.log_entries == 15 + 1 + 11
        assert (await backlog.purge(month)).log_entries == 0


async def test_a_database_without_engines_has_no_logs(empty_database: str) -> None:
    """A database without the tables of engines is purged as any other."""
    async with Backlog.open(empty_database) as backlog:
        assert (await backlog.purge(datetime.now(UTC))).log_entries == 0
