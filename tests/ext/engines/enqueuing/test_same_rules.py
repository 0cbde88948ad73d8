"""Jobs that a program adds are matched with what is there by the rules by which rows of a manifest are."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.store.postgres.store import PostgresStore
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.config import Priority
from ekb_async.ext.engines.enqueuing.enqueuer import enqueue
from ekb_async.ext.engines.jobs import InvoiceJob, rows_of
from tests.support.postgres import Postgres, create_database

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

STATES = ("pending", "pending", "done", "failed")
CALLS = """
SELECT tenant, identity, kind, call.priority, state, row_count, row.ref, row.file, row.staff_id
FROM ekb_call AS call JOIN ekb_row AS row ON row.id = call.row_id
"""
ROWS = """
SELECT tenant, identity, path, line, start, length, ref, file, row.invoice_id, staff_id, file_name, date, content, form,
    row.own, printed
FROM ekb_row AS row JOIN ekb_call AS call ON call.id = call_id
    JOIN ekb_manifest AS manifest ON manifest.id = manifest_id
"""

CHANGE_SOME = "UPDATE ekb_call SET state = $1 WHERE abs(hashtext(tenant || identity)) % 5 = $2 % 5"


def url(number: int) -> str:
    return f"https://f.example/{number}.png"


def files_of_an_invoice() -> list[ManifestRow]:
    """Return rows of a manifest whose files were read: the first two show the same invoice, the last one another."""
    return [
        ManifestRow(
            line=number,
            kind="ocr",
            identity=f"ocr:url:{url(number)}",
            ref=str(number % 2),
            file=url(number),
            tenant="a",
            form=number,
            own='{"cost centre":"7"}',
            printed="{}",
            keys=f'["invoice:{min(number, 1)}"]',
        )
        for number in (1, 0, 2)
    ]


def random_jobs(chance: random.Random) -> list[InvoiceJob]:
    jobs = []
    for _ in range(chance.randint(1, 8)):
        tenant, ref = chance.choice("aab"), chance.choice(["", "0", "1", " 1 "])
        if chance.random() < 0.3:
            date = chance.choice(["", "20240101", "20240102"])
            jobs.append(
                InvoiceJob(
                    kind="verify_by_id", tenant=tenant, invoice_id=f"c:1:{chance.randint(1, 2)}", ref=ref, date=date
                )
            )
            continue
        jobs.append(
            InvoiceJob(
                kind="ocr",
                tenant=tenant,
                # Two spellings of one file.
                file=url(chance.randint(0, 3)) + chance.choice(["", "", "#1"]),
                file_name=chance.choice(["", "a.png"]),
                ref=ref,
                priority=chance.choice(list(Priority)),
            )
        )
    return jobs


async def add_as_manifest(dsn: str, jobs: list[InvoiceJob]) -> AddReport:
    store = await PostgresStore.open(dsn)
    try:
        await store.begin_import()
        for priority, alike in itertools.groupby(rows_of(jobs), key=lambda each: each[0]):
            await store.import_rows([row for _, row in alike], priority)
        return await store.commit_import(Path("enqueued"), ())
    finally:
        await store.close()


async def prepared(dsn: str) -> Any:
    """Add what a manifest has before the jobs, and return a connection."""
    store = await PostgresStore.open(dsn)
    await store.begin_import()
    await store.import_rows(files_of_an_invoice())
    await store.commit_import(Path("/m/manifest.csv"), ("kind", "file"), ("cost centre",))
    await store.close()
    return await asyncpg.connect(dsn)


@pytest.mark.parametrize("seed", range(4))
async def test_the_rules_are_the_same(postgres_server: Postgres, seed: int) -> None:
    """After any jobs the table has the same calls and rows, and the reports are the same."""
    databases = [create_database(postgres_server) for _ in range(2)]
    connections = [await prepared(dsn) for dsn in databases]
    chance = random.Random(seed)
    for _ in range(6):
        jobs = random_jobs(chance)
        assert await enqueue(databases[0], jobs) == await add_as_manifest(databases[1], jobs)
        calls, rows = [
            [[tuple(row) for row in await connection.fetch(f"{query} ORDER BY {order}")] for connection in connections]
            for query, order in ((CALLS, "call.id"), (ROWS, "row.id"))
        ]
        assert calls[0] == calls[1]
        assert rows[0] == rows[1]
        state, number = chance.choice(STATES), chance.randint(1, 5)
        for connection in connections:
            await connection.execute(CHANGE_SOME, state, number)
    for connection in connections:
        await connection.close()
