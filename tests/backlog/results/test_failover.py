"""Cursors that name transactions of a server which another one has replaced."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from ekb_async.backlog import Backlog, BacklogTiming, Row
from tests.support.postgres import connected

TIMING = BacklogTiming(follow=0.02)


@pytest.mark.postgres
async def test_a_standby_that_lacked_the_last_transactions(database: str) -> None:
    """A position that names more transactions than the server has had is one of another server: its time counts."""
    end = "UPDATE ekb_call SET state = 'failed', ended_at = 2e9, error_type = 'X' WHERE row_id = $1"
    async with Backlog.open(database, timing=TIMING) as backlog, connected(database) as connection:
        await backlog.add([Row(kind="url", invoice_id=f"corp:1:{number}") for number in range(3)])
        slow = connection.transaction()
        await slow.start()
        await connection.execute(end, 1)
        async with connected(database) as quick:
            await quick.execute(end, 2)
            cursor = await backlog.cursor()
            await slow.commit()
            # The primary had 1,000 transactions more than the standby that has taken its place.
            place, _, seen = cursor.partition("-")
            latest, *in_progress = seen.split(".")
            ahead = f"{place}-{'.'.join([str(int(latest) + 1_000), *in_progress])}"
            await quick.execute(end, 3)
        async with aclosing(backlog.completions(ahead)) as completions, asyncio.timeout(5):
            while (await anext(completions)).rows != (3,):
                pass
