"""Finding the rows that are already in a backlog in a database; see `backlog.store.adding`."""

from __future__ import annotations

from typing import Any

from ekb_async.backlog.store.adding import BLANKS, spelled
from ekb_async.backlog.store.postgres import sql


async def match(connection: Any) -> int:
    """Put the rows of `wanted` that are present already into `present`, and return their number."""
    wanted = await connection.fetchval(sql.COUNT_WANTED)
    for query in (*sql.MATCH_AS_WRITTEN, sql.MATCH_SPELLED, sql.MATCH_BY_REF):
        if await connection.fetchval(sql.COUNT_PRESENT) == wanted:
            break
        await connection.execute("ANALYZE wanted, present")
        if query is sql.MATCH_SPELLED:
            found = await connection.fetch(sql.LEFT_OVER, BLANKS)
            records = [(row_id, spelled(path, file)) for row_id, path, file in found]
            await connection.copy_records_to_table("spelled", records=records)
            await connection.execute("ANALYZE spelled")
        await connection.execute(query, BLANKS)
    return int(await connection.fetchval(sql.COUNT_PRESENT))
