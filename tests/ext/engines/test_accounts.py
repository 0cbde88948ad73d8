"""Workers use the tenants' own rates and accounts, and follow changes of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from pathlib import Path

import msgspec
import pytest

from ekb_async import EkbSession, SessionConfig, TenantCredentials
from ekb_async.errors import ConfigError
from ekb_async.ext.engines.enqueuing import enqueuer
from ekb_async.ext.engines.handling import worker
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.wakeups import Deferred
from ekb_async.sandbox import Sandbox
from tests.conftest import FAST
from tests.support.fast_times import FAST_WORKER
from tests.support.played_engine import Engine, deferral, enqueue, fetch, plan, sessions_on
from tests.support.tenant_files import WRONG, account, write_accounts
from tests.support.waiting import until


@pytest.fixture
def engine() -> Engine:
    return Engine()


def ocr(count: int, tenant: str = "a") -> list[InvoiceJob]:
    return [InvoiceJob(kind="ocr", tenant=tenant, file=f"https://f.example/{n}.png") for n in range(count)]


def tenants_in(file: Path) -> TenantCredentials:
    return TenantCredentials.read(file, config=SessionConfig(**{**FAST, "rate_guard": 0.05}))


def gaps(engine: Engine, tenant: str = "a") -> list[float]:
    """Return the times between the slots of a tenant's wakeups."""
    slots = sorted(wakeup.slot for wakeup in engine.of(tenant))
    return [round(after - before, 3) for before, after in itertools.pairwise(slots)]


async def test_a_worker_plans_at_the_rates_of_the_file(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """Without `config`, calls are planned at the rates of their tenants' sessions, from a file or a function."""
    tenants = tenants_in(write_accounts(tmp_path, a=account(quick_box, ocr_rate=5), b=account(quick_box, ocr_rate=0.5)))
    await enqueue(database, engine, [*ocr(10), *ocr(3, "b"), *ocr(3, "c")], ocr_rate=1e6)
    await fetch(database, "UPDATE ekb_call SET planned = false")
    engine.planned.clear()

    async def are_planned() -> bool:
        return len(engine.planned) >= 16

    async with worker.open_worker(database, tenants, engine.insert, None, FAST_WORKER, repeat_unknown=False):
        await until(are_planned)
    assert gaps(engine) == pytest.approx([0.25] * 9, abs=0.01)
    assert gaps(engine, "b") == pytest.approx([2.05] * 2, abs=0.01)
    assert gaps(engine, "c") == pytest.approx([1.01] * 2, abs=0.01)
    await fetch(database, "UPDATE ekb_call SET planned = false")
    engine.planned.clear()
    sessions = sessions_on(quick_box, ocr_rate=4, rate_guard=0.0)
    async with worker.open_worker(database, sessions, engine.insert, None, FAST_WORKER, repeat_unknown=False):
        await until(are_planned)
    assert gaps(engine, "c") == pytest.approx([0.25] * 2, abs=0.01)


async def test_a_program_needs_no_rates(tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox) -> None:
    """Rates that are given to `enqueue` are checked and not used: workers plan at those of the sessions."""
    tenants = tenants_in(write_accounts(tmp_path, a=account(quick_box, ocr_rate=5)))
    for config in (tenants, SessionConfig(ocr_rate=1000), lambda _: SessionConfig()):
        await enqueuer.enqueue(database, ocr(3), config=config)
    with pytest.raises(ConfigError, match="config must be"):
        await enqueuer.enqueue(database, ocr(3), config=7)  # type: ignore[arg-type]  # the error to test

    async def are_planned() -> bool:
        return len(engine.of("a")) == 3

    async with worker.open_worker(database, tenants, engine.insert, None, FAST_WORKER, repeat_unknown=False):
        await until(are_planned)
    assert gaps(engine) == pytest.approx([0.25] * 2, abs=0.01)


async def test_a_corrected_key_ends_the_pause(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """A tenant that pauses for a minute goes on seconds after its key was corrected, with wakeups that are due."""
    file = write_accounts(tmp_path, a=account(quick_box, app_security=WRONG, ocr_rate=1000))
    timing = msgspec.structs.replace(FAST_WORKER, first_pause=60.0)
    await enqueue(database, engine, ocr(3), ocr_rate=1000.0)
    async with worker.open_worker(database, tenants_in(file), engine.insert, None, timing, repeat_unknown=False) as one:
        for _ in range(3):
            assert (await deferral(one.handle(engine.wakeup()))).delay > 55
        engine.planned.clear()
        write_accounts(tmp_path, a=account(quick_box, ocr_rate=1000))

        async def are_planned() -> bool:
            # The transaction of the plan is committed after the engine has its wakeups.
            planned = await fetch(database, "SELECT count(*) FROM ekb_call WHERE planned")
            return len(engine.planned) == 3 and planned == [(3,)]

        await until(are_planned)
        assert max(wakeup.delay for wakeup in engine.planned) < 1
        await asyncio.gather(*(one.handle(engine.wakeup()) for _ in range(3)))
    assert await fetch(database, "SELECT count(*) FROM ekb_call WHERE state = 'done'") == [(3,)]
    assert quick_box.count("ocr") == 3


async def test_a_higher_rate_is_used_for_calls_that_were_planned(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """Calls whose wakeups were planned at a low rate are planned anew when the file has a higher one."""
    file = write_accounts(tmp_path, a=account(quick_box, ocr_rate=0.1))
    tenants = tenants_in(file)
    await enqueuer.enqueue(database, ocr(20))
    await plan(database, engine.insert, tenants.config)
    async with worker.open_worker(database, tenants, engine.insert, None, FAST_WORKER, repeat_unknown=False) as one:
        await one.handle(engine.wakeup())
        assert max(wakeup.delay for wakeup in engine.planned) > 180
        engine.planned.clear()
        write_accounts(tmp_path, a=account(quick_box, ocr_rate=50))

        async def are_planned() -> bool:
            return len(engine.planned) == 19

        await until(are_planned)
    assert max(wakeup.delay for wakeup in engine.planned) < 5


async def test_a_tenant_whose_session_is_never_made(
    database: str, engine: Engine, quick_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that does not return for one tenant keeps no call of another from being planned."""
    limits = msgspec.structs.replace(LIMITS, settings_seconds=0.2)
    monkeypatch.setattr("ekb_async.ext.engines.rates.LIMITS", limits)
    sessions = sessions_on(quick_box)

    async def session_for_tenant(tenant: str) -> EkbSession:
        if tenant == "hangs":
            await asyncio.Event().wait()
        session = sessions(tenant)
        assert isinstance(session, EkbSession)
        return session

    await enqueue(database, engine, [*ocr(3), *ocr(3, "hangs")])
    await fetch(database, "UPDATE ekb_call SET planned = false")
    engine.planned.clear()

    async def are_planned() -> bool:
        return len(engine.planned) == 6

    async with worker.open_worker(database, session_for_tenant, engine.insert, None, FAST_WORKER, repeat_unknown=False):
        await until(are_planned)


async def test_a_removed_tenant_makes_no_more_calls(
    tmp_path: Path, database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """Calls of a tenant that was removed from the file stay pending, and are made when it is back."""
    file = write_accounts(tmp_path, a=account(quick_box), b=account(quick_box))
    await enqueue(database, engine, ocr(300), ocr_rate=1000.0)
    async with worker.open_worker(
        database, tenants_in(file), engine.insert, None, FAST_WORKER, repeat_unknown=False
    ) as one:
        await one.handle(engine.wakeup())
        write_accounts(tmp_path, b=account(quick_box))

        async def is_refused() -> bool:
            try:
                await one.handle(engine.wakeup())
            except Deferred as deferred:
                return "there is no tenant 'a'" in str(deferred)
            return False

        async def is_made() -> bool:
            with contextlib.suppress(Deferred):
                await one.handle(engine.wakeup())
            return quick_box.count("ocr") > made

        await until(is_refused)
        made = quick_box.count("ocr")
        assert await is_refused()
        assert 1 <= quick_box.count("ocr") == made < 300
        write_accounts(tmp_path, a=account(quick_box), b=account(quick_box))
        await until(is_made)
