"""Workers run by the engines' own commands share the work and survive being killed, stopped and cut off."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

import ekb_async
from ekb_async import SessionConfig
from ekb_async.backlog import AddReport, Backlog
from ekb_async.config import Priority
from ekb_async.errors import ConfigError
from ekb_async.sandbox import Sandbox
from tests.support.postgres import IS_WAITED_FOR, Postgres, run_now
from tests.support.waiting import DEADLINE, until_in_database

pytest.importorskip("pgqueuer")
pytest.importorskip("procrastinate")

from ekb_async.ext import pgqueuer, procrastinate
from tests.support.engine_worker import HEARTBEAT_TIMEOUT, MARGIN

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no signals there to end, kill or stop a worker"),
]

RATE = 5.0
CONFIG = SessionConfig(ocr_rate=RATE, rate_guard=MARGIN)
PASSWORD = "5ecret-of-the-database"
SECURITY = "5ecret-of-the-app"


class Engine(NamedTuple):
    """An engine, and the arguments of its own command that run a worker."""

    install_schema: Callable[[str], Coroutine[Any, Any, object]]
    enqueue: Callable[..., Awaitable[AddReport]]
    command: Sequence[str]
    restarts_itself: bool
    own_connections: int
    table: str


ENGINES = {
    "pgqueuer": Engine(
        pgqueuer.install_schema,
        pgqueuer.enqueue,
        (
            *("-m", "pgqueuer", "run", "tests.support.pgqueuer_worker:worker", "--log-level", "DEBUG"),
            *("--max-concurrent-tasks", "20", "--batch-size", "10"),
            *("--heartbeat-timeout", str(HEARTBEAT_TIMEOUT), "--restart-on-failure", "--restart-delay", "0.5"),
        ),
        restarts_itself=True,
        own_connections=3,
        table="pgqueuer",
    ),
    "procrastinate": Engine(
        procrastinate.install_schema,
        procrastinate.enqueue,
        (
            "-m",
            "procrastinate",
            "--verbose",
            "--app=tests.support.procrastinate_worker.app",
            "worker",
            "--concurrency",
            "20",
        ),
        restarts_itself=False,
        own_connections=5,
        table="procrastinate_jobs",
    ),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


class Fleet:
    """Workers in processes of their own, as on other hosts, and the state of their calls in the call table."""

    def __init__(self, engine: Engine, dsn: str, output: Path, vendors: dict[str, Sandbox]) -> None:
        self._engine = engine
        self._dsn = dsn
        self._output = output
        self._vendors = vendors
        self._workers: list[asyncio.subprocess.Process] = []
        self._restarting: list[asyncio.Task[None]] = []

    async def start(self) -> asyncio.subprocess.Process:
        addresses = {
            tenant: (box.base_url, box.credentials.app_key, box.credentials.app_security)
            for tenant, box in self._vendors.items()
        }
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(ekb_async.__file__).parents[1]),
            "EKB_TEST_DSN": f"{self._dsn}&application_name=worker",
            "EKB_TEST_RATE": str(RATE),
            "EKB_TEST_VENDORS": json.dumps(addresses),
        }
        with self._output.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *self._engine.command, env=environment, stdout=output, stderr=output
            )
        self._workers.append(process)
        return process

    async def keep_running(self) -> None:
        """Start a worker, and another one whenever it has ended, as a supervisor of services does."""
        worker = await self.start()
        if not self._engine.restarts_itself:
            self._restarting.append(asyncio.create_task(self._restart(worker)))

    async def _restart(self, worker: asyncio.subprocess.Process) -> None:
        while True:
            await worker.wait()
            worker = await self.start()

    async def end(self) -> None:
        """Terminate all workers and wait for them."""
        for task in self._restarting:
            task.cancel()
        await asyncio.gather(*self._restarting, return_exceptions=True)
        async with asyncio.timeout(DEADLINE):
            for worker in self._workers:
                if worker.returncode is None:
                    worker.terminate()
            for worker in self._workers:
                await worker.wait()

    async def abandon(self) -> None:
        for worker in self._workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()

    async def enqueue(self, *names: str, tenant: str = "a", priority: Priority = Priority.NORMAL) -> None:
        jobs = [
            pgqueuer.InvoiceJob(kind="ocr", tenant=tenant, file=f"https://f.example/{name}.png", priority=priority)
            for name in names
        ]
        await self._engine.enqueue(self._dsn, jobs, config=CONFIG)

    async def value(self, expression: str, *values: object) -> Any:
        """Return the value of an expression in the database."""
        connection = await asyncpg.connect(self._dsn)
        try:
            return await connection.fetchval(f"SELECT {expression}", *values)
        finally:
            await connection.close()

    async def until(self, condition: str, *values: object) -> None:
        """Wait until a condition holds in the database."""
        connection = await asyncpg.connect(self._dsn)
        try:
            await until_in_database(connection, condition, *values)
        finally:
            await connection.close()

    async def until_all_ended(self) -> None:
        await self.until("NOT EXISTS (SELECT 1 FROM ekb_call WHERE state IN ('pending', 'running'))")

    async def until_under_way(self, worker: asyncio.subprocess.Process, count: int = 1) -> None:
        """Wait until so many calls of a worker are marked as sent."""
        await self.until(f"{UNDER_WAY} >= $2", worker.pid, count)

    async def counts(self) -> dict[str, int]:
        async with Backlog.open(self._dsn) as backlog:
            return {state: count for state, count in (await backlog.counts()).items() if count}

    async def maybe_billed(self) -> int:
        async with Backlog.open(self._dsn) as backlog:
            return await backlog.maybe_billed()


UNDER_WAY = """
(SELECT count(*) FROM ekb_call AS call JOIN ekb_run AS run ON run.id = call.run_id
 WHERE call.state = 'running' AND sent > 0 AND pid = $1)
"""


@asynccontextmanager
async def fleet_on(engine: Engine, dsn: str, directory: Path, **vendors: Sandbox) -> AsyncIterator[Fleet]:
    """Run a fleet; at its end no worker may be left, and the output of none may contain a secret."""
    assert "postgres:@" in dsn
    dsn = dsn.replace("postgres:@", f"postgres:{PASSWORD}@")
    output = directory / "workers.log"
    fleet = Fleet(engine, dsn, output, vendors)
    try:
        yield fleet
        await fleet.end()
    finally:
        await fleet.abandon()
    text = output.read_text(errors="replace")
    secrets = [secret for box in vendors.values() for secret in box.vendor.tokens.secrets]
    assert secrets
    assert [secret for secret in (PASSWORD, SECURITY, *secrets) if secret in text] == []


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def arrivals(box: Sandbox) -> list[str]:
    """Return the prefixes of the files, in the order in which the vendor accepted their calls."""
    bodies = [json.loads(entry.body)["fileUrl"] for entry in box.log if entry.call == "ocr" and entry.accepted]
    return [Path(url).stem.partition("-")[0] for url in bodies]


def refused(box: Sandbox) -> int:
    return sum(entry.call == "ocr" and not entry.accepted for entry in box.log)


def billed(box: Sandbox) -> list[int]:
    """Return how often each file was paid for."""
    return list(box.vendor.billed["ocr"].values())


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A vendor that enforces its rate strictly."""
    async with Sandbox(ocr_rate=RATE, latency=0.3, app_security=SECURITY) as opened:
        yield opened


@pytest.fixture
def dsn(engine: Engine, empty_database: str) -> str:
    run_now(engine.install_schema(empty_database))
    # Installing again changes nothing.
    run_now(engine.install_schema(empty_database))
    return empty_database


@pytest.mark.parametrize("wrong", ["u:5ecret@[host/x", "u:5ecret%zz@[host/x"])
async def test_a_dsn_that_cannot_be_used(engine: Engine, caplog: pytest.LogCaptureFixture, wrong: str) -> None:
    """An invalid DSN is refused at once, and neither the error nor the log contains the password."""
    for use in (engine.install_schema, engine.enqueue):
        with pytest.raises(ConfigError, match="DSN cannot be used") as caught:
            await use(f"postgresql://{wrong}")
        assert "5ecret" not in "".join(traceback.format_exception(caught.value))
    assert "5ecret" not in caplog.text


async def test_a_program_needs_no_tables_of_an_engine(engine: Engine, database: str) -> None:
    """Calls can be added before the tables of the engine are created."""
    job = pgqueuer.InvoiceJob(kind="ocr", file="https://f.example/1.png")
    assert await engine.enqueue(database, [job]) == AddReport(added=1, duplicates=0)
    await engine.install_schema(database)
    assert await engine.enqueue(database, [job]) == AddReport(added=0, duplicates=1, present=1)


async def test_workers_share_the_work(tmp_path: Path, engine: Engine, dsn: str, box: Sandbox) -> None:
    """Each call is made once and at the pace; urgent calls overtake, and a large tenant does not delay a small one."""
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(
            Sandbox(ocr_rate=RATE, latency=0.3, app_key="key-b", app_security=SECURITY)
        )
        fleet = await stack.enter_async_context(fleet_on(engine, dsn, tmp_path, a=box, b=other))
        await fleet.enqueue(*names("bulk", 24), priority=Priority.BULK)
        await fleet.start()
        await fleet.start()
        await box.arrived("ocr", 2)
        await fleet.enqueue(*names("high", 4), priority=Priority.HIGH)
        await fleet.enqueue(*names("small", 3), tenant="b")
        await other.arrived("ocr", 3)
        assert len(arrivals(box)) < 20
        await fleet.until_all_ended()
        assert await fleet.counts() == {"done": 31}
    assert "high" not in arrivals(box)[-8:]
    assert billed(box) == [1] * 28
    assert billed(other) == [1] * 3
    assert refused(box) == refused(other) == 0


async def test_the_connections_of_a_worker(tmp_path: Path, engine: Engine, dsn: str, box: Sandbox) -> None:
    """Besides the engine's own, an idle worker has two connections, and one under load has 12 at most."""
    idle, most = engine.own_connections + 2, engine.own_connections + 12
    async with fleet_on(engine, dsn, tmp_path, a=box) as fleet:
        await fleet.start()
        await fleet.until("EXISTS (SELECT 1 FROM ekb_run)")
        counts = [await fleet.value(CONNECTIONS) for _ in range(5)]
        assert max(counts) <= idle
        await fleet.enqueue(*names("call", 8))
        while (count := await fleet.value(CONNECTIONS_AT_WORK)) is not None:
            counts.append(count)
        assert max(counts) <= most
        assert await fleet.counts() == {"done": 8}


CONNECTIONS = """
(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'worker')
"""
CONNECTIONS_AT_WORK = f"""
CASE WHEN EXISTS (SELECT 1 FROM ekb_call WHERE state IN ('pending', 'running')) THEN {CONNECTIONS} END
"""  # noqa: S608 - a constant


async def test_a_worker_that_is_killed(tmp_path: Path, engine: Engine, dsn: str, box: Sandbox) -> None:
    """The sent calls of a killed worker are held, another worker makes all others, and none is paid for twice."""
    async with fleet_on(engine, dsn, tmp_path, a=box) as fleet:
        await fleet.enqueue(*names("call", 20))
        await fleet.start()
        victim = await fleet.start()
        await fleet.until_under_way(victim)
        victim.send_signal(signal.SIGKILL)
        await victim.wait()
        in_flight = await fleet.value(UNDER_WAY, victim.pid)
        await fleet.until_all_ended()
        counts = await fleet.counts()
        assert counts.get("failed", 0) == await fleet.maybe_billed() <= in_flight
        assert counts["done"] == 20 - counts.get("failed", 0)
    assert set(billed(box)) == {1}


async def test_a_worker_that_hangs(tmp_path: Path, engine: Engine, dsn: str, box: Sandbox) -> None:
    """Wakeups of a hanging worker are handed out again; its sent calls are not repeated, its answers are recorded."""
    async with fleet_on(engine, dsn, tmp_path, a=box) as fleet:
        await fleet.enqueue(*names("call", 16))
        await fleet.start()
        victim = await fleet.start()
        await fleet.until_under_way(victim)
        victim.send_signal(signal.SIGSTOP)
        await fleet.until(f"{NOT_SEEN_FOR} > $2", victim.pid, 2 * HEARTBEAT_TIMEOUT)
        victim.send_signal(signal.SIGCONT)
        await fleet.until_all_ended()
        assert await fleet.counts() == {"done": 16}
        assert await fleet.maybe_billed() == 0
    assert billed(box) == [1] * 16


NOT_SEEN_FOR = "(SELECT extract(epoch FROM clock_timestamp())::float8 - seen FROM ekb_run WHERE pid = $1)"


async def test_a_crash_of_the_database(tmp_path: Path, engine: Engine, own_postgres: Postgres, box: Sandbox) -> None:
    """Answers are recorded when the database is back; nothing fails or is paid twice, and the pace is kept."""
    await engine.install_schema(own_postgres.dsn)
    async with fleet_on(engine, own_postgres.dsn, tmp_path, a=box) as fleet:
        await fleet.enqueue(*names("call", 24))
        await fleet.keep_running()
        await fleet.keep_running()
        await box.arrived("ocr", 5)
        await own_postgres.crash()
        await asyncio.sleep(1.5)  # how long the database is away
        await own_postgres.start()
        await fleet.until_all_ended()
        assert await fleet.counts() == {"done": 24}
        assert await fleet.maybe_billed() == 0
    assert billed(box) == [1] * 24
    assert refused(box) == 0


async def test_connections_that_are_cut(tmp_path: Path, engine: Engine, dsn: str, box: Sandbox) -> None:
    """A worker whose connections are cut, one with a statement of its engine under way among them, goes on."""
    async with fleet_on(engine, dsn, tmp_path, a=box) as fleet:
        await fleet.enqueue(*names("call", 24))
        worker = await fleet.start()
        await box.arrived("ocr", 2)
        run = await fleet.value("max(id) FROM ekb_run")
        watch = await asyncpg.connect(dsn)
        for _ in range(3):
            await watch.execute(f"BEGIN; LOCK TABLE {engine.table}")
            await until_in_database(watch, IS_WAITED_FOR)
            await watch.execute(CUT)
            await watch.execute("ROLLBACK")
        await watch.close()
        await fleet.until_all_ended()
        assert await fleet.counts() == {"done": 24}
        assert worker.returncode is None
        assert await fleet.value("array_agg(id) FROM ekb_run") == [run]
    assert billed(box) == [1] * 24


CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_worker_that_is_told_to_end(tmp_path: Path, engine: Engine, dsn: str, box: Sandbox) -> None:
    """A worker that is terminated records its calls in progress; unsent calls are left for the next worker."""
    async with fleet_on(engine, dsn, tmp_path, a=box) as fleet:
        await fleet.enqueue(*names("call", 24))
        worker = await fleet.start()
        await box.arrived("ocr", 2)
        await fleet.end()
        assert worker.returncode == 0
        assert set(await fleet.counts()) == {"done", "pending"}
        assert (await fleet.counts())["done"] == len(billed(box))
        assert await fleet.value("count(*) FROM ekb_run") == 0
        await fleet.start()
        await fleet.until_all_ended()
        assert await fleet.counts() == {"done": 24}
    assert billed(box) == [1] * 24
