"""Hours of work in virtual time."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ekb_async import AppCredentials, EkbSession, SessionConfig
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop

JOBS = 8_000
PNG = b"\x89PNG\r\n\x1a\n"


async def work_through(vendor: Vendor, transport: InMemoryTransport) -> list[str]:
    files = [vendor.add_file(PNG + str(n).encode(), f"{n}.png") for n in range(JOBS)]
    config = SessionConfig(queue_size=JOBS)
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
    async with EkbSession(keys, config=config, transport=transport) as ekb:
        jobs = [ekb.submit_ocr(file) for file in files]
        for job in jobs:
            await job
        return [job.state for job in jobs]


@pytest.mark.slow
def test_hours_of_queued_recognition() -> None:
    """8,000 jobs queued at once succeed in 2.2 hours, with 2-hour tokens and 30-minute URLs, at the allowed rate."""
    vendor = Vendor()
    transport = InMemoryTransport(vendor, latency=3.0)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        states = runner.run(work_through(vendor, transport))
        elapsed = runner.get_loop().time()
    assert states == ["done"] * JOBS
    assert vendor.expired_urls_sent == 0
    starts = [at for at, call, _ in transport.arrivals if call == "ocr"]
    assert len(starts) == JOBS
    assert {status for _, call, status in transport.arrivals if call == "ocr"} == {200}
    assert min(later - earlier for earlier, later in itertools.pairwise(starts)) >= 1.0
    assert JOBS <= elapsed < JOBS * 1.015
    assert 2 <= vendor.tokens_issued <= 3
    assert sum(call == "download_urls" for _, call, _ in transport.arrivals) < JOBS / 50
