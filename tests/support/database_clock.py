"""A PostgreSQL database whose clock a test sets, as far as this package and the engines read it."""

from __future__ import annotations

import asyncpg

_CREATE = """
CREATE TABLE public.test_clock AS SELECT 0::float8 AS ahead;
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
    AS $$SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM public.test_clock) * interval '1 second'$$;
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql
    AS $$SELECT pg_catalog.now() + (SELECT ahead FROM public.test_clock) * interval '1 second'$$
"""


class DatabaseClock:
    """The clock of a database; only connections with its `dsn` see it."""

    def __init__(self, database: str) -> None:
        self._database = database
        # Functions of the system are found first unless the search path says otherwise.
        self.dsn = f"{database}&options=-csearch_path%3Dpublic%2Cpg_catalog"

    async def create(self) -> None:
        """Create what this clock consists of; it shows the true time."""
        await self._execute(_CREATE)

    async def set_back(self, seconds: float) -> None:
        """Set the clock back, or ahead by a negative number of seconds."""
        await self._execute("UPDATE public.test_clock SET ahead = ahead - $1", seconds)

    async def _execute(self, statements: str, *values: float) -> None:
        connection = await asyncpg.connect(self._database)
        try:
            await connection.execute(statements, *values)
        finally:
            await connection.close()
