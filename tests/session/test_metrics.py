"""Metrics: all counters and the state of the pace, under flat names."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from ekb_async import AppCredentials, EkbSession, SessionClosedError
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop
from tests.conftest import session_on

TIMES = ("interval", "wait", "duration", "margin", "refused_margin", "answer_deviation")
QUEUES = ("ocr", "verify", "verify_by_id", "verify_by_fields")
FILE = "https://files.example/a.png"


async def test_every_number_of_stats_has_a_name(ekb: EkbSession) -> None:
    """Metrics are named after call and counter; besides `stats` there are three times per queue; all are numbers."""
    await asyncio.gather(ekb.ocr(FILE), ekb.verify(FILE, staff_id="c:s"), ekb.invoice_urls(["c:1:1", "c:1:2"]))
    metrics, stats = ekb.metrics(), msgspec.to_builtins(ekb.stats())
    counted = {f"{call}.{name}": value for call, numbers in stats.items() for name, value in numbers.items()}
    times = {f"{queue}.{name}_seconds" for queue in QUEUES for name in TIMES}
    assert metrics.keys() == counted.keys() | times
    assert counted.items() <= metrics.items()
    assert {type(value) for value in metrics.values()} <= {int, float}
    assert (metrics["ocr.succeeded"], metrics["invoice_url.keys"], metrics["verify_by_id.sent"]) == (1, 2, 0)


def test_the_pace_as_it_stands() -> None:
    """Interval, wait and duration are current: a refusal lengthens the interval, a start begins a wait."""
    transport = InMemoryTransport(vendor := Vendor(ocr_rate=1 / 1.5), latency=3.0)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)

    async def main() -> None:
        async with EkbSession(keys, transport=transport) as ekb:
            before = ekb.metrics()
            assert before["ocr.interval_seconds"] == pytest.approx(1.01)
            assert before["ocr.wait_seconds"] == before["ocr.duration_seconds"] == 0
            await asyncio.gather(ekb.ocr(FILE), ekb.ocr(FILE + "?2"))
            after = ekb.metrics()
            assert after["ocr.throttled"] > 0
            assert after["ocr.interval_seconds"] > 1.01
            assert after["ocr.duration_seconds"] == pytest.approx(3.02, abs=0.01)
            ekb.submit_verify(FILE, staff_id="c:s")
            assert 1.0 < ekb.metrics()["verify.wait_seconds"] <= 1.01

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


@pytest.mark.slow
async def test_any_thread_may_read_metrics() -> None:
    """Reading metrics from another thread, as exporters do, disturbs neither calls nor counters."""
    async with Sandbox(ocr_rate=0) as box, session_on(box, max_running=50) as ekb:
        done = False

        def watch() -> list[int | float]:
            seen = []
            while not done:
                seen.append(ekb.metrics()["ocr.succeeded"])
            return seen

        watching = asyncio.create_task(asyncio.to_thread(watch))
        await asyncio.gather(*(ekb.ocr(f"{FILE}?{n}") for n in range(200)))
        done = True
        seen = await watching
        assert seen == sorted(seen)
        assert ekb.metrics()["ocr.succeeded"] == 200


async def test_a_closed_session_still_has_metrics(quick_box: Sandbox) -> None:
    """Metrics can be read after closing; a session closed unused raises `SessionClosedError`."""
    async with session_on(quick_box) as ekb:
        await ekb.ocr(FILE)
    assert ekb.metrics()["ocr.sent"] == 1
    unused = EkbSession(quick_box.credentials, base_url=quick_box.base_url)
    await unused.close()
    with pytest.raises(SessionClosedError):
        unused.metrics()
