"""pace: the share used of one request a second, when each call takes three seconds.

The server is the package's sandbox, which refuses a call that arrives less than a second after the last accepted one. A
slot is a second between the first and the last accepted call; the slots after the first half are counted apart, since a
session learns its margin from the answers. The peers other than the loop repeat refused calls, up to three tries, each
in a slot of its own; a call that was never accepted is lost. The loop makes a quarter of the calls, since it takes four
times as long for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal, Served

if TYPE_CHECKING:
    import aiohttp

_TOKEN_PATH = "/api/openapi/v1/auth/getAccessToken"  # noqa: S105 - a path
_OCR_PATH = "/api/openapi/v2/invoice/processImageByFileUrl"
_KEYS = {"appKey": "key", "appSecurity": "security"}
_TRIES = 3

Recognise = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Load:
    """Calls, the server's limit per second, seconds a call takes, and the longest delay on the way to the server.

    All contestants of a round run at once, each with its own server. They begin after `settle` seconds, when all
    processes have started.
    """

    calls: int
    rate: float
    latency: float
    delay: float
    settle: float


async def sequential_loop(load: Load, base_url: str, file_urls: list[str]) -> int:
    """Make one call after the other with httpx, and sleep a second after each."""
    import httpx

    async with httpx.AsyncClient(base_url=base_url, timeout=60) as http:
        grant = await http.post(_TOKEN_PATH, json=_KEYS)
        query = {"accessToken": grant.raise_for_status().json()["value"]["accessToken"]}
        replies = []
        for url in file_urls[: load.calls // 4]:
            replies.append(await http.post(_OCR_PATH, params=query, json={"fileUrl": url}))
            await asyncio.sleep(1 / load.rate)
    return sum(reply.is_error for reply in replies)


async def with_semaphore(load: Load, base_url: str, file_urls: list[str]) -> int:
    """Use aiohttp with a semaphore that lets one call begin and is released a second later."""
    loop = asyncio.get_running_loop()
    semaphore = asyncio.Semaphore(1)
    async with _client(base_url) as (http, query):

        async def recognise(url: str) -> object:
            await semaphore.acquire()
            loop.call_later(1 / load.rate, semaphore.release)
            async with http.post(_OCR_PATH, params=query, json={"fileUrl": url}) as reply:
                return await reply.json()

        return await _recognise_all(recognise, file_urls)


async def with_aiolimiter(load: Load, base_url: str, file_urls: list[str]) -> int:
    """Use `aiolimiter` and `gather`. A limit of 1 per period is the only one without bursts."""
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(1, 1 / load.rate)
    async with _client(base_url) as (http, query):

        async def recognise(url: str) -> object:
            async with limiter, http.post(_OCR_PATH, params=query, json={"fileUrl": url}) as reply:
                return await reply.json()

        return await _recognise_all(recognise, file_urls)


async def with_pyrate_limiter(load: Load, base_url: str, file_urls: list[str]) -> int:
    """Use `pyrate-limiter` and `gather`."""
    from pyrate_limiter import Limiter, Rate

    limiter = Limiter(Rate(1, round(1000 / load.rate)))
    async with _client(base_url) as (http, query):

        async def recognise(url: str) -> object:
            await limiter.try_acquire_async("ocr")
            async with http.post(_OCR_PATH, params=query, json={"fileUrl": url}) as reply:
                return await reply.json()

        return await _recognise_all(recognise, file_urls)


async def ours(load: Load, base_url: str, file_urls: list[str]) -> int:
    """Use the session with its defaults."""
    from ekb_async import AppCredentials, EkbSession, SessionConfig

    keys = AppCredentials(app_key=_KEYS["appKey"], app_security=_KEYS["appSecurity"])
    async with EkbSession(keys, base_url=base_url, config=SessionConfig(ocr_rate=load.rate)) as ekb:
        return sum([outcome.error is not None async for outcome in ekb.ocr_many(file_urls)])


@asynccontextmanager
async def _client(base_url: str) -> AsyncIterator[tuple[aiohttp.ClientSession, dict[str, str]]]:
    """Open a client session; yield it and the query with the token."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(base_url, timeout=timeout, raise_for_status=True) as http:
        async with http.post(_TOKEN_PATH, json=_KEYS) as reply:
            grant = await reply.json()
        yield http, {"accessToken": grant["value"]["accessToken"]}


async def _recognise_all(recognise: Recognise, file_urls: list[str]) -> int:
    """Return how many calls were never accepted."""
    import aiohttp
    import backoff

    again = backoff.on_exception(backoff.expo, (aiohttp.ClientError, TimeoutError), max_tries=_TRIES)
    persistent = again(recognise)
    results = await asyncio.gather(*[persistent(url) for url in file_urls], return_exceptions=True)
    return sum(isinstance(result, Exception) for result in results)


def _contestant(name: str, run: Callable[[Load, str, list[str]], Awaitable[int]]) -> Contestant[Load]:
    async def main(load: Load, base_url: str) -> Figures:
        await asyncio.sleep(load.settle)
        lost = await run(load, base_url, [f"https://files.example.com/{n}.png" for n in range(load.calls)])
        return {"lost": lost}

    return Contestant(name, lambda load, base_url: asyncio.run(main(load, base_url)))


@asynccontextmanager
async def serve(load: Load) -> AsyncIterator[Served]:
    """Run the sandbox with its strict limit."""
    from ekb_async.sandbox import Sandbox

    def used(starts: list[float]) -> float:
        return 100 * len(starts) / ((starts[-1] - starts[0]) * load.rate + 1)

    def report() -> Figures:
        starts, arrived = box.starts("ocr"), box.count("ocr")
        return {
            "slots": used(starts),
            "settled": used(starts[len(starts) // 2 :]),
            "refused": 100 * (arrived - len(starts)) / arrived,
        }

    strict = Sandbox(
        app_key=_KEYS["appKey"],
        app_security=_KEYS["appSecurity"],
        ocr_rate=load.rate,
        latency=load.latency,
        jitter=load.delay,
    )
    async with strict as box:
        yield Served(box.base_url, report)


_STEADY, _DELAYED = "steady network", "up to 10 ms of random delay"

BENCHMARK = Benchmark(
    name="pace",
    title="1 request a second allowed, calls of 3 seconds",
    figures=(
        Figure("slots", "slots used, %"),
        Figure("settled", "in the second half, %"),
        Figure("refused", "requests refused, %"),
        Figure("lost", "calls lost", 0),
    ),
    cases=(
        Case(
            _STEADY,
            Load(calls=120, rate=1, latency=3, delay=0, settle=10),
            Load(calls=8, rate=20, latency=0.1, delay=0, settle=0),
            rounds=3,
        ),
        Case(
            _DELAYED,
            Load(calls=120, rate=1, latency=3, delay=0.01, settle=10),
            Load(calls=8, rate=20, latency=0.1, delay=0.01, settle=0),
            rounds=3,
            is_another_size=True,
        ),
    ),
    contestants=(
        _contestant("ekb_async", ours),
        _contestant("httpx loop with sleep", sequential_loop),
        _contestant("aiohttp with Semaphore", with_semaphore),
        _contestant("aiohttp with aiolimiter", with_aiolimiter),
        _contestant("aiohttp with pyrate-limiter", with_pyrate_limiter),
    ),
    goals=(
        Goal(
            says="steady: at least 99.7 % of the slots in the second half",
            value=lambda results: results.ours(_STEADY, "settled"),
            at_least=99.7,
        ),
        Goal(says="steady: nothing refused", value=lambda results: results.ours(_STEADY, "refused"), at_most=0),
        Goal(
            says="with delay: at least 98 % of the slots in the second half",
            value=lambda results: results.ours(_DELAYED, "settled"),
            at_least=98,
        ),
        Goal(
            says="with delay: at most 1 % refused",
            value=lambda results: results.ours(_DELAYED, "refused"),
            at_most=1,
        ),
        Goal(
            says="steady: at least 3 times the slots of the sequential loop",
            value=lambda results: 1 / results.ratio(_STEADY, "slots", of="httpx loop with sleep"),
            at_least=3,
        ),
    ),
    serve=serve,
    together=True,
    drawn=("slots", "refused"),
)
