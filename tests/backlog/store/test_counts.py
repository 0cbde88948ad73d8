"""The numbers of calls in a database, which come from what each statement has changed of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.postgres.store import PostgresStore
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from tests.support.backlogs import manifest, picture, session
from tests.support.postgres import connected
from tests.support.read_rows import OFD, add_rows, written_row

pytestmark = pytest.mark.postgres

FIRST, SECOND = "25999900000000000017", "25999900000000000028"
_KEY = "tenant, kind, state, source, error_type, error, hint"
COUNTED = f"""
SELECT {_KEY}, count(*) AS calls, sum(row_count) AS rows, sum(attempts) AS attempts, sum(maybe_billed) AS maybe_billed,
    sum((SELECT count(DISTINCT content) - 1 FROM ekb_row WHERE call_id = call.id)) AS same_invoice
FROM ekb_call AS call GROUP BY {_KEY} ORDER BY {_KEY}
"""  # noqa: S608 - a constant
CHANGED = f"""
SELECT {_KEY}, sum(calls) AS calls, sum(rows) AS rows, sum(attempts) AS attempts, sum(maybe_billed) AS maybe_billed,
    sum(same_invoice) AS same_invoice
FROM ekb_count GROUP BY {_KEY}
HAVING (sum(calls), sum(rows), sum(attempts), sum(maybe_billed), sum(same_invoice)) <> (0, 0, 0, 0, 0) ORDER BY {_KEY}
"""  # noqa: S608 - a constant


async def both(connection: Any) -> tuple[list[Any], list[Any]]:
    """Return what calls there are, and what the changes add up to."""
    async with connection.transaction(isolation="repeatable_read"):
        return [tuple(row) for row in await connection.fetch(COUNTED)], [
            tuple(row) for row in await connection.fetch(CHANGED)
        ]


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs sum up at each opportunity."""
    limits = msgspec.structs.replace(LIMITS, changes_before_sums=1, seconds_between_sums=0.0)
    monkeypatch.setattr("ekb_async.backlog.store.postgres.store.LIMITS", limits)


@pytest.mark.usefixtures("_often")
async def test_changes_add_up_to_the_calls_there_are(tmp_path: Path, empty_database: str) -> None:
    """Whatever is done with calls, also by several runs that sum up at once, the changes add up to what there is."""
    rows = [f"ocr,{picture(tmp_path, f'{n % 30}.png')},,,,{n}" for n in range(40)]
    async with (
        Sandbox(ocr_rate=0) as box,
        Backlog.open(empty_database) as backlog,
        Backlog.open(empty_database) as other,
        session(box, max_tries=1) as ekb,
        connected(empty_database) as connection,
    ):
        await backlog.add_manifest(manifest(tmp_path, *rows))
        box.faults.append(Fault.lost_answer(calls="ocr", times=4))
        await asyncio.gather(backlog.run(ekb), other.run(ekb))
        calls, changes = await both(connection)
        assert changes == calls
        assert {row[2] for row in calls} == {"done", "failed"}
        await backlog.retry(unknown=True)
        await backlog.add_manifest(manifest(tmp_path, "ocr,1.png,,,,again", f"ocr,{picture(tmp_path, 'new')},,,,n"))
        await backlog.remove(state="done", paid=True)
        await asyncio.gather(*(each._store.sum_up() for each in (backlog, other) for _ in range(5)))
        calls, changes = await both(connection)
        assert changes == calls != []
        assert await connection.fetchval("SELECT count(*) FROM ekb_count") == len(calls)
        counts = await backlog.counts()
        for state in ("pending", "failed"):
            assert counts[state] == sum(row[8] for row in calls if row[2] == state)


async def test_files_of_an_invoice_are_counted(tmp_path: Path, empty_database: str) -> None:
    """The calls that several files of an invoice save are known while rows are added, changed and removed."""
    async with Backlog.open(empty_database) as backlog, connected(empty_database) as connection:
        for names in (("a.pdf", "a.ofd", "b.pdf"), ("a.png", "a copy.ofd"), ("again.pdf",)):
            rows = [
                written_row(
                    tmp_path, name, SECOND if name == "b.pdf" else FIRST, form=OFD if "ofd" in name else 0,
                    content=b"a.ofd" if "ofd" in name else name.encode(), ref=name,
                )
                for name in names
            ]  # fmt: skip
            await add_rows(backlog, tmp_path, *rows, source=names[0])
            calls, changes = await both(connection)
            assert changes == calls
        assert (await backlog.accounting()).same_invoice == 3
        by_ref = {task.ref: task.id async for task in backlog.results()}
        await backlog.remove([by_ref["a.pdf"], by_ref["a copy.ofd"]])
        calls, changes = await both(connection)
        assert changes == calls
        assert (await backlog.accounting()).same_invoice == 2


async def test_status_needs_no_look_at_the_calls(tmp_path: Path, empty_database: str) -> None:
    """What a status counts is the same if no index of calls is left to count with."""
    async with Backlog.open(empty_database) as backlog, connected(empty_database) as connection:
        await backlog.add_manifest(manifest(tmp_path, *(f"url,,corp:1:{n},,,{n}" for n in range(20))))
        store = backlog._store
        assert isinstance(store, PostgresStore)
        for query in (store.sql.COUNT_BY_STATE, store.sql.FAILURES, store.invoice_sql.COUNT_WORK):
            plan = await connection.fetch(f"EXPLAIN {query}")
            assert not any("ekb_call" in line for (line,) in plan)
