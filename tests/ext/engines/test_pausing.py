"""What persons pause while workers of an engine are at work, and what a worker says of its own pauses."""

from __future__ import annotations

import msgspec
import pytest

from ekb_async.backlog import Backlog
from ekb_async.ext.engines.jobs import InvoiceJob
from ekb_async.sandbox import Fault, Sandbox
from tests.support.fast_times import FAST_WORKER
from tests.support.played_engine import Engine, enqueue, fetch, open_worker, sessions_on
from tests.support.waiting import until

pytestmark = pytest.mark.postgres

TIMING = msgspec.structs.replace(FAST_WORKER, say=0.05, first_pause=30.0, longest_pause=30.0)


@pytest.fixture
def engine() -> Engine:
    return Engine()


def ocr(tenant: str, *names: object) -> list[InvoiceJob]:
    return [InvoiceJob(kind="ocr", tenant=tenant, file=f"https://f.example/{name}.png") for name in names]


async def test_wakeups_of_a_paused_tenant_are_used_up_and_made_anew(
    database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """Workers need no restart: calls of the tenant, added before or later, are held, and planned when resumed."""
    await enqueue(database, engine, [*ocr("a", 1, 2), *ocr("b", 3)])
    async with (
        Backlog.open(database) as backlog,
        open_worker(database, engine, sessions_on(quick_box), timing=TIMING) as one,
    ):
        assert (await backlog.pause(tenant="a")).rows == 2
        await enqueue(database, engine, ocr("a", 4))
        for wakeup in [engine.wakeup("a") for _ in engine.of("a")]:
            await one.handle(wakeup)
        await one.handle(engine.wakeup("b"))
        assert quick_box.count("ocr") == 1
        assert [(each.tenant, each.held) for each in await backlog.tenants()] == [("a", 3), ("b", 0)]
        planned = len(engine.of("a"))
        await backlog.resume(tenant="a")

        async def are_planned() -> bool:
            (found,) = await fetch(database, "SELECT count(*) FROM ekb_call WHERE planned AND tenant = 'a'")
            return bool(found[0] == 3)

        await until(are_planned)
        assert len(engine.of("a")) == planned + 3
        for _ in range(3):
            await one.handle(engine.wakeup("a"))
        assert (await backlog.counts())["done"] == 4
    assert quick_box.count("ocr") == 4


async def test_resumed_calls_do_not_wait_behind_slots_of_before(
    database: str, engine: Engine, quick_box: Sandbox
) -> None:
    """The wakeups of held calls may have been used up, so their slots are free again."""
    await enqueue(database, engine, ocr("a", *range(50)), ocr_rate=0.1)
    async with Backlog.open(database) as backlog:
        await backlog.pause(kind="ocr")
        await backlog.resume(kind="ocr")
    before = len(engine.planned)
    await enqueue(database, engine, ocr_rate=0.1)
    assert min(wakeup.delay for wakeup in engine.planned[before:]) < 1
    assert quick_box.count("ocr") == 0


async def test_a_worker_says_what_it_pauses(database: str, engine: Engine, quick_box: Sandbox) -> None:
    """Others see which tenant's calls pause, since when, until when and why; with the worker that vanishes."""
    quick_box.faults = [Fault.answer(500, "内部错误", calls="ocr")]
    await enqueue(database, engine, ocr("a", *range(4)))
    async with Backlog.open(database) as backlog:
        async with open_worker(database, engine, sessions_on(quick_box, max_tries=4), timing=TIMING) as one:
            with pytest.raises(Exception, match="内部错误"):
                await one.handle(engine.wakeup("a"))

            async def is_shown() -> bool:
                return bool(await backlog.tenant_states())

            await until(is_shown)
            (state,) = await backlog.tenant_states()
            (pause,) = state.auto_pauses
            assert (state.tenant, pause.kind, state.given_up, state.held) == ("a", "ocr", (), 0)
            assert "内部错误" in pause.reason
            assert 29 <= (pause.next_try - pause.since).total_seconds() <= 31
        assert await backlog.tenant_states() == []
