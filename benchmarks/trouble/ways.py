"""The three ways to make the calls of many tenants: what installs, enqueues and runs, as in the documentation."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks.trouble.load import Load
from ekb_async import SessionConfig
from ekb_async.backlog import Backlog, Row

DSN, TENANTS = "EKB_DSN", "EKB_TENANTS"
"""The variables that give workers the database, and the file with the tenants' accounts."""


@dataclass(frozen=True)
class Way:
    """How calls are enqueued, and the arguments of Python that run a worker with a database and a file of tenants."""

    enqueue: Callable[[str, Load], Awaitable[object]]
    command: Callable[[str, str], Sequence[str]]

    def worker(self, dsn: str, tenants: str) -> list[str]:
        return [sys.executable, *self.command(dsn, tenants)]


async def _for_pgqueuer(dsn: str, load: Load) -> None:
    from ekb_async.ext.pgqueuer import InvoiceJob, enqueue, install_schema

    await install_schema(dsn)
    jobs = [InvoiceJob(kind="ocr", tenant=tenant, file=url) for tenant, url in load.calls()]
    await enqueue(dsn, jobs, config=SessionConfig(ocr_rate=load.rate))


async def _for_procrastinate(dsn: str, load: Load) -> None:
    from ekb_async.ext.procrastinate import InvoiceJob, enqueue, install_schema

    await install_schema(dsn)
    jobs = [InvoiceJob(kind="ocr", tenant=tenant, file=url) for tenant, url in load.calls()]
    await enqueue(dsn, jobs, config=SessionConfig(ocr_rate=load.rate))


async def _for_run(dsn: str, load: Load) -> None:
    async with Backlog.open(dsn) as backlog:
        await backlog.add(Row(kind="ocr", tenant=tenant, file=url) for tenant, url in load.calls())


def _pgq_run(*_: str) -> Sequence[str]:
    return (
        *("-m", "pgqueuer", "run", "benchmarks.trouble.pgqueuer_worker:worker", "--log-level", "WARNING"),
        *("--max-concurrent-tasks", "40", "--batch-size", "20", "--dequeue-timeout", "2", "--restart-on-failure"),
        *("--restart-delay", "1"),
    )


def _procrastinate_worker(*_: str) -> Sequence[str]:
    return ("-m", "procrastinate", "--app=benchmarks.trouble.procrastinate_worker.app", "worker", "--concurrency=40")


def _backlog_run(dsn: str, tenants: str) -> Sequence[str]:
    return ("-m", "ekb_async.cli", "backlog", "run", dsn, "--tenants", tenants, "--verbose")


WAYS = {
    "pgqueuer": Way(_for_pgqueuer, _pgq_run),
    "procrastinate": Way(_for_procrastinate, _procrastinate_worker),
    "run": Way(_for_run, _backlog_run),
}
"""By the name that is given to `--engine`."""
