"""Accounts of tenants that change during a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ekb_async import SessionConfig, TenantCredentials
from ekb_async.backlog import Backlog
from ekb_async.errors import AuthError, ConfigError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.faults import Fault
from ekb_async.session.tenants import TenantSessions
from tests.backlog.run.test_tenants import tenant_manifest
from tests.conftest import FAST
from tests.support.backlog_stores import Location
from tests.support.tenant_files import WRONG, account, write_accounts


def pool_on(file: Path) -> TenantSessions:
    return TenantSessions(TenantCredentials.read(file, config=SessionConfig(**FAST)))


def rows(*tenants: str, count: int = 5) -> list[str]:
    return [f"ocr,https://f.example/{n},,,,{tenant}" for tenant in tenants for n in range(count)]


async def test_a_run_goes_on_with_corrected_accounts(tmp_path: Path, place: Location) -> None:
    """While others are at work, a corrected key is used, an added tenant begins, and a removed one is left alone."""
    async with (
        Sandbox(ocr_rate=0) as box,
        Sandbox(ocr_rate=0, faults=[Fault.delay(600, calls="ocr", times=1)]) as slow,
        Sandbox(ocr_rate=0, latency={"ocr": 0.05}) as removed,
        Backlog.open(place) as backlog,
    ):
        names = {"slow": account(slow), "gone": account(removed, ocr_rate=2)}
        file = write_accounts(tmp_path, **names, wrong=account(box, app_security=WRONG))
        await backlog.add_manifest(tenant_manifest(tmp_path, *rows("slow", "wrong", "added"), *rows("gone", count=50)))
        async with pool_on(file) as pool:
            run = asyncio.create_task(backlog.run(pool))
            await slow.arrived("ocr")
            await removed.arrived("ocr")
            await box.arrived("token")
            write_accounts(tmp_path, slow=account(slow), wrong=account(box), added=account(box))
            await box.arrived("ocr", 10)
            slow.faults = []
            backlog.break_off()
            with pytest.raises((asyncio.CancelledError, ConfigError)):
                await run
        counts = {each.tenant: each.counts for each in await backlog.tenants()}
        assert (counts["wrong"]["done"], counts["added"]["done"]) == (5, 5)
        assert counts["gone"]["pending"] > 40
        assert box.count("token") == 2


async def test_refused_keys_alone_end_the_run(tmp_path: Path, place: Location) -> None:
    """A run in which no other tenant is at work does not wait for a correction."""
    async with Sandbox(ocr_rate=0) as box, Backlog.open(place) as backlog:
        await backlog.add_manifest(tenant_manifest(tmp_path, *rows("wrong")))
        async with pool_on(write_accounts(tmp_path, wrong=account(box, app_security=WRONG))) as pool:
            with pytest.raises(AuthError):
                await backlog.run(pool)
            write_accounts(tmp_path, wrong=account(box))
        async with pool_on(tmp_path / "tenants.json") as pool:
            assert (await backlog.run(pool)).counts["done"] == 5
