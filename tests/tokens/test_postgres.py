"""Tokens of many enterprises on one PostgreSQL: their locks share one connection, and each is fetched once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from ekb_async import ConfigError, EkbSession
from ekb_async.postgres import PostgresTokens, install_schema
from ekb_async.sandbox import Sandbox
from ekb_async.tokens.store import SharedToken, TokenStoreError
from tests.support.entries import TOKEN, entry_in, lock_in, token_in
from tests.support.postgres import IS_WAITED_FOR, cut_lock_holders, lock_holders
from tests.support.waiting import DEADLINE, until, until_in_database

MANY = 150


def key(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
async def watch(database: str) -> AsyncIterator[Any]:
    """A connection beside those of the test."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def until_unlocked(watch: Any) -> None:
    async def are_gone() -> bool:
        return not await lock_holders(watch)

    await until(are_gone)


async def test_many_tokens_are_fetched_at_once(database: str, watch: Any) -> None:
    """A hundred tokens are locked together and stored, over one connection."""
    tokens, all_locked, one_at_a_time = PostgresTokens(database), asyncio.Barrier(MANY), asyncio.Lock()

    async def fetch(number: int) -> None:
        async with lock_in(tokens, DEADLINE, key=key(number)) as locked:
            assert await locked.read() is None
            await all_locked.wait()
            async with one_at_a_time:
                assert len(set(await lock_holders(watch))) == 1
            await locked.write(TOKEN)

    async with entry_in(tokens), asyncio.timeout(DEADLINE):
        await asyncio.gather(*(fetch(number) for number in range(MANY)))
        found = await asyncio.gather(*(token_in(tokens, key=key(number)) for number in range(MANY)))
        assert {token.value for token in found if token} == {TOKEN.value}
        assert None not in found
        await until_unlocked(watch)


async def test_each_enterprise_asks_once(database: str) -> None:
    """Sessions of many enterprises, several for each, that start at once fetch one token for each enterprise."""
    async with AsyncExitStack() as stack:
        boxes = [await stack.enter_async_context(Sandbox(app_key=f"key-{n}", latency=0.05)) for n in range(12)]
        sessions = [
            await stack.enter_async_context(
                EkbSession(box.credentials, base_url=box.base_url, token_store=PostgresTokens(database))
            )
            for box in boxes
            for _ in range(4)
        ]
        await asyncio.gather(*(ekb.flow_invoices(codes=["B1"]) for ekb in sessions))
        assert [box.vendor.tokens_issued for box in boxes] == [1] * len(boxes)


async def test_no_more_are_fetched_than_are_allowed(database: str) -> None:
    """With `max_fetching=2`, a third token is locked when one of two is unlocked, however long that takes."""
    tokens = PostgresTokens(database, max_fetching=2)
    order: list[int] = []

    async def fetch(number: int) -> None:
        async with lock_in(tokens, 30, key=key(number)):
            order.append(number)

    async with entry_in(tokens):
        async with lock_in(tokens, 30, key=key(1)):
            async with lock_in(tokens, 30, key=key(2)):
                third = asyncio.create_task(fetch(3))
                assert await token_in(tokens, key=key(3)) is None
                assert order == []
            await third
        assert order == [3]


@pytest.mark.parametrize("seed", range(3))
async def test_callers_that_are_cancelled_leave_no_lock(database: str, watch: Any, seed: int) -> None:
    """Whenever callers are cancelled, one holds each lock at a time, and in the end all are unlocked."""
    chance, inside = random.Random(seed), set[int]()
    tokens = [PostgresTokens(database, max_fetching=4) for _ in range(2)]

    async def fetch(number: int) -> None:
        async with lock_in(chance.choice(tokens), 30, key=key(number)) as locked:
            assert number not in inside
            inside.add(number)
            try:
                await asyncio.sleep(chance.random() / 50)
                if chance.random() < 0.3:
                    await locked.write(TOKEN)
            finally:
                inside.remove(number)

    async with entry_in(tokens[0]):
        callers = [asyncio.create_task(fetch(chance.randrange(6))) for _ in range(60)]
        while waiting := [caller for caller in callers if not caller.done()]:
            await asyncio.wait(waiting, timeout=chance.random() / 50)
            chance.choice(waiting).cancel()
        for caller in callers:
            assert caller.cancelled() or caller.exception() is None
        await until_unlocked(watch)
        for number in range(6):
            async with lock_in(tokens[1], 5, key=key(number)):
                pass


async def test_a_close_that_is_cancelled_leaves_no_connection(database: str, watch: Any) -> None:
    """Closing the last session while a lock is being taken closes its connection, also if the closing is cancelled."""
    tokens = PostgresTokens(database)
    await watch.execute("BEGIN; LOCK TABLE ekb_token")
    async with entry_in(tokens) as entry:
        locking = asyncio.create_task(AsyncExitStack().enter_async_context(entry.lock(DEADLINE)))
        await until_in_database(watch, IS_WAITED_FOR)
        locking.cancel()
        closing = asyncio.create_task(entry.close())
        await asyncio.sleep(0)
        closing.cancel()
        await watch.execute("ROLLBACK")
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait([locking, closing])
    assert locking.cancelled()
    assert closing.cancelled()
    await until_in_database(watch, "count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()")


async def test_all_locks_are_lost_with_their_connection(database: str, watch: Any) -> None:
    """If the connection is cut, other sessions lock the tokens at once, and what they store is not replaced."""
    tokens = PostgresTokens(database)
    async with AsyncExitStack() as stack:
        lost = [await stack.enter_async_context(lock_in(tokens, 60, key=key(number))) for number in range(5)]
        await cut_lock_holders(watch)
        for number in range(3):
            async with lock_in(tokens, DEADLINE, key=key(number)) as locked:
                await locked.write(TOKEN)
        late = SharedToken("ID01:late", "", 1, 0.0, 5400.0, 7170.0)
        for locked in lost[:3]:
            with pytest.raises(TokenStoreError, match="another session"):
                await locked.write(late)
        # What no other session has stored is stored.
        await lost[3].write(late)
        found = [await token_in(tokens, key=key(number)) for number in range(5)]
        assert [token and token.value for token in found] == [TOKEN.value] * 3 + [late.value, None]


async def test_a_lost_connection_costs_no_token_of_its_own(database: str, watch: Any) -> None:
    """Callers that wait for a lock, and tokens that are stored, use the next connection if theirs is lost."""
    tokens = PostgresTokens(database)
    async with entry_in(tokens), AsyncExitStack() as stack:
        held = [await stack.enter_async_context(lock_in(tokens, 30, key=key(number))) for number in range(5)]
        await watch.execute("BEGIN; LOCK TABLE ekb_token IN SHARE MODE")
        writing = [asyncio.create_task(locked.write(TOKEN)) for locked in held]
        await until_in_database(watch, IS_WAITED_FOR)
        locking = [asyncio.create_task(stack.enter_async_context(lock_in(tokens, 30, key=key(9))))]
        await cut_lock_holders(watch)
        await watch.execute("ROLLBACK")
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*writing, *locking)
        assert [await token_in(tokens, key=key(number)) is not None for number in range(5)] == [True] * 5


async def test_a_secret_that_changes(database: str) -> None:
    """A token stored with an old secret is replaced by the first session with the new one."""
    tokens = PostgresTokens(database)
    async with lock_in(tokens, 5, secret="the-old-one") as locked:
        await locked.write(TOKEN)
    async with lock_in(tokens, 5) as locked:
        assert await locked.read() is None
        await locked.write(TOKEN)
        await locked.write(SharedToken("ID01:next", "", 2, 0.0, 5400.0, 7170.0))
    found = await token_in(tokens)
    assert found is not None
    assert found.value == "ID01:next"


@pytest.mark.slow
async def test_a_lock_lasts_as_long_as_its_process_is_alive(database: str) -> None:
    """A token that takes longer to be fetched than a silent process is waited for is fetched once."""
    async with Sandbox(latency={"token": 12.0}) as box, AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                EkbSession(box.credentials, base_url=box.base_url, token_store=PostgresTokens(database))
            )
            for _ in range(2)
        ]
        await asyncio.gather(*(ekb.flow_invoices(codes=["B1"]) for ekb in sessions))
        assert box.count("token") == 1


def test_the_old_name_of_the_limit() -> None:
    """`connections` is the deprecated name of `max_fetching`."""
    with pytest.warns(DeprecationWarning, match="max_fetching"):
        PostgresTokens("postgresql://db/ekb", connections=3)
    with pytest.raises(ConfigError, match="max_fetching"):
        PostgresTokens("postgresql://db/ekb", max_fetching=0)


async def test_a_pool_of_one_connection(database: str) -> None:
    """A pool with one connection is enough to look, lock and store."""
    async with asyncpg.create_pool(database, min_size=0, max_size=1) as pool:
        tokens = PostgresTokens(pool)
        async with asyncio.timeout(DEADLINE), lock_in(tokens, 5) as locked:
            await locked.write(TOKEN)
        assert await token_in(tokens) is not None


async def test_schemas_have_tokens_of_their_own(empty_database: str) -> None:
    """The same enterprise's token may be fetched in two schemas at the same time, and once in each."""
    connection = await asyncpg.connect(empty_database)
    await connection.execute("CREATE SCHEMA one; CREATE SCHEMA two")
    await connection.close()
    one, two = (f"{empty_database}&options=-csearch_path%3D{name}" for name in ("one", "two"))
    for dsn in (one, two):
        await install_schema(dsn)
    async with lock_in(PostgresTokens(one), 30), lock_in(PostgresTokens(two), 5) as locked:
        await locked.write(TOKEN)
        with pytest.raises(TokenStoreError, match="another session"):
            async with lock_in(PostgresTokens(two), 0.1):
                pass
    assert await token_in(PostgresTokens(one)) is None
