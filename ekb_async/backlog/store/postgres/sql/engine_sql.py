"""The SQL statements that purge what job engines keep of their finished jobs for wakeups.

The tables are used where they are in the search path, without the engines' libraries. Other entries are left: those of
other programs, and those that the role may not delete. Entries have growing numbers, so each statement looks at the
next ones, until all of them are new.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

ENTRYPOINT = "ekb_turn"
"""The name under which engines store wakeups."""
UPKEEP = "ekb_upkeep"
"""The name of a task of procrastinate that retries the wakeups of dead workers."""

_MAY_DELETE = "SELECT to_regclass('{table}') IS NOT NULL AND has_table_privilege(to_regclass('{table}'), 'DELETE')"

_PGQUEUER = """
WITH next_ones AS MATERIALIZED (
    SELECT id, created < to_timestamp(:before) AS is_old, entrypoint = :entrypoint AS is_ours FROM {table}
    WHERE id > :after ORDER BY id LIMIT :limit
), gone AS (
    DELETE FROM {table} WHERE id IN (SELECT id FROM next_ones WHERE is_old AND is_ours) RETURNING 1
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS is_old, (SELECT count(*) FROM gone) AS removed
FROM next_ones
"""
# Jobs have no times but those of their events, which are deleted with them.
_PROCRASTINATE = """
WITH next_ones AS MATERIALIZED (
    SELECT id, first < to_timestamp(:before) AS is_old,
        task_name IN (:entrypoint, :upkeep) AND status::text NOT IN ('todo', 'doing', 'aborting')
            AND last < to_timestamp(:before) AS is_ours
    FROM (
        SELECT job.id, task_name, status, min(at) AS first, max(at) AS last
        FROM (SELECT id, task_name, status FROM {table} WHERE id > :after ORDER BY id LIMIT :limit) AS job
            JOIN procrastinate_events ON job_id = job.id GROUP BY job.id, task_name, status
    ) AS each
), gone AS (
    DELETE FROM {table} WHERE id IN (SELECT id FROM next_ones WHERE is_ours) RETURNING 1
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS is_old, (SELECT count(*) FROM gone) AS removed
FROM next_ones
"""


class EngineTable(NamedTuple):
    """A table of an engine: whether its entries may be deleted, and the statement that deletes the next old ones."""

    may_delete: str
    purge: str


class Removed(NamedTuple):
    """The last entry that a statement has looked at, whether any was old, and how many were deleted."""

    last: int | None
    is_old: bool
    removed: int


def engine_tables() -> list[EngineTable]:
    """Return the tables of all engines; those of PgQueuer may have a prefix, which its own variable sets."""
    prefix = os.environ.get("PGQUEUER_PREFIX", "")
    if not re.fullmatch(r"\w*", prefix):
        prefix = ""
    tables = [(f"{prefix}{name}", _PGQUEUER) for name in ("pgqueuer_log", "pgqueuer_statistics")]
    tables.append(("procrastinate_jobs", _PROCRASTINATE))
    return [EngineTable(_MAY_DELETE.format(table=name), purge.format(table=name)) for name, purge in tables]
