"""A process that is stopped between its slot and its call starts nothing close to the call of another process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from ekb_async import EkbSession, SessionClosedError, SessionConfig, StaticToken
from ekb_async.pacing.process import LimiterPace
from ekb_async.pacing.rule import Bucket, PaceSettings, Slot
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.sandbox import Sandbox
from ekb_async.simulation import VirtualTimeLoop
from tests.conftest import FAST
from tests.support.memory_pace import MemoryPace
from tests.support.pacers import now
from tests.support.scripted_vendor import ScriptedVendor

URL = "https://files.example.com/{}.png"
SETTINGS = PaceSettings.of(1.0, 0.01, 30.0)


def starts_until(bucket: Bucket, until: float) -> list[float]:
    """Take every slot up to a moment, as another process does that always has a call, and return the starts."""
    starts = []
    ticket = bucket.ensure_ticket(None, SETTINGS)
    while (moment := bucket.slot_time(ticket, SETTINGS) - bucket.lead_time(SETTINGS)) <= until:
        slot = bucket.take_slot(ticket, moment, SETTINGS)
        assert slot is not None
        starts.append(float(slot))
        ticket = bucket.ensure_ticket(None, SETTINGS)
    bucket.discard_ticket(ticket)
    return starts


class Stopped(ScriptedVendor):
    """A vendor before whose requests the process is stopped for a while, in which another one makes calls."""

    def __init__(self, pacer: MemoryPace, seconds: list[float]) -> None:
        super().__init__()
        self._pacer = pacer
        self._seconds = seconds
        self.starts_elsewhere: list[float] = []
        self.held_back = 0

    async def send(
        self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        if self._seconds:
            stopped = self._seconds.pop(0)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            loop._jump(stopped)
            self.starts_elsewhere += starts_until(self._pacer.bucket, now())
        began = len(self.starts)
        try:
            return await super().send(request, token=token, timeout=timeout, on_sent=on_sent)
        finally:
            self.held_back += len(self.starts) == began


def starts_with(stops: list[float], calls: int) -> tuple[Stopped, list[float]]:
    """Make calls in a process that is stopped so long before each of them leaves; return the vendor and all starts."""

    async def main() -> Stopped:
        pacer = MemoryPace()
        network = Stopped(pacer, stops)
        config = SessionConfig(max_tries=1)
        async with EkbSession(StaticToken("a-token"), transport=network, pacer=pacer, config=config) as ekb:
            await asyncio.gather(*(ekb.ocr(URL.format(number)) for number in range(calls)))
            assert ekb.stats().ocr.sent == calls
            assert ekb.stats().ocr.maybe_billed == 0
        return network

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        network = runner.run(main())
    return network, sorted([*network.starts_elsewhere, *(start.at for start in network.starts)])


@pytest.mark.parametrize("stop", [0.992, 0.995, 1.0, 1.005, 1.5, 7.3])
def test_a_call_that_was_stopped_takes_a_new_slot(stop: float) -> None:
    """Others may have taken the next slot meanwhile, so the call gives up its own before its request leaves."""
    network, starts = starts_with([stop], calls=3)
    assert len(network.starts) == 3
    assert network.starts_elsewhere
    assert network.held_back == 1
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("stop", [0.0, 0.04, 0.5, 0.9])
def test_a_call_that_is_only_late_leaves(stop: float) -> None:
    """A late call leaves as long as no other may start, and the next slot is counted from its start."""
    network, starts = starts_with([stop], calls=3)
    assert network.held_back == 0
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(starts))


def test_a_call_that_is_always_stopped_gives_up_one_slot() -> None:
    """If each attempt is delayed for longer than its interval, each call gives up one slot and then leaves."""
    network, _ = starts_with([1.5] * 20, calls=3)
    assert len(network.starts) == 3
    assert network.held_back == 3


class Scripted(LimiterPace):
    """A pace whose slots have expired when their calls are about to leave, as often as the script says."""

    expiring = 0
    checks = 0

    def expired(self, slot: Slot) -> bool:
        self.checks += 1
        # Each attempt is checked twice: before a connection is used, and when its request is written.
        if self.checks % 2 == 0 and self.expiring:
            self.expiring -= 1
            return True
        return False


class ScriptedPacer:
    def __init__(self) -> None:
        self.paces: list[Scripted] = []

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> Scripted:
        self.paces.append(Scripted(rate, margin, most_wait))
        return self.paces[-1]


async def test_a_call_that_is_held_back_while_the_session_closes_ends(quick_box: Sandbox) -> None:
    """A call whose slot passes when no more slots are claimed fails; nothing waits for it any longer."""
    pacer, marking, released = ScriptedPacer(), asyncio.Event(), asyncio.Event()
    ekb = EkbSession(quick_box.credentials, base_url=quick_box.base_url, pacer=pacer, config=SessionConfig(**FAST))

    async def mark(_: int) -> None:
        marking.set()
        await released.wait()

    job, behind = ekb.submit_ocr(URL.format("held"), mark=mark), ekb.submit_ocr(URL.format("behind"))
    await marking.wait()
    closing = asyncio.create_task(ekb.close())
    with pytest.raises(SessionClosedError):
        await behind
    pacer.paces[0].expiring = 1
    released.set()
    await closing
    assert job.state == "failed"
    with pytest.raises(SessionClosedError):
        await job
    assert quick_box.count("ocr") == 0


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "open connection"])
async def test_a_request_that_is_held_back_never_arrives(quick_box: Sandbox, warm: bool) -> None:
    """A request that is abandoned when it is to be written never reaches the vendor, and counts as no attempt."""
    pacer = ScriptedPacer()
    config = SessionConfig(**{**FAST, "max_tries": 1})
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, pacer=pacer, config=config) as ekb:
        if warm:
            await ekb.ocr(URL.format("first"))
        before = quick_box.count("ocr")
        pacer.paces[0].expiring = 1
        job = ekb.submit_ocr(URL.format("a"))
        assert (await job).invoices
        assert pacer.paces[0].expiring == 0
        assert job.attempts == 1
        assert quick_box.count("ocr") == before + 1
        assert quick_box.vendor.billed["ocr"].total() == before + 1
        stats = ekb.stats().ocr
        assert (stats.sent, stats.succeeded, stats.maybe_billed) == (before + 1, before + 1, 0)
