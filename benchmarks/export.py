"""export: finished rows as a table and as a page for people.

Each row has the documented answer to a verification, with a number, an amount and a seller of its own. The first export
also compares the answers with one another, which is done once for each. The peers do what a program of one's own would:
they read the answers from a table in `sqlite3`, decode them, and write 18 values of each with `csv`, unchecked.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bodies import body
from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal
from benchmarks.spending import peak_memory, spending

_CHUNK = 200
_NUMBER, _TOTAL, _SELLER = "91068626", "324.00", "上海药谷商务酒店有限公司"
_CITIES = ("上海", "北京", "深圳", "杭州", "成都")
_TEXTS = (
    "发票代码",
    "发票号码",
    "发票类别",
    "校验码",
    "销售方名称",
    "购买方名称",
    "销售方纳税人识别号",
    "购买方纳税人识别号",
)
_AMOUNTS = ("价税合计", "发票金额", "税额")


@dataclass(frozen=True)
class Load:
    """The number of rows."""

    rows: int


def _answers(rows: int) -> Iterator[bytes]:
    template = body("verify").decode()
    for n in range(rows):
        seller = f"{_CITIES[n % len(_CITIES)]}第{n % 997}商务酒店有限公司"
        varied = template.replace(_NUMBER, f"{n:08d}").replace(_TOTAL, f"{n % 5000 + 100}.00").replace(_SELLER, seller)
        yield varied.encode()


def ours(directory: Path, rows: int) -> Figures:
    """Use the package's backlog."""
    file = directory / "backlog.sqlite"
    asyncio.run(_finished(file, rows))

    async def export() -> Figures:
        from ekb_async.backlog import Backlog

        async with Backlog.open(file) as backlog:
            with spending() as table:
                await backlog.export(directory / "out.csv")
            with spending() as lines:
                await backlog.export(directory / "out.jsonl")
            with spending() as page:
                await backlog.report(directory / "out.html")
        figures = {name: rows / spent.cpu for name, spent in (("csv", table), ("jsonl", lines), ("page", page))}
        return figures | {"peak": peak_memory() / 1e6}

    return asyncio.run(export())


async def _finished(file: Path, rows: int) -> None:
    """Make a backlog whose rows are all done."""
    from ekb_async.backlog import Backlog, Row
    from ekb_async.backlog.store.sqlite.store import SqliteStore
    from ekb_async.backlog.store.values.calls import CallResult, SentMark
    from ekb_async.models import VerifyResult

    async with Backlog.open(file) as backlog:
        await backlog.add(
            Row(kind="verify", file=f"https://files.example/{n}.pdf", staff_id=f"corp:{n % 300}", ref=f"EXP-{n}")
            for n in range(rows)
        )
    store, answers = await SqliteStore.open(file), _answers(rows)
    run_id = await store.begin_run(hold_unknown=False)
    while claimed := await store.claim(run_id, "", "verify", _CHUNK, latest=False):
        results = [
            CallResult(call.id, "done", attempts=1, answer=VerifyResult.from_raw(next(answers))) for call in claimed
        ]
        await store.record(run_id, [SentMark(call.id, 1) for call in claimed], results)
    await store.end_run(run_id)
    await store.close()


def by_hand(directory: Path, rows: int, *, decode: Callable[[bytes], Any]) -> Figures:
    """Use a table in `sqlite3`, a decoder of JSON, and `csv`."""
    with closing(sqlite3.connect(directory / "peer.sqlite")) as connection:
        connection.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, file, staff_id, ref, state, result)")
        connection.executemany(
            "INSERT INTO tasks (file, staff_id, ref, state, result) VALUES (?, ?, ?, 'done', ?)",
            (
                (f"https://files.example/{n}.pdf", f"corp:{n % 300}", f"EXP-{n}", each)
                for n, each in enumerate(_answers(rows))
            ),
        )
        connection.commit()
        with spending() as table, (directory / "peer.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            for *row, result in connection.execute("SELECT id, file, staff_id, ref, state, result FROM tasks"):
                writer.writerows([*row, *_values(item)] for item in decode(result)["items"])
    return {"csv": rows / table.cpu}


def _values(item: dict[str, Any]) -> list[object]:
    master = item["master"]
    form = master["form"]
    texts = (form[f"E_system_发票主体_{name}"] for name in _TEXTS)
    amounts = (form[f"E_system_发票主体_{name}"]["standard"] for name in _AMOUNTS)
    return [master["id"], item["ischeck"], item["message"], *texts, *amounts]


def _contestant(name: str, work: Callable[[Path, int], Figures], *imports: str) -> Contestant[Load]:
    def run(load: Load, _: str) -> Figures:
        for module in imports:
            __import__(module)
        with tempfile.TemporaryDirectory(prefix="ekb-benchmark-") as directory:
            return work(Path(directory), load.rows)

    return Contestant(name, run)


_FEW, _MANY = "20,000 rows", "200,000 rows"

BENCHMARK = Benchmark(
    name="export",
    title="finished rows as a table and as a page",
    figures=(
        Figure("csv", "CSV, rows per s of CPU", 0),
        Figure("jsonl", "JSON Lines, rows per s of CPU", 0),
        Figure("page", "page, rows per s of CPU", 0),
        Figure("peak", "memory, MB", 0),
    ),
    cases=(
        Case(_FEW, Load(rows=20_000), Load(rows=500), rounds=3),
        Case(_MANY, Load(rows=200_000), Load(rows=1000), rounds=1, is_another_size=True),
    ),
    contestants=(
        _contestant("ekb_async", ours, "ekb_async.backlog", "ekb_async.backlog.results.report"),
        _contestant("sqlite3 + json + csv", partial(by_hand, decode=json.loads)),
        _contestant("sqlite3 + msgspec + csv", partial(by_hand, decode=msgspec.json.decode)),
    ),
    goals=(
        Goal(
            says="CSV, answers compared, takes at most twice the CPU of a program that decodes with json",
            value=lambda results: results.ratio(_FEW, "csv", of="sqlite3 + json + csv"),
            at_most=2,
        ),
        Goal(
            says="200,000 rows take at most 160 MB, the interpreter included",
            value=lambda results: results.ours(_MANY, "peak"),
            at_most=160,
        ),
    ),
    drawn=("csv", "page"),
)
