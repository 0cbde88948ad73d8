"""A backlog shared by hosts whose links to the database and to the vendor are cut."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ekb_async.backlog import Backlog
from ekb_async.sandbox import Sandbox
from tests.support.backlogs import manifest
from tests.support.hosts import DATABASE, VENDOR, Host, Network, open_network, postgres_on, reachable
from tests.support.postgres import run_now
from tests.support.waiting import DEADLINE, until_in_database

pytestmark = [pytest.mark.root, pytest.mark.process, pytest.mark.slow]

RATE = 5.0

WORK = """
import asyncio, sys
from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.postgres import PostgresPace, PostgresTokens

async def main(dsn, base_url, key, security, rate):
    config = SessionConfig(
        ocr_rate=float(rate), rate_guard=0.15, connect_timeout=1, request_timeout=3, max_backoff=1
    )
    credentials = AppCredentials(app_key=key, app_security=security)
    session = EkbSession(
        credentials, base_url=base_url, config=config, pacer=PostgresPace(dsn), token_store=PostgresTokens(dsn)
    )
    async with session as ekb, Backlog.open(dsn) as backlog:
        await backlog.run(ekb, progress=lambda now: print(now.trouble, flush=True))

asyncio.run(main(*sys.argv[1:]))
"""

SENT_BY = """
(SELECT count(*) FROM ekb_call AS call JOIN ekb_run AS run ON run.id = call.run_id
 WHERE call.state = 'running' AND sent > 0 AND pid = $1)
"""
LEFT = "(SELECT count(*) FROM ekb_call WHERE state = 'done' OR sent > 0)"
DONE = "(SELECT count(*) FROM ekb_call WHERE state = 'done')"
IS_ENTERED = "EXISTS (SELECT 1 FROM ekb_run WHERE pid = $1)"
NOT_SEEN_FOR = "(SELECT extract(epoch FROM clock_timestamp())::float8 - seen FROM ekb_run WHERE pid = $1)"
WAIT_FOR_LOCKS = """
(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
"""

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Yield a network with two switches, one to the database and one to the vendor."""
    with open_network() as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres(network: Network) -> Iterator[str]:
    """Yield the DSN of a PostgreSQL server that the hosts can reach."""
    with postgres_on(network) as dsn:
        yield dsn


@pytest.fixture
def dsn(postgres: str) -> str:
    """Return the DSN of a new database for one test, without tables."""
    name = f"test_{next(_numbers)}"

    async def create() -> None:
        connection = await asyncpg.connect(postgres)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    run_now(create())
    return postgres.removesuffix("postgres") + name


@pytest.fixture
def hosts(network: Network) -> Iterator[list[Host]]:
    """Yield two hosts with all links up."""
    with network.hosts(2) as made:
        yield made


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """Yield a vendor that enforces its rate strictly."""
    async with Sandbox(ocr_rate=RATE, latency=0.5) as opened:
        yield opened


class Scene:
    """A backlog, the vendor's address as hosts reach it, and a connection to the database."""

    def __init__(self, backlog: Backlog, dsn: str, box: Sandbox, address: str, connection: Any) -> None:
        self.backlog = backlog
        self.connection = connection
        self._arguments = (dsn, address, box.credentials.app_key, box.credentials.app_security, str(RATE))

    @asynccontextmanager
    async def worker(self, host: Host) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a run on a host, and yield its process once it is registered."""
        async with host.running(WORK, *self._arguments) as process:
            await self.until(IS_ENTERED, process.pid)
            yield process

    async def value(self, expression: str, *values: object) -> Any:
        """Return the value of an SQL expression."""
        return await self.connection.fetchval(f"SELECT {expression}", *values)

    async def until(self, condition: str, *values: object) -> None:
        """Wait until an SQL condition holds."""
        await until_in_database(self.connection, condition, *values)


@pytest.fixture
async def scene(dsn: str, box: Sandbox, network: Network) -> AsyncIterator[Scene]:
    async with reachable(box, network) as address, Backlog.open(dsn) as backlog:
        connection = await asyncpg.connect(dsn)
        try:
            yield Scene(backlog, dsn, box, address, connection)
        finally:
            await connection.close()


def urls(count: int) -> list[str]:
    return [f"ocr,https://f.example/{number}.png,,,,{number}" for number in range(count)]


def refused(box: Sandbox) -> int:
    return sum(entry.call == "ocr" and not entry.accepted for entry in box.log)


async def trouble(worker: asyncio.subprocess.Process) -> str:
    """Return the first trouble that a worker reports."""
    assert worker.stdout is not None
    async with asyncio.timeout(DEADLINE):
        async for line in worker.stdout:
            if said := line.decode().strip():
                return said
    raise EOFError("it ended without trouble")


async def ended(*workers: asyncio.subprocess.Process) -> list[int]:
    async with asyncio.timeout(DEADLINE):
        return [await worker.wait() for worker in workers]


async def test_hosts_share_a_backlog(tmp_path: Path, hosts: list[Host], box: Sandbox, scene: Scene) -> None:
    """Hosts that share only a database make each call once, at one pace and with one token."""
    await scene.backlog.add_manifest(manifest(tmp_path, *urls(40)))
    async with scene.worker(hosts[0]) as one, scene.worker(hosts[1]) as other:
        assert {run.pid for run in await scene.backlog.active_runs()} == {one.pid, other.pid}
        for worker in (one, other):
            await scene.until(f"{SENT_BY} > 0", worker.pid)
        assert await ended(one, other) == [0, 0]
    assert await scene.backlog.counts() == {"pending": 0, "running": 0, "done": 40, "failed": 0}
    assert list(box.vendor.billed["ocr"].values()) == [1] * 40
    assert refused(box) == 0
    assert box.count("token") == 1


async def test_a_host_that_vanishes(tmp_path: Path, hosts: list[Host], box: Sandbox, scene: Scene) -> None:
    """Its calls are taken over; only those that it had in flight may be billed twice."""
    await scene.backlog.add_manifest(manifest(tmp_path, *urls(40)))
    async with scene.worker(hosts[0]) as victim, scene.worker(hosts[1]) as other:
        for worker in (victim, other):
            await scene.until(f"{SENT_BY} > 0", worker.pid)
        hosts[0].cut(DATABASE, VENDOR)
        victim.kill()
        await victim.wait()
        await scene.until(f"{NOT_SEEN_FOR} > 1", victim.pid)
        in_flight = await scene.value(SENT_BY, victim.pid)
        assert await ended(other) == [0]
    assert await scene.backlog.counts() == {"pending": 0, "running": 0, "done": 40, "failed": 0}
    assert await scene.backlog.maybe_billed() <= in_flight
    assert box.vendor.billed["ocr"].total() <= 40 + in_flight
    assert refused(box) == 0


async def test_a_host_that_vanishes_amid_statements(tmp_path: Path, hosts: list[Host], scene: Scene) -> None:
    """The database drops its transactions and their locks, also those whose answers were on the way to it."""
    await scene.backlog.add_manifest(manifest(tmp_path, *urls(40)))
    async with scene.worker(hosts[0]) as victim:
        await scene.until(f"{SENT_BY} > 0", victim.pid)
        async with scene.connection.transaction():
            # Its heartbeat and a claim or a record wait for these locks, and are answered after the host is gone.
            await scene.connection.execute("SELECT 1 FROM ekb_run FOR UPDATE")
            await scene.connection.execute("SELECT 1 FROM ekb_call FOR UPDATE")
            await scene.until(f"{WAIT_FOR_LOCKS} >= 2")
            hosts[0].cut(DATABASE, VENDOR)
        victim.kill()
        await victim.wait()
        async with scene.worker(hosts[1]) as other:
            assert await ended(other) == [0]
    assert await scene.backlog.counts() == {"pending": 0, "running": 0, "done": 40, "failed": 0}


async def test_a_host_that_is_cut_off_from_the_database(
    tmp_path: Path, hosts: list[Host], box: Sandbox, scene: Scene
) -> None:
    """Calls in flight are recorded once it is back; until then it sends nothing, and its calls are not taken over."""
    await scene.backlog.add_manifest(manifest(tmp_path, *urls(15)))
    async with scene.worker(hosts[0]) as worker:
        await scene.until(f"{SENT_BY} >= 2", worker.pid)
        hosts[0].cut(DATABASE)
        async with scene.worker(hosts[1]) as other:
            await scene.until(f"{NOT_SEEN_FOR} > 1.5", worker.pid)
            assert await scene.value(SENT_BY, worker.pid) > 0
            assert len(box.starts("ocr")) <= await scene.value(LEFT) < 15
            hosts[0].mend(DATABASE)
            assert await ended(worker, other) == [0, 0]
    assert await scene.backlog.counts() == {"pending": 0, "running": 0, "done": 15, "failed": 0}
    assert list(box.vendor.billed["ocr"].values()) == [1] * 15
    assert await scene.backlog.maybe_billed() == 0
    assert refused(box) == 0


async def test_a_host_that_comes_back_too_late(tmp_path: Path, hosts: list[Host], box: Sandbox, scene: Scene) -> None:
    """A run considered dead while it was cut off sends no more of its claimed calls, and its answers are recorded."""
    await scene.backlog.add_manifest(manifest(tmp_path, *urls(60)))
    async with scene.worker(hosts[0]) as worker, scene.worker(hosts[1]) as other:
        for each in (worker, other):
            await scene.until(f"{SENT_BY} > 0", each.pid)
        hosts[0].cut(DATABASE)
        await scene.until(f"NOT {IS_ENTERED}", worker.pid)
        unconfirmed = await scene.backlog.maybe_billed()
        hosts[0].mend(DATABASE)
        assert await ended(worker, other) == [0, 0]
    assert await scene.backlog.counts() == {"pending": 0, "running": 0, "done": 60, "failed": 0}
    assert await scene.backlog.maybe_billed() == unconfirmed
    assert box.vendor.billed["ocr"].total() <= 60 + unconfirmed
    assert refused(box) == 0


async def test_a_host_that_is_cut_off_from_the_vendor(
    tmp_path: Path, hosts: list[Host], box: Sandbox, scene: Scene
) -> None:
    """Its calls wait until it is back and none fails; answers received before are not lost."""
    await scene.backlog.add_manifest(manifest(tmp_path, *urls(20)))
    async with scene.worker(hosts[0]) as worker:
        await scene.until(f"{DONE} >= 2")
        hosts[0].cut(VENDOR)
        assert "connection" in await trouble(worker)
        hosts[0].mend(VENDOR)
        assert await ended(worker) == [0]
    assert await scene.backlog.counts() == {"pending": 0, "running": 0, "done": 20, "failed": 0}
    assert box.vendor.billed["ocr"].total() <= 20 + await scene.backlog.maybe_billed()
