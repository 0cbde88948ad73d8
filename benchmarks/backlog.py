"""backlog: the cost of keeping calls in a file, apart from making them.

Rows are read from a CSV manifest, claimed and finished in chunks as in a run (one transaction has the marks of the
calls to be sent next and the vendor's answers to the ones before), counted as by `status`, and exported as JSON Lines.
A tenth of them is also run through a session whose transport answers at once. One peer does the same row by row with
`sqlite3` and a commit after each change, like a loop over a queue table; its time per row hardly depends on their
number, so it gets only a few. The other peer reads the manifest into a `pandas` frame, as many programs begin, and
shows how much memory that takes.
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.bodies import body
from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal
from benchmarks.spending import peak_memory, spending

if TYPE_CHECKING:
    from ekb_async.protocol.endpoints import Request

_CHUNK = 200
_MAX_SINGLE_ROWS = 2000
_COLUMNS = ("kind", "file", "invoice_id", "staff_id", "file_name", "ref")


@dataclass(frozen=True)
class Load:
    """The number of rows in the manifest."""

    rows: int


def _invoice_id(n: int) -> str:
    return f"corp:031001900204:{n:08d}"


def _write_manifest(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(("url", "", _invoice_id(n), "", "", f"EXP-{n}") for n in range(rows))


def ours(manifest: Path, rows: int) -> Figures:
    """Use the package's backlog."""
    from ekb_async.backlog import Backlog
    from ekb_async.cli.backlog.showing.status import BacklogStatus

    async def add_and_export() -> Figures:
        file = manifest.with_name("backlog.sqlite")
        async with Backlog.open(file) as backlog:
            with spending() as adding:
                await backlog.add_manifest(manifest)
            with spending() as finishing:
                await _finish_all(file)
            with spending() as counting:
                await BacklogStatus.of(backlog)
            with spending() as exporting:
                await backlog.export(manifest.with_name("out.jsonl"))
        return {
            "add": rows / adding.wall,
            "finish": rows / finishing.wall,
            "status": 1000 * counting.wall,
            "export": rows / exporting.wall,
        }

    figures = asyncio.run(add_and_export())
    return figures | asyncio.run(_run(manifest, rows // 10))


async def _finish_all(file: Path) -> None:
    from ekb_async.backlog.store.sqlite.store import SqliteStore
    from ekb_async.backlog.store.values.calls import CallResult, SentMark
    from ekb_async.protocol.decoding import decode_invoice_urls

    store = await SqliteStore.open(file)
    run_id = await store.begin_run(hold_unknown=False)
    results: list[CallResult] = []
    while claimed := await store.claim(run_id, "", "url", _CHUNK, latest=False):
        await store.record(run_id, [SentMark(call.id, 1) for call in claimed], results)
        answers = decode_invoice_urls(_urls_body([call.invoice_id for call in claimed]))
        results = [
            CallResult(call.id, "done", attempts=1, answer=each) for call, each in zip(claimed, answers, strict=True)
        ]
    await store.record(run_id, (), results)
    await store.end_run(run_id)
    await store.close()


async def _run(manifest: Path, rows: int) -> Figures:
    from benchmarks.at_once import AnswersAtOnce
    from ekb_async import EkbSession, StaticToken
    from ekb_async.backlog import Backlog

    def answer(request: Request[Any]) -> bytes:
        return _urls_body(msgspec.json.decode(request.body or b"")["invoiceId"])

    part = manifest.with_name("part.csv")
    _write_manifest(part, rows)
    async with (
        EkbSession(StaticToken("token"), transport=AnswersAtOnce(answer)) as ekb,
        Backlog.open(manifest.with_name("run.sqlite")) as backlog,
    ):
        await backlog.add_manifest(part)
        with spending() as running:
            summary = await backlog.run(ekb)
    if summary.counts["done"] != rows:
        raise ValueError(f"the run left {summary.counts}")
    return {"run": rows / running.wall}


_URL_ITEM = msgspec.json.decode(body("urls"))["items"][0]


def _urls_body(invoice_ids: list[str]) -> bytes:
    return msgspec.json.encode({"items": [_URL_ITEM | {"id": invoice_id} for invoice_id in invoice_ids]})


_ALL_OF_PEER = "SELECT invoice_id, ref, state, result FROM tasks"


def row_by_row(manifest: Path, rows: int) -> Figures:
    """Use a table in `sqlite3` with its default settings, and a commit for each row."""
    few = max(10, min(rows // 100, _MAX_SINGLE_ROWS))
    answer = msgspec.json.encode(_URL_ITEM)
    with closing(sqlite3.connect(manifest.with_name("peer.sqlite"))) as connection:
        connection.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, invoice_id, ref, state, result)")
        connection.execute("CREATE INDEX tasks_by_state ON tasks (state)")
        with spending() as adding:
            for row in itertools.islice(_manifest_rows(manifest), few):
                values = (row["invoice_id"], row["ref"])
                connection.execute("INSERT INTO tasks (invoice_id, ref, state) VALUES (?, ?, 'pending')", values)
                connection.commit()
        with spending() as finishing:
            for _ in range(few):
                (task_id,) = connection.execute("SELECT id FROM tasks WHERE state = 'pending' LIMIT 1").fetchone()
                connection.execute("UPDATE tasks SET state = 'running' WHERE id = ?", (task_id,))
                connection.commit()
                connection.execute("UPDATE tasks SET state = 'done', result = ? WHERE id = ?", (answer, task_id))
                connection.commit()
        with spending() as exporting, manifest.with_name("peer.jsonl").open("wb") as out:
            for invoice_id, ref, state, result in connection.execute(_ALL_OF_PEER):
                task = {"invoice_id": invoice_id, "ref": ref, "state": state, "result": msgspec.Raw(result)}
                out.write(msgspec.json.encode(task) + b"\n")
    return {"add": few / adding.wall, "finish": few / finishing.wall, "export": few / exporting.wall}


def _manifest_rows(manifest: Path) -> Iterator[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def data_frame(manifest: Path, rows: int) -> Figures:
    """Read the manifest into a frame of texts; unlike the others, this stores nothing in a file."""
    import pandas as pd

    with spending() as reading:
        frame = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    if len(frame) != rows:
        raise ValueError(f"the frame has {len(frame)} rows")
    return {"add": rows / reading.wall}


def _contestant(name: str, work: Callable[[Path, int], Figures], *imports: str) -> Contestant[Load]:
    def run(load: Load, _: str) -> Figures:
        for module in imports:
            __import__(module)
        with tempfile.TemporaryDirectory(prefix="ekb-benchmark-") as directory:
            manifest = Path(directory, "manifest.csv")
            _write_manifest(manifest, load.rows)
            before = peak_memory()
            figures = work(manifest, load.rows)
            return figures | {"peak": (peak_memory() - before) / 1e6}

    return Contestant(name, run)


_FEW, _MANY = "100,000 rows", "1,000,000 rows"

BENCHMARK = Benchmark(
    name="backlog",
    title="rows kept in a file",
    figures=(
        Figure("add", "added, rows/s", 0),
        Figure("finish", "claimed and finished, rows/s", 0),
        Figure("run", "run, rows/s", 0),
        Figure("status", "status, ms", 0),
        Figure("export", "exported, rows/s", 0),
        Figure("peak", "memory, MB", 0),
    ),
    cases=(
        Case(_FEW, Load(rows=100_000), Load(rows=1000), rounds=3),
        Case(_MANY, Load(rows=1_000_000), Load(rows=2000), rounds=2, is_another_size=True),
    ),
    contestants=(
        _contestant("ekb_async", ours, "ekb_async.backlog"),
        _contestant("sqlite3, a commit a row", row_by_row),
        _contestant("pandas", data_frame, "pandas"),
    ),
    goals=(
        Goal(
            says="at least 150,000 rows/s added",
            value=lambda results: results.ours(_MANY, "add"),
            at_least=150_000,
        ),
        Goal(
            says="at least 30,000 rows/s claimed and finished",
            value=lambda results: results.ours(_MANY, "finish"),
            at_least=30_000,
        ),
        Goal(
            says="the status of 1,000,000 rows takes at most 300 ms",
            value=lambda results: results.ours(_MANY, "status"),
            at_most=300,
        ),
        Goal(
            says="memory is flat: 1,000,000 rows take at most 1.25 times what 100,000 do",
            value=lambda results: results.ours(_MANY, "peak") / results.ours(_FEW, "peak"),
            at_most=1.25,
        ),
    ),
    drawn=("finish", "peak"),
)
