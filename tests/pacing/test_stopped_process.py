"""A process that is stopped between its slot and its call starts nothing close to the call of another process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from ekb_async import EkbSession, SessionConfig, StaticToken
from ekb_async.client.transport import Reply
from ekb_async.pacing.rule import Bucket, LimiterPace, PaceSettings, Slot
from ekb_async.protocol.endpoints import Request
from ekb_async.sandbox import Sandbox
from ekb_async.simulation import VirtualTimeLoop
from tests.conftest import FAST
from tests.support.memory_pace import Shelf
from tests.support.pace_homes import now
from tests.support.scripted_vendor import ScriptedVendor

URL = "https://files.example.com/{}.png"
TEMPO = PaceSettings.of(1.0, 0.01, 30.0)


def take_turns(bucket: Bucket, until: float) -> list[float]:
    """The starts of another process that always has a call to make, up to a moment, each in its turn."""
    starts = []
    ticket = bucket.ensure_ticket(None, TEMPO)
    while (moment := bucket.slot_time(ticket, TEMPO) - bucket.lead_time(TEMPO)) <= until:
        slot = bucket.take_slot(ticket, moment, TEMPO)
        assert slot is not None
        starts.append(float(slot))
        ticket = bucket.ensure_ticket(None, TEMPO)
    bucket.discard_ticket(ticket)
    return starts


class Stopped(ScriptedVendor):
    """A network in front of which the process is stopped for a while, in which another one makes calls."""

    def __init__(self, shelf: Shelf, seconds: list[float]) -> None:
        super().__init__()
        self._shelf = shelf
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
            self.starts_elsewhere += take_turns(self._shelf.bucket, now())
        began = len(self.starts)
        try:
            return await super().send(request, token=token, timeout=timeout, on_sent=on_sent)
        finally:
            self.held_back += len(self.starts) == began


def starts_with(stops: list[float], calls: int) -> tuple[Stopped, list[float]]:
    """What becomes of some calls of a process that is stopped so long before each of them leaves, and all starts."""

    async def main() -> Stopped:
        shelf = Shelf()
        network = Stopped(shelf, stops)
        config = SessionConfig(max_tries=1)
        async with EkbSession(StaticToken("a-token"), transport=network, pacer=shelf, config=config) as ekb:
            await asyncio.gather(*(ekb.ocr(URL.format(number)) for number in range(calls)))
            assert ekb.stats().ocr.sent == calls
            assert ekb.stats().ocr.maybe_billed == 0
        return network

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        network = runner.run(main())
    return network, sorted([*network.starts_elsewhere, *(start.at for start in network.starts)])


@pytest.mark.parametrize("stop", [0.992, 0.995, 1.0, 1.005, 1.5, 7.3])
def test_a_call_that_was_stopped_takes_a_new_turn(stop: float) -> None:
    """While it was stopped others may have taken the next slot, so it gives up its own before its request leaves."""
    network, starts = starts_with([stop], calls=3)
    assert len(network.starts) == 3
    assert network.starts_elsewhere
    assert network.held_back == 1
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("stop", [0.0, 0.04, 0.5, 0.9])
def test_a_call_that_is_only_late_leaves(stop: float) -> None:
    """As long as nobody else may start, a late call goes on, and the others count from when it left."""
    network, starts = starts_with([stop], calls=3)
    assert network.held_back == 0
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(starts))


def test_a_way_that_always_takes_longer_is_gone_once() -> None:
    """Where each call is held up for longer than its turn, each gives up one turn and then leaves."""
    network, _ = starts_with([1.5] * 20, calls=3)
    assert len(network.starts) == 3
    assert network.held_back == 3


class Scripted(LimiterPace):
    """A pace whose slots have lapsed when their calls are about to leave, as often as the script says."""

    lapsing = 0
    asked = 0

    def expired(self, slot: Slot) -> bool:
        self.asked += 1
        # Each attempt is asked twice: before a connection is used, and when its request is written.
        if self.asked % 2 == 0 and self.lapsing:
            self.lapsing -= 1
            return True
        return False


class ScriptedPace:
    def __init__(self) -> None:
        self.pacers: list[Scripted] = []

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> Scripted:
        self.pacers.append(Scripted(rate, margin, most_wait))
        return self.pacers[-1]


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "open connection"])
async def test_a_request_that_is_held_back_never_arrives(quick_box: Sandbox, warm: bool) -> None:
    """A request that is given up when it is written is not seen by the vendor, and counts as no try and no call."""
    pace = ScriptedPace()
    config = SessionConfig(**{**FAST, "max_tries": 1})
    async with EkbSession(quick_box.credentials, base_url=quick_box.base_url, pacer=pace, config=config) as ekb:
        if warm:
            await ekb.ocr(URL.format("first"))
        before = quick_box.count("ocr")
        pace.pacers[0].lapsing = 1
        job = ekb.submit_ocr(URL.format("a"))
        assert (await job).invoices
        assert pace.pacers[0].lapsing == 0
        assert job.attempts == 1
        assert quick_box.count("ocr") == before + 1
        assert quick_box.vendor.billed["ocr"].total() == before + 1
        stats = ekb.stats().ocr
        assert (stats.sent, stats.succeeded, stats.maybe_billed) == (before + 1, before + 1, 0)
