"""Calls as they end, for programs that follow a backlog, on both stores."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import asyncpg
import msgspec
import pytest

from ekb_async import ConfigError
from ekb_async.backlog import Backlog, BacklogTiming, Completion, Row
from ekb_async.backlog.store import limits
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.reading import ended
from ekb_async.sandbox import Sandbox
from ekb_async.storage.statements import Statements
from tests.support.backlog_stores import Location
from tests.support.backlogs import all_tasks, session
from tests.support.postgres import Postgres, connected
from tests.support.waiting import DEADLINE, until, until_in_database

TIMING = BacklogTiming(follow=0.02)
# A lost notification would delay the tests beyond their deadline.
NOTIFIED_ONLY = BacklogTiming(follow=0.02, follow_anyway=1000)


def url(number: int | str, ref: str = "", tenant: str = "") -> Row:
    return Row(kind="url", invoice_id=f"corp:1:{number}", ref=ref, tenant=tenant)


async def run(backlog: Backlog, box: Sandbox) -> None:
    await backlog.run(lambda _: session(box))


async def take(completions: AsyncGenerator[Completion, None], number: int) -> list[Completion]:
    """Take so many completions."""
    async with asyncio.timeout(DEADLINE):
        return [await anext(completions) for _ in range(number)]


async def rest(backlog: Backlog, after: str, tenant: str | None = None) -> list[Completion]:
    """Return all completions behind a cursor, once no older transaction of any program keeps them from being read."""
    position = ended.Position.parse(backlog._store, after)

    async def are_readable() -> bool:
        return not (await ended.ended_page(backlog._store, position, tenant)).is_behind

    await until(are_readable)
    page = await ended.ended_page(backlog._store, position, tenant)
    async with aclosing(backlog.completions(after, tenant=tenant)) as completions:
        return await take(completions, len(page.calls))


async def test_each_call_comes_once_as_it_ends(place: Location, quick_box: Sandbox) -> None:
    """A call that is done or failed comes with its rows, references, result and error, of whatever tenant."""
    async with Backlog.open(place, timing=NOTIFIED_ONLY) as backlog, Backlog.open(place) as other:
        await other.add([url(1, "old")])
        await run(other, quick_box)
        async with aclosing(backlog.completions(await backlog.cursor())) as completions:
            await other.add([url(1, "again"), url(2, "a"), url(2, "b"), url(2, "a"), url(3, "c", "t")])
            await other.add([Row(kind="url", invoice_id="unknown", ref="d")])
            first = asyncio.ensure_future(take(completions, 3))
            await run(other, quick_box)
            found = {each.call_id: each for each in await first}
            tasks = {task.ref: task for task in await all_tasks(other)}
            assert set(found) == {tasks[ref].call_id for ref in ("a", "c", "d")}
            shared, failed = found[tasks["a"].call_id], found[tasks["d"].call_id]
            assert (shared.refs, shared.state, shared.kind, shared.tenant) == (("a", "b"), "done", "url", "")
            assert shared.rows == tuple([task.id async for task in other.results(calls=[shared.call_id])])
            assert shared.result == tasks["a"].result
            assert (shared.raw, shared.attempts, shared.ended_at) == (
                tasks["a"].raw,
                tasks["a"].attempts,
                tasks["a"].ended_at,
            )
            assert (failed.state, failed.error_type) == ("failed", "InvoiceNotFoundError")
            assert failed.error == tasks["d"].error
            assert found[tasks["c"].call_id].tenant == "t"


async def test_a_cursor_goes_on_behind_its_call(
    place: Location, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the cursor of any call, all later ones come, each once, also if pages are smaller than transactions."""
    small = msgspec.structs.replace(limits.LIMITS, completions_per_page=2, completions_scanned=3)
    monkeypatch.setattr(ended, "LIMITS", small)
    async with Backlog.open(place, timing=TIMING) as backlog:
        start = await backlog.cursor()
        await backlog.add([url(number, tenant="ab"[number % 2]) for number in range(9)])
        await run(backlog, quick_box)
        async with aclosing(backlog.completions(start)) as completions:
            every = await take(completions, 9)
        assert len({each.call_id for each in every}) == 9
    async with Backlog.open(place, timing=TIMING) as backlog:
        for number, each in enumerate(every[:-1]):
            async with aclosing(backlog.completions(each.cursor)) as completions:
                assert await take(completions, 8 - number) == every[number + 1 :]
        async with aclosing(backlog.completions(start, tenant="b")) as completions:
            assert await take(completions, 4) == [each for each in every if each.tenant == "b"]
        await backlog.add([url(99)])
        async with aclosing(backlog.completions(every[-1].cursor)) as completions:
            await run(backlog, quick_box)
            [last] = await take(completions, 1)
        assert last.rows == (10,)


async def test_calls_that_ended_since_a_time(place: Location, quick_box: Sandbox) -> None:
    """With a time, those come first that have ended since then, and the cursor keeps the time."""
    async with Backlog.open(place, timing=TIMING) as backlog:
        await backlog.add([url(1)])
        await run(backlog, quick_box)
        await backlog.add([url(2)])
        await run(backlog, quick_box)
        first, second = [task.ended_at for task in await all_tasks(backlog)]
        assert first is not None
        assert second is not None
        async with aclosing(backlog.completions(since=first - timedelta(seconds=1))) as completions:
            assert [each.rows for each in await take(completions, 2)] == [(1,), (2,)]
        async with aclosing(backlog.completions(since=second - (second - first) / 2)) as completions:
            assert [each.rows for each in await take(completions, 1)] == [(2,)]


async def test_a_retried_call_comes_again(place: Location, quick_box: Sandbox) -> None:
    """A call that failed and is made again comes a second time, and not while it is pending."""
    async with Backlog.open(place, timing=TIMING) as backlog:
        start = await backlog.cursor()
        await backlog.add([Row(kind="url", invoice_id="unknown"), url(1)])
        await run(backlog, quick_box)
        assert len(await rest(backlog, start)) == 2
        await backlog.retry()
        assert [each.state for each in await rest(backlog, start)] == ["done"]
        await run(backlog, quick_box)
        assert [each.state for each in await rest(backlog, start)] == ["done", "failed"]


async def test_copied_calls_come(tmp_path_factory: pytest.TempPathFactory, place: Location, quick_box: Sandbox) -> None:
    """Calls that a copy brings in, ended, come as well."""
    source = tmp_path_factory.mktemp("source") / "s.sqlite"
    async with Backlog.open(source) as copied, Backlog.open(place, timing=TIMING) as backlog:
        await copied.add([url(1), url(2)])
        await backlog.add([url(2)])
        await run(copied, quick_box)
        start = await backlog.cursor()
        await copied.copy_to(backlog)
        assert len(await rest(backlog, start)) == 2


async def test_wrong_cursors_are_refused(place: Location) -> None:
    """A text that is no cursor of this kind of backlog is refused, and so are a cursor and a time together."""
    async with Backlog.open(place) as backlog:
        other = {"f": "d", "d": "f"}
        cursor = await backlog.cursor()
        for wrong in (
            "",
            "x",
            cursor + ".1.1",
            other[cursor[0]] + cursor[1:],
            "f.1.-1.0",
            "d.1.²",
            f"d.{2**70}.1.1",
            cursor + "-",
            cursor + "-1.x",
            f"{cursor[0]}.1.1." + "9" * 400,
            cursor + "-" + "9" * 5_000,
        ):
            with pytest.raises(ConfigError, match="after must be the cursor of a completion"):
                await anext(backlog.completions(wrong))
        with pytest.raises(ConfigError, match="after or since"):
            await anext(backlog.completions(cursor, since=datetime.now(UTC)))


async def test_a_cursor_of_a_restored_backlog_goes_on_by_time(place: Location, quick_box: Sandbox) -> None:
    """If a backlog was restored and its numbers begin anew, a cursor goes on from its time; some calls come twice."""
    async with Backlog.open(place, timing=TIMING) as backlog:
        await backlog.add([url(1), url(2)])
        await run(backlog, quick_box)
        letter, _, *others = (await backlog.cursor()).split(".")
        async with aclosing(backlog.completions(".".join([letter, str(10**15), *others]))) as completions:
            assert len(await take(completions, 2)) == 2


async def test_a_follower_ends_when_it_is_closed_or_cancelled(place: Location) -> None:
    """Closing or cancelling what follows a backlog leaves no task behind."""
    async with Backlog.open(place, timing=TIMING) as backlog:
        async with aclosing(backlog.completions()) as completions:
            waiting = asyncio.ensure_future(anext(completions))
            await asyncio.wait([waiting], timeout=0.1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert {task.get_name() for task in asyncio.all_tasks()} & {"ekb notifications"} == set()


@pytest.mark.postgres
async def test_transactions_that_end_in_another_order(database: str) -> None:
    """A call whose transaction began earlier and ends later is not missed, and all come once, in one order."""
    async with Backlog.open(database, timing=TIMING) as backlog:
        await backlog.add([url(number) for number in range(3)])
        first, second = [await asyncpg.connect(database) for _ in range(2)]
        try:
            async with aclosing(backlog.completions(await backlog.cursor())) as completions:
                end = "UPDATE ekb_call SET state = 'failed', ended_at = 1, error_type = 'X' WHERE row_id = $1"
                slow = first.transaction()
                await slow.start()
                await first.execute(end, 1)
                await second.execute(end, 2)
                waiting = asyncio.ensure_future(take(completions, 3))
                await until_in_database(second, "EXISTS (SELECT FROM ekb_call WHERE state = 'failed')")
                assert not (await asyncio.wait([waiting], timeout=0.2))[0]
                await slow.commit()
                await second.execute(end, 3)
                assert [each.rows for each in await waiting] == [(1,), (2,), (3,)]
        finally:
            await first.close()
            await second.close()


@pytest.mark.postgres
async def test_a_restored_dump(database: str) -> None:
    """Calls with the numbers of another server do not hide those that end now."""
    async with Backlog.open(database, timing=TIMING) as backlog:
        await backlog.add([url(1), url(2)])
        connection = await asyncpg.connect(database)
        try:
            await connection.execute("UPDATE ekb_call SET state = 'done', ended_at = 1 WHERE row_id = 1")
            await connection.execute("UPDATE ekb_call SET ended_in = 10 ^ 15 WHERE row_id = 1")
            async with aclosing(backlog.completions(since=datetime.fromtimestamp(0, UTC))) as completions:
                assert [each.rows for each in await take(completions, 1)] == [(1,)]
                await connection.execute("UPDATE ekb_call SET state = 'done', ended_at = 2 WHERE row_id = 2")
                assert [each.rows for each in await take(completions, 1)] == [(2,)]
        finally:
            await connection.close()


@pytest.mark.postgres
async def test_calls_that_end_while_a_reader_starts(
    database: str, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that ends between two looks of a reader that starts keeps its number, so no other reader misses it."""
    look = ended._horizon

    async def look_and_end(statements: Statements, store: CallStore) -> ended._Horizon:
        found = await look(statements, store)
        monkeypatch.setattr(ended, "_horizon", look)
        await run(other, quick_box)
        return found

    async with Backlog.open(database, timing=TIMING) as backlog, Backlog.open(database) as other:
        await other.add([url(1)])
        before = await backlog.cursor()
        monkeypatch.setattr(ended, "_horizon", look_and_end)
        async with aclosing(backlog.completions(before)) as completions:
            assert [each.rows for each in await take(completions, 1)] == [(1,)]
        assert [each.rows for each in await rest(backlog, before)] == [(1,)]


@pytest.mark.postgres
async def test_transactions_in_progress_when_a_reader_begins_at_a_time(database: str) -> None:
    """With a time, a call whose transaction began earlier and ends later is not missed."""
    async with Backlog.open(database, timing=TIMING) as backlog:
        await backlog.add([url(number) for number in range(2)])
        async with connected(database) as first, connected(database) as second:
            end = "UPDATE ekb_call SET state = 'failed', ended_at = 100, error_type = 'X' WHERE row_id = $1"
            slow = first.transaction()
            await slow.start()
            await first.execute(end, 1)
            await second.execute(end, 2)
            async with aclosing(backlog.completions(since=datetime.fromtimestamp(50, UTC))) as completions:
                waiting = asyncio.ensure_future(take(completions, 2))
                await asyncio.wait([waiting], timeout=0.2)
                await slow.commit()
                assert [each.rows for each in await waiting] == [(1,), (2,)]


class Began(NamedTuple):
    """A reader that began after the second of three calls had ended, while the first was ending."""

    backlog: Backlog
    cursor: str
    end: Callable[[int], Awaitable[object]]
    """Ends the call of a row."""
    commit: Callable[[], Awaitable[None]]
    """Ends the first call."""


@asynccontextmanager
async def began_amid_a_transaction(database: str) -> AsyncIterator[Began]:
    statement = "UPDATE ekb_call SET state = 'failed', ended_at = 2e9, error_type = 'X' WHERE row_id = $1"
    async with (
        Backlog.open(database, timing=TIMING) as backlog,
        connected(database) as first,
        connected(database) as others,
    ):
        await backlog.add([url("slow"), url("before"), url("after")])
        slow = first.transaction()
        await slow.start()
        await first.execute(statement, 1)
        await others.execute(statement, 2)
        yield Began(backlog, await backlog.cursor(), partial(others.execute, statement), slow.commit)


@pytest.mark.postgres
async def test_what_ended_before_a_reader_began_is_left_out(database: str) -> None:
    """A transaction in progress anywhere on the server brings no call that had ended before, and hides none after."""
    async with began_amid_a_transaction(database) as (backlog, cursor, end, commit):
        await end(3)
        async with aclosing(backlog.completions(cursor)) as completions:
            waiting = asyncio.ensure_future(take(completions, 2))
            assert not (await asyncio.wait([waiting], timeout=0.2))[0]
            await commit()
            first, second = await waiting
            assert (first.rows, second.rows) == ((1,), (3,))
        assert await rest(backlog, cursor) == [first, second]
        assert await rest(backlog, first.cursor) == [second]
        assert await rest(backlog, second.cursor) == []


@pytest.mark.postgres
async def test_a_standby_that_lacked_the_last_transactions(database: str) -> None:
    """A position that names more transactions than the server has had is one of another server: its time counts."""
    async with began_amid_a_transaction(database) as (backlog, cursor, end, commit):
        await commit()
        # The primary had 1,000 transactions more than the standby that has taken its place.
        place, _, seen = cursor.partition("-")
        latest, *in_progress = seen.split(".")
        ahead = f"{place}-{'.'.join([str(int(latest) + 1_000), *in_progress])}"
        await end(3)
        async with aclosing(backlog.completions(ahead)) as completions, asyncio.timeout(5):
            while (await anext(completions)).rows != (3,):
                pass


@pytest.mark.postgres
async def test_a_database_that_goes_away(own_postgres: Postgres, quick_box: Sandbox) -> None:
    """What follows a backlog waits while the database is away, and goes on where it was."""
    timing = BacklogTiming(patience=2, follow=0.05, reconnect=0.05)
    async with Backlog.open(own_postgres.dsn, timing=timing) as backlog:
        await backlog.add([url(1), url(2)])
        async with aclosing(backlog.completions(await backlog.cursor())) as completions:
            await run(backlog, quick_box)
            assert len(await take(completions, 1)) == 1
            await own_postgres.crash()
            last = asyncio.ensure_future(take(completions, 2))
            assert not (await asyncio.wait([last], timeout=0.3))[0]
            await own_postgres.start()
            async with Backlog.open(own_postgres.dsn) as other:
                await other.add([url(3)])
                await run(other, quick_box)
            assert len({each.call_id for each in await last}) == 2


@pytest.mark.process
async def test_another_process_goes_on(place: Location, quick_box: Sandbox) -> None:
    """A cursor that one process has stored is where another one goes on."""
    program = """
import asyncio, sys
from ekb_async.backlog import Backlog
async def main(place, cursor):
    async with Backlog.open(place) as backlog:
        print((await anext(backlog.completions(cursor))).refs[0])
asyncio.run(main(*sys.argv[1:]))
"""
    async with Backlog.open(place, timing=TIMING) as backlog:
        await backlog.add([url(1, "first")])
        await run(backlog, quick_box)
        async with aclosing(backlog.completions(since=datetime.fromtimestamp(0, UTC))) as completions:
            [first] = await take(completions, 1)
        await backlog.add([url(2, "second")])
        await run(backlog, quick_box)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(place), first.cursor, stdout=asyncio.subprocess.PIPE
        )
        assert (await process.communicate())[0].decode().strip() == "second"
