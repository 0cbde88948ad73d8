"""guard: the share used of one request a second, if requests take a varying time to arrive and the limiter is strict.

A session queues 600 recognitions in virtual time. Each request arrives after a delay that is normally distributed, so
the gaps between arrivals deviate by 1.41 times as much, and a simulated limiter accepts or refuses it. What is counted
is after the first 60 starts, in which the session learns. A strict limiter leaves, with 0.5 % refused, the share
`1 / (1 + 2.6 * 1.41 * deviation)`. The peer has a fixed margin of 10 ms, a limiter of one per 1.01 s, and repeats
refused calls. Each figure is the mean of 20 sessions with delays of their own; those of one deviate by half a per cent.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal, Medians
from benchmarks.limiters import LIMITERS, Limiter

if TYPE_CHECKING:
    from ekb_async import AppCredentials
    from ekb_async.simulation import InMemoryTransport

_LEARNING = 60
_BETWEEN_GAPS = 2**0.5
_PER_DEVIATION = 2.6
_DEVIATIONS_OF_DELAY = 5
_BUSY = 429


@dataclass(frozen=True)
class Load:
    """Calls, the limiter's name, the deviation of the delay, how much longer than 0.5 s answers take, and sessions.

    Times are in seconds. The delays of two sessions differ, those of two runs do not.
    """

    calls: int
    limiter: str
    deviation: float
    answers: float = 0.0
    sessions: int = 1


class Answer(NamedTuple):
    """When a request left and arrived, and whether it was accepted."""

    left: float
    arrived: float
    accepted: bool


def limited_transport(load: Load, limiter: Limiter, seed: int) -> tuple[Any, AppCredentials, list[Answer]]:
    """Return a transport to a vendor behind the limiter, the keys of an account, and a list of its answers.

    The transport's `deviation` may be changed.
    """
    from ekb_async import AppCredentials
    from ekb_async.protocol.replies import Reply
    from ekb_async.sandbox.vendor.vendor import Vendor
    from ekb_async.simulation import InMemoryTransport

    vendor = Vendor(ocr_rate=0)
    chance = random.Random(seed)  # noqa: S311 - a simulation
    answers: list[Answer] = []

    class Limited(InMemoryTransport):
        deviation = load.deviation

        async def send(self, request: Any, **options: Any) -> Reply:
            if request.endpoint.name != "ocr":
                return await super().send(request, **options)
            loop = asyncio.get_running_loop()
            options.pop("on_sent")()
            left = loop.time()
            delay = chance.gauss(_DEVIATIONS_OF_DELAY * self.deviation, self.deviation)
            await asyncio.sleep(max(0.0, delay))
            accepted = limiter(loop.time())
            answers.append(Answer(left, loop.time(), accepted))
            if not accepted:
                return Reply(_BUSY, {}, b'{"errorCode": 429, "errorMessage": "too many requests"}')
            await asyncio.sleep(abs(chance.gauss(0, load.answers)))
            return await super().send(request, on_sent=lambda: None, **options)

    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
    return Limited(vendor, latency=0.5), keys, answers


async def session(load: Load, transport: InMemoryTransport, keys: AppCredentials) -> None:
    """Queue all calls of a session with its defaults."""
    from ekb_async import EkbSession

    async with EkbSession(keys, transport=transport) as ekb:
        jobs = [ekb.submit_ocr(f"https://files.example.com/{n}.png") for n in range(load.calls)]
        for job in jobs:
            await job


async def fixed_margin(load: Load, transport: InMemoryTransport, keys: AppCredentials) -> None:
    """Start a call each 1.01 s with `aiolimiter`, and repeat what was refused in the next slot."""
    from aiolimiter import AsyncLimiter

    from ekb_async.protocol import endpoints

    limiter = AsyncLimiter(1, 1.01)

    async def recognise(url: str) -> None:
        status = _BUSY
        while status == _BUSY:
            await limiter.acquire()
            reply = await transport.send(endpoints.ocr(url), token=token, timeout=60, on_sent=lambda: None)
            status = reply.status

    request = endpoints.get_token(keys)
    reply = await transport.send(request, token=None, timeout=60, on_sent=lambda: None)
    token = request.endpoint.read(reply.body).access_token
    await asyncio.gather(*(recognise(f"https://files.example.com/{n}.png") for n in range(load.calls)))


def figures(load: Load, answers: Sequence[Answer]) -> Figures:
    """Return the figures of the calls after the first ones."""
    counted = sorted(answers)[min(_LEARNING, load.calls // 2) :]
    starts = [answer.left for answer in counted if answer.accepted]
    possible = 100 / (1 + _PER_DEVIATION * _BETWEEN_GAPS * load.deviation)
    used = 100 * (len(starts) - 1) / (starts[-1] - starts[0])
    return {"used": used, "of_possible": 100 * used / possible, "refused": 100 * (1 - len(starts) / len(counted))}


Work = Callable[[Load, "InMemoryTransport", "AppCredentials"], Coroutine[Any, Any, None]]


def _contestant(name: str, work: Work) -> Contestant[Load]:
    def simulated(load: Load, seed: int) -> Figures:
        from ekb_async.simulation import VirtualTimeLoop

        transport, keys, answers = limited_transport(load, LIMITERS[load.limiter](1.0), seed)
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(work(load, transport, keys))
        return figures(load, answers)

    def run(load: Load, _: str) -> Figures:
        each = [simulated(load, seed) for seed in range(load.sessions)]
        return {name: statistics.fmean(one[name] for one in each) for name in each[0]}

    return Contestant(name, run)


def _case(limiter: str, milliseconds: int, answers: float = 0.0) -> Case[Load]:
    name = f"{limiter}, {milliseconds} ms" + (", answers vary" if answers else "")
    size = {"limiter": limiter, "deviation": milliseconds / 1000, "answers": answers}
    full, quick = Load(600, sessions=20, **size), Load(40, **size)  # type: ignore[arg-type]  # the names above
    return Case(name, full, quick, rounds=1, is_another_size=(limiter, milliseconds) != ("spacing", 0))


def _goals(milliseconds: int) -> tuple[Goal, ...]:
    strict = f"spacing, {milliseconds} ms"

    def used(results: Medians) -> float:
        return results.ours(strict, "used" if milliseconds == 0 else "of_possible")

    return (
        Goal(
            says=f"{strict}: at least {'99.7 % used' if milliseconds == 0 else '99 % of what is possible'}",
            value=used,
            at_least=99.7 if milliseconds == 0 else 99.0,
        ),
        Goal(
            says=f"{strict}: {'nothing' if milliseconds == 0 else 'at most 1 %'} refused",
            value=lambda results: results.ours(strict, "refused"),
            at_most=0 if milliseconds == 0 else 1,
        ),
    )


_DEVIATIONS = (0, 2, 10, 50)

BENCHMARK = Benchmark(
    name="guard",
    title="requests that take a varying time to arrive, 1 a second allowed",
    figures=(
        Figure("used", "starts used, %"),
        Figure("of_possible", "of what is possible, %"),
        Figure("refused", "refused, %", 2),
    ),
    cases=tuple(_case(limiter, milliseconds) for milliseconds in _DEVIATIONS for limiter in LIMITERS)
    + tuple(_case("spacing", milliseconds, 1.0) for milliseconds in _DEVIATIONS),
    contestants=(_contestant("ekb_async", session), _contestant("aiolimiter, 10 ms", fixed_margin)),
    goals=tuple(goal for milliseconds in _DEVIATIONS for goal in _goals(milliseconds)),
    drawn=("used", "refused"),
)
