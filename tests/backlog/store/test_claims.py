"""What a claim costs a database that has no statistics yet: that of a backlog which was filled a moment ago."""

from __future__ import annotations

import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog, Row
from ekb_async.sandbox import Sandbox
from tests.support.postgres import connected
from tests.support.waiting import until_in_database

ROWS = 25_000
"""So many that reading them in order looks cheaper to PostgreSQL than to look a call up."""

READ = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'ekb_row_pkey'"
# A connection counts what it has read before it is gone.
ARE_ALONE = "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())"


@pytest.mark.postgres
async def test_a_claim_reads_the_rows_of_its_calls_only(database: str, quick_box: Sandbox) -> None:
    """Also when calls have no date, which is looked for in their other rows."""
    rows = [Row(kind="verify_by_id", invoice_id=f"corp:031001900204:{number:08d}") for number in range(ROWS)]
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url) as ekb, Backlog.open(database) as backlog:
        await backlog.add(rows)
        await backlog.run(ekb, max_calls=20)
    async with connected(database) as connection:
        await until_in_database(connection, ARE_ALONE)
        assert await connection.fetchval(READ) < ROWS
