"""The worker of procrastinate in the documentation of many hosts: it makes the calls that are added."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ekb_async.backlog import Backlog
from ekb_async.ext.procrastinate import InvoiceJob, enqueue, install_schema
from ekb_async.sandbox import Sandbox
from tests.support.page_runs import fill
from tests.support.pages import CHINESE, block_with


@pytest.mark.postgres
async def test_the_worker_of_procrastinate(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = block_with(CHINESE / "scaling.md", "PsycopgConnector").text
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EKB_DSN", database)
    await install_schema(database)
    async with Sandbox(ocr_rate=0) as box:
        fill(tmp_path, box)
        keys = box.credentials
        (tmp_path / "tenants.toml").write_text(
            f'[acme]\napp_key="{keys.app_key}"\napp_security="{keys.app_security}"\nbase_url="{box.base_url}"\n'
        )
        names: dict[str, Any] = {}
        exec(compile(program, "scaling.md", "exec", dont_inherit=True), names)  # noqa: S102 - the page's own
        await enqueue(database, [InvoiceJob(kind="ocr", tenant="acme", file=tmp_path / "hotel.pdf")])
        async with names["app"].open_async(), Backlog.open(database) as backlog:
            working = asyncio.create_task(names["app"].run_worker_async(install_signal_handlers=False))
            async for _ in backlog.watch(interval=0.1):
                pass
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            assert (await backlog.counts())["done"] == 1
