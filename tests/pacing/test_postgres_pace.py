"""One pace for all hosts that share a PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import pytest

from ekb_async import ConfigError, EkbConnectionError, EkbSession, SessionConfig
from ekb_async.postgres import PostgresPace, install_schema
from ekb_async.sandbox import Sandbox
from ekb_async.simulation import VirtualTimeLoop
from tests.support.pacers import now
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

no_signals_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="no process can be stopped there")

RATE = 10.0
MARGIN = 0.01
INTERVAL = 1 / RATE + MARGIN


class Start(NamedTuple):
    """A slot, and when it was used, both in epoch seconds of the machine that runs the tests."""

    slot: float
    at: float
    host: str


def least_gap(starts: list[Start]) -> float:
    return min(later.slot - earlier.slot for earlier, later in itertools.pairwise(sorted(starts)))


class Hosts:
    """Hosts that start calls as fast as the pace allows, within this process or each in its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._starts: asyncio.Queue[Start] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.starts: list[Start] = []

    async def __aenter__(self) -> Hosts:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self.processes.values():
            await process.communicate()

    def add_within(self, host: str) -> None:
        self._tasks.append(asyncio.create_task(self._call(host)))

    async def add_process(self, host: str) -> None:
        command = (sys.executable, "-W", "error", "-c", HOST, self._dsn, str(RATE), str(MARGIN))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        self.processes[host] = process
        self._tasks.append(asyncio.create_task(self._listen(host, process)))

    async def more_starts(self, count: int, *, of: str | None = None) -> None:
        """Wait for so many more starts, of one host if it is named."""
        while count:
            start = await self._starts.get()
            self.starts.append(start)
            count -= of in {None, start.host}

    async def _call(self, host: str) -> None:
        pace = PostgresPace(self._dsn).pace("call", RATE, MARGIN, 30.0)
        try:
            while True:
                slot = await pace.claim()
                self._starts.put_nowait(Start(slot, slot, host))
                pace.mark_started(slot)
        finally:
            await pace.close()

    async def _listen(self, host: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            slot, at = map(float, line.split())
            self._starts.put_nowait(Start(slot, at, host))


HOST = """
import asyncio, sys, time
from ekb_async.postgres import PostgresPace

async def main(dsn, rate, margin):
    pace = PostgresPace(dsn).pace("call", rate, margin, 30.0)
    while True:
        slot = await pace.claim()
        at = time.time()
        pace.mark_started(slot)
        print(repr(slot), repr(at), flush=True)

asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])), debug=True)
"""


@no_signals_on_windows
async def test_processes_killed_and_stopped(database: str) -> None:
    """Neither a killed nor a stopped process delays the others, and no slot is too close to another.

    When the stopped process resumes, it does not use the slot that it had before.
    """
    async with Hosts(database) as hosts:
        for host in "abcd":
            await hosts.add_process(host)
        for host in "abcd":
            await hosts.more_starts(2, of=host)
        hosts.processes["a"].kill()
        hosts.processes["b"].send_signal(signal.SIGSTOP)
        await hosts.more_starts(15, of="c")
        await hosts.more_starts(2, of="d")
        hosts.processes["b"].send_signal(signal.SIGCONT)
        await hosts.more_starts(3, of="b")
        assert least_gap(hosts.starts) >= INTERVAL - 1e-6
        assert max(start.at - start.slot for start in hosts.starts) < 1.0


async def test_a_crash_of_the_database(own_postgres: Postgres) -> None:
    """Hosts wait while the database is down, and keep the interval across its crash."""
    async with Hosts(own_postgres.dsn) as hosts:
        for host in "abc":
            hosts.add_within(host)
        await hosts.more_starts(10)
        await own_postgres.crash()
        await own_postgres.start()
        for host in "abc":
            await hosts.more_starts(5, of=host)
        assert least_gap(hosts.starts) >= INTERVAL - 1e-6


async def test_connections_lost_in_the_middle(database: str) -> None:
    """Whenever a connection is lost, claims go on with another one, and no slot is too close to another."""
    lost = 0
    async with Hosts(database) as hosts, connected(database) as connection:
        for host in "abc":
            hosts.add_within(host)
        while lost < 20:
            await hosts.more_starts(1)
            lost += await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert least_gap(hosts.starts) >= INTERVAL - 1e-6


@no_signals_on_windows
async def test_a_connection_that_stops_answering(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose server process hangs is closed after a while, and the claim goes on with another one."""
    pace = PostgresPace(database, answer_timeout=0.5).pace("call", 1000.0, 0.0, 1.0)
    await pace.claim()
    async with connected(database) as connection:
        hanging = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    os.kill(hanging, signal.SIGSTOP)
    try:
        await pace.claim()
        await pace.close()
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_a_database_that_stays_away() -> None:
    """After a minute without the database a claim raises an error with `sent` false; the next one waits as well."""

    async def main() -> None:
        pace = PostgresPace("postgresql:///x?host=/nowhere").pace("call", 1.0, 0.01, 30.0)
        for _ in range(2):
            claimed = now()
            with pytest.raises(EkbConnectionError, match="away") as caught:
                await pace.claim()
            assert not caught.value.sent
            assert 55 <= now() - claimed <= 65
        await pace.close()

    with asyncio.Runner(debug=True, loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def test_sessions_of_many_tenants_share_a_pacer(database: str) -> None:
    """Sessions on one pacer keep the pace of their own enterprise; those of the same enterprise share it."""
    shared = PostgresPace(database)
    config = SessionConfig(ocr_rate=4, rate_guard=0.05)
    async with Sandbox(ocr_rate=7) as one, Sandbox(ocr_rate=7) as other, contextlib.AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                EkbSession(box.credentials, base_url=box.base_url, config=config, pacer=pacer)
            )
            for box, pacer in ((one, shared), (one, PostgresPace(database)), (other, shared))
        ]
        files = [f"https://files.example/{n}.png" for n in range(3)]
        await asyncio.gather(*(ekb.ocr(file) for ekb in sessions for file in files))
        assert [len(one.starts("ocr")), one.count("ocr")] == [6, 6]
        assert [len(other.starts("ocr")), other.count("ocr")] == [3, 3]


async def test_the_pacer_is_open_only_while_it_is_used(database: str) -> None:
    """The last pace closes the connections, a later one opens them again; a pool that was given stays open."""
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:

        async def connections() -> int:
            count: int = await pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return count

        pacer = PostgresPace(database)
        for _ in range(2):
            paces = [pacer.pace(f"call {n}", 1.0, 0.0, 1.0) for n in range(20)]
            await asyncio.gather(*(pace.claim() for pace in paces))
            assert 1 <= await connections() <= 4
            await asyncio.gather(*(pace.close() for pace in paces))
            # The server notices a closed connection a little later.
            async with asyncio.timeout(60):
                while await connections():
                    pass
        given = PostgresPace(pool).pace("call", 1.0, 0.0, 1.0)
        await given.claim()
        await given.close()
        await given.close()
        assert await connections() == 0


async def test_many_processes_create_the_schema_at_once(empty_database: str) -> None:
    """Any number of hosts may create the tables at once, and again; until then a claim says what is missing."""
    pace = PostgresPace(empty_database).pace("call", 1.0, 0.0, 1.0)
    with pytest.raises(ConfigError, match="install_schema"):
        await pace.claim()
    await asyncio.gather(*(install_schema(empty_database) for _ in range(8)))
    slot = await pace.claim()
    async with asyncpg.create_pool(empty_database, min_size=1, max_size=1) as pool:
        await install_schema(pool)
        assert await pool.fetchval("SELECT latest FROM ekb_pace") == slot
    await pace.close()


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:S3CRET@/x?host=/nowhere",
        "postgresql://user:S3CRET#more@127.0.0.1/x",
        "postgresql://user:a@[S3CRET@127.0.0.1/x",
        "postgresql://user@127.0.0.1/x?password=S3CRET&sslmode=S3CRET",
        "mysql://user:S3CRET@127.0.0.1/x",
    ],
)
def test_a_password_appears_nowhere(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with a DSN, no message, `repr`, traceback or log record shows its password."""
    caplog.set_level(0)
    shown: list[str] = []

    async def main() -> None:
        pacer = PostgresPace(dsn)
        pace = pacer.pace("call", 1.0, 0.01, 30.0)
        shown.extend(map(repr, (pacer, pace)))
        try:
            await pace.claim()
        finally:
            await pace.close()

    with (
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
        pytest.raises((ConfigError, EkbConnectionError)) as caught,
    ):
        runner.run(main())
    shown.extend(traceback.format_exception(caught.value))
    assert "S3CRET" not in "".join(shown) + repr(caught.value) + caplog.text


def test_wrong_arguments() -> None:
    """An argument that is neither a PostgreSQL DSN nor a pool is refused at once."""
    wrong: Any = 5432
    for place in (wrong, "localhost", ""):
        with pytest.raises(ConfigError, match="PostgreSQL DSN"):
            PostgresPace(place)
