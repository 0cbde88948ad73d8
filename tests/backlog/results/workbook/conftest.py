"""The exports of a backlog with every kind of trouble, made once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

from ekb_async.backlog import Accounting, Task
from tests.support.backlogs import all_tasks
from tests.support.exported import Book
from tests.support.troubled_backlog import troubled_backlog


class Trouble(NamedTuple):
    """The tasks of the backlog, its accounting, the folder with its exports, and its workbooks by language."""

    tasks: list[Task]
    accounting: Accounting
    folder: Path
    books: dict[str, Book]


async def _made(folder: Path) -> tuple[list[Task], Accounting]:
    async with troubled_backlog(folder) as (backlog, _):
        for lang in ("en", "zh"):
            await backlog.export(folder / f"{lang}.xlsx", lang=lang)
        await backlog.export(folder / "failed.xlsx", "failed")
        await backlog.export(folder / "results.csv", lines=True)
        await backlog.export(folder / "结果.csv", lang="zh", lines=True)
        await backlog.export(folder / "results.parquet", lines=True)
        return await all_tasks(backlog), await backlog.accounting()


@pytest.fixture(scope="session")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Trouble:
    folder = tmp_path_factory.mktemp("trouble")
    tasks, accounting = asyncio.run(_made(folder))
    return Trouble(tasks, accounting, folder, {lang: Book.read(folder / f"{lang}.xlsx") for lang in ("en", "zh")})
