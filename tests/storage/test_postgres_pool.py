"""One pool for all users of a database in an event loop, with a share for each kind of work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from ekb_async import EkbSession
from ekb_async.backlog import Backlog
from ekb_async.postgres import PostgresPace, PostgresTokens
from ekb_async.sandbox import Sandbox
from ekb_async.storage.limits import CONNECTIONS, Share
from ekb_async.storage.postgres.database import Database
from tests.support.entries import TOKEN, entry_in, lock_in, token_in
from tests.support.waiting import until

OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Watch:
    """A connection beside those of the test."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def others(self) -> int:
        """Return the number of the other connections to the database."""
        return int(await self._connection.fetchval(f"SELECT count(*) {OTHERS}"))

    async def processes(self) -> list[int]:
        """Return the server's processes behind the other connections."""
        return [row["pid"] for row in await self._connection.fetch(f"SELECT pid {OTHERS} ORDER BY pid")]

    async def until_open(self, count: int) -> None:
        """Wait until there are so many other connections; the server notices a closed one a little later."""

        async def are_open() -> bool:
            return await self.others() == count

        await until(are_open)

    async def cut_others(self) -> None:
        await self._connection.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")


@pytest.fixture
async def watch(database: str) -> AsyncIterator[Watch]:
    connection = await asyncpg.connect(database)
    yield Watch(connection)
    await connection.close()


async def process_of(connection: Any) -> int:
    """Return the server's process behind a connection."""
    return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def endless(connection: Any) -> None:
    await connection.execute("SELECT pg_sleep(600)")


async def test_all_users_of_a_database_share_one_pool(database: str, watch: Watch) -> None:
    """Pace, tokens and backlog of one DSN use the same connections, and the last user closes them.

    The connection that locked the token may still be in use when the first slot is claimed.
    """
    async with Sandbox(ocr_rate=0) as box, Backlog.open(database) as backlog:
        await backlog.counts()
        assert await watch.others() == 1
        pacer, tokens = PostgresPace(database), PostgresTokens(database)
        async with EkbSession(box.credentials, base_url=box.base_url, pacer=pacer, token_store=tokens) as ekb:
            await ekb.flow_invoices(codes=["B1"])
            await ekb.ocr("https://files.example/1.png")
            used = await watch.processes()
            assert len(used) <= 2
        await backlog.counts()
        assert await watch.processes() == used
    assert box.count("token") == 1
    await watch.until_open(0)


async def test_looks_at_tokens_share_a_connection(database: str, watch: Watch) -> None:
    """Sessions without a pace read their tokens over one connection, which the last session closes."""
    tokens = PostgresTokens(database)
    async with AsyncExitStack() as stack:
        keys = [f"{number:064x}" for number in range(50)]
        entries = [await stack.enter_async_context(entry_in(tokens, key)) for key in keys]
        await entries[0].read()
        used = await watch.processes()
        assert len(used) == 1
        for entry in entries[:5]:
            await entry.read()
        await asyncio.gather(*(entry.read() for entry in entries))
        assert await watch.processes() == used
    await watch.until_open(0)


async def test_no_kind_of_work_has_more_than_its_share(database: str, watch: Watch) -> None:
    """However many users work at the same time, together they have the connections of their share."""
    async with AsyncExitStack() as stack:
        users = [await stack.enter_async_context(Database(database)) for _ in range(CONNECTIONS["other"] + 3)]
        working = [asyncio.create_task(user.run(endless)) for user in users]
        await watch.until_open(CONNECTIONS["other"])
        for task in working:
            task.cancel()
        await asyncio.wait(working)
        await asyncio.gather(*(user.run(process_of) for user in users for _ in range(5)))
        assert await watch.others() <= CONNECTIONS["other"]
    await watch.until_open(0)


async def test_a_claim_and_a_look_wait_for_no_long_work(database: str, watch: Watch) -> None:
    """While long statements and sessions that wait for the vendor have their shares, paces and tokens have theirs."""
    long: tuple[Share, ...] = ("other", "calls")
    tokens, fetching = PostgresTokens(database), asyncio.Barrier(11)

    async def fetch(number: int) -> None:
        async with lock_in(tokens, 600, key=f"{number:064x}") as locked:
            await locked.write(TOKEN)
            await fetching.wait()
            await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        users = [await stack.enter_async_context(Database(database, share)) for share in long for _ in range(10)]
        working = [asyncio.create_task(user.run(endless)) for user in users]
        working += [asyncio.create_task(fetch(number)) for number in range(10)]
        await watch.until_open(CONNECTIONS["other"] + CONNECTIONS["calls"] + CONNECTIONS["token_locks"])
        paces = [PostgresPace(database).pace(f"call {n}", 1.0, 0.0, 1.0) for n in range(5)]
        async with asyncio.timeout(30):
            await fetching.wait()
            await asyncio.gather(*(pace.claim() for pace in paces))
            found = [await token_in(tokens, key=f"{number:064x}") for number in range(10)]
        assert None not in found
        assert not any(task.done() for task in working)
        assert await watch.others() <= sum(CONNECTIONS.values())
        for task in working:
            task.cancel()
        await asyncio.wait(working)
        for pace in paces:
            await pace.close()
    await watch.until_open(0)


async def test_a_look_at_a_token_survives_cut_connections(database: str, watch: Watch) -> None:
    """If the connections of the pool were cut, a token is read over another one."""
    async with AsyncExitStack() as stack:
        entry = await stack.enter_async_context(entry_in(PostgresTokens(database)))
        async with entry.lock(5) as locked:
            await locked.write(TOKEN)
        users = [await stack.enter_async_context(Database(database)) for _ in range(3)]
        for _ in range(5):
            await asyncio.gather(*(user.run(process_of) for user in users))
            await watch.cut_others()
            assert await entry.read() is not None


def test_each_event_loop_has_a_pool_of_its_own(database: str) -> None:
    """Two loops of a process that are open at the same time use different connections."""
    with asyncio.Runner() as one, asyncio.Runner() as other:
        users = {runner: Database(database) for runner in (one, other)}
        used = {runner.run(user.run(process_of)) for _ in range(3) for runner, user in users.items()}
        assert len(used) == 2
        for runner, user in users.items():
            runner.run(user.close())


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_process_has_a_pool_of_its_own(database: str) -> None:
    """A process that was forked while a pool was open uses another one, and leaves that of its parent alone."""
    with asyncio.Runner() as runner:
        user = Database(database)
        of_parent = runner.run(user.run(process_of))
        child = os.fork()
        if not child:
            try:
                os._exit(asyncio.run(Database(database).run(process_of)) == of_parent)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert runner.run(user.run(process_of)) == of_parent
        runner.run(user.close())


async def test_cancelled_while_the_server_does_not_answer(database: str) -> None:
    """A user that is cancelled does not wait for a server process that is stopped."""
    async with Database(database) as users, Database(database) as others:
        found: list[int] = []

        async def work(connection: Any) -> None:
            found.append(await connection.fetchval("SELECT pg_backend_pid()"))
            await connection.execute("SELECT pg_sleep(100)")

        async def sleeps() -> bool:
            query = (
                "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = ANY($1::int[]) AND wait_event = 'PgSleep')"
            )
            return bool(await others.run(lambda connection: connection.fetchval(query, found)))

        task = asyncio.create_task(users.run(work))
        await until(sleeps)
        os.kill(found[0], signal.SIGSTOP)
        try:
            task.cancel()
            async with asyncio.timeout(10):
                await asyncio.wait([task])
            assert task.cancelled()
        finally:
            os.kill(found[0], signal.SIGCONT)
