"""call: the CPU time of one verification in the client, from the arguments to five typed values of the answer.

The server answers at once and without a rate limit, so only the client works. Calls are made one after the other, as
they are at one a second, 32 at a time, and for 1,000 tenants in one process, each of which has a session with one call
in flight.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

from benchmarks.canned_vendor import VERIFY_PATH, canned_vendor
from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal, Served
from benchmarks.spending import spending

_STRETCHES = 5
_STAFF = "corp:staff"
_TOKEN = "token"  # noqa: S105 - the canned server takes any


@dataclass(frozen=True)
class Load:
    """The number of calls before measuring begins, in each measured stretch, and of those in flight at a time.

    With `tenants`, successive calls are those of one tenant after the other.
    """

    warm_up: int
    calls: int
    in_flight: int = 1
    tenants: int = 1


def _file_url(n: int) -> str:
    return f"https://files.example.com/{n}.png"


async def _make(calls: int, in_flight: int, call: Callable[[int], Awaitable[object]]) -> None:
    numbers = iter(range(calls))

    async def make_next() -> None:
        for n in numbers:
            await call(n)

    await asyncio.gather(*(make_next() for _ in range(in_flight)))


async def _measure(load: Load, call: Callable[[int], Awaitable[object]]) -> Figures:
    await _make(load.warm_up, load.in_flight, call)
    stretches = []
    for _ in range(_STRETCHES):
        with spending() as spent:
            await _make(load.calls, load.in_flight, call)
        stretches.append(spent)
    # Other work of the machine can only add to a stretch, so the smallest of several is the most accurate.
    cpu, wall = min(each.cpu for each in stretches), min(each.wall for each in stretches)
    return {"cpu": cpu / load.calls * 1e6, "wall": wall / load.calls * 1e6}


async def bare(load: Load, base_url: str) -> Figures:
    """The minimum: no check of the status, no time limit, no retry."""
    import aiohttp
    import msgspec

    from benchmarks.decoders.with_msgspec import read_verify

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(base_url, connector=connector, timeout=timeout) as http:

        async def call(n: int) -> object:
            content = {"fileName": f"{n}.png", "fileUrl": _file_url(n), "staffId": _STAFF, "isExOcr": True}
            async with http.post(
                VERIFY_PATH,
                params={"accessToken": _TOKEN},
                data=msgspec.json.encode(content),
                headers={"Content-Type": "application/json"},
            ) as reply:
                return read_verify(await reply.read())

        return await _measure(load, call)


async def usual(load: Load, base_url: str) -> Figures:
    """The usual program: the status is checked, an attempt has a time limit, and a failed one is retried."""
    import aiohttp
    import backoff

    from benchmarks.decoders.plain import reader

    read_verify = reader(json.loads).verify
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(base_url, connector=connector, timeout=timeout, raise_for_status=True) as http:

        @backoff.on_exception(backoff.expo, (aiohttp.ClientError, TimeoutError), max_tries=5)
        async def call(n: int) -> object:
            content = {"fileName": f"{n}.png", "fileUrl": _file_url(n), "staffId": _STAFF, "isExOcr": True}
            async with http.post(VERIFY_PATH, params={"accessToken": _TOKEN}, json=content) as reply:
                return read_verify(await reply.read())

        return await _measure(load, call)


async def httpx_and_pydantic(load: Load, base_url: str) -> Figures:
    """The usual program with the other common pair of libraries."""
    import httpx

    from benchmarks.decoders.with_pydantic import from_json, reader

    read_verify = reader(from_json).verify
    async with httpx.AsyncClient(base_url=base_url, timeout=60) as http:

        async def call(n: int) -> object:
            content = {"fileName": f"{n}.png", "fileUrl": _file_url(n), "staffId": _STAFF, "isExOcr": True}
            reply = await http.post(VERIFY_PATH, params={"accessToken": _TOKEN}, json=content)
            return read_verify(reply.raise_for_status().content)

        return await _measure(load, call)


async def ours(load: Load, base_url: str) -> Figures:
    """The session with all its parts, at the highest rate it accepts: queue, pace, token, retries, models."""
    from benchmarks.decoders.ours import verified_values
    from ekb_async import AppCredentials, EkbSession, SessionConfig, TenantSessions

    config = SessionConfig(verify_rate=1_000_000, rate_guard=0, max_running=load.in_flight)

    def session_for_tenant(tenant: str) -> EkbSession:
        keys = AppCredentials(app_key=tenant, app_security="security")
        return EkbSession(keys, base_url=base_url, config=config)

    async with AsyncExitStack() as opened:
        pool = await opened.enter_async_context(TenantSessions(session_for_tenant))
        tenants = [await opened.enter_async_context(pool.session(f"tenant {n}")) for n in range(load.tenants)]

        async def call(n: int) -> object:
            session = tenants[n % load.tenants]
            return verified_values(await session.verify(_file_url(n), staff_id=_STAFF))

        return await _measure(load, call)


def _contestant(
    name: str, run: Callable[[Load, str], Awaitable[Figures]], cases: tuple[str, ...] = ()
) -> Contestant[Load]:
    async def main(load: Load, base_url: str) -> Figures:
        return await run(load, base_url)

    return Contestant(name, lambda load, base_url: asyncio.run(main(load, base_url)), cases)


def serve(_: Load) -> AbstractAsyncContextManager[Served]:
    return canned_vendor(latency=0)


_ONE, _SEVERAL, _TENANTS = "verify", "verify, 32 at a time", "verify, 1,000 tenants"


def _most_times_bare(case: str, at_most: float) -> Goal:
    return Goal(
        says=f"{case}: at most {at_most} times the CPU of bare aiohttp + msgspec",
        value=lambda results: 1 / results.ratio(case, "cpu", of="aiohttp + msgspec"),
        at_most=at_most,
    )


def _less_than_usual(case: str) -> Goal:
    return Goal(
        says=f"{case}: less CPU than aiohttp + json with a time limit and retries: theirs by ours",
        value=lambda results: results.ratio(case, "cpu", of="aiohttp + json + backoff"),
        at_least=1,
    )


BENCHMARK = Benchmark(
    name="call",
    title="one verifying call",
    figures=(Figure("cpu", "CPU, µs per call", 0), Figure("wall", "time, µs per call", 0)),
    cases=(
        Case(_ONE, Load(warm_up=200, calls=500), Load(warm_up=2, calls=5)),
        Case(
            _SEVERAL,
            Load(warm_up=640, calls=1600, in_flight=32),
            Load(warm_up=2, calls=64, in_flight=32),
        ),
        Case(
            _TENANTS,
            Load(warm_up=3000, calls=3000, in_flight=1000, tenants=1000),
            Load(warm_up=2, calls=20, in_flight=10, tenants=10),
            rounds=3,
        ),
    ),
    contestants=(
        _contestant("ekb_async", ours),
        _contestant("aiohttp + msgspec", bare),
        _contestant("aiohttp + json + backoff", usual),
        # Its pool takes seconds with so many connections.
        _contestant("httpx + pydantic", httpx_and_pydantic, (_ONE, _SEVERAL)),
    ),
    goals=(
        _most_times_bare(_ONE, 1.2),
        _most_times_bare(_SEVERAL, 1.6),
        _less_than_usual(_ONE),
        _less_than_usual(_SEVERAL),
        _less_than_usual(_TENANTS),
        Goal(
            says="httpx + pydantic takes at least 5 times the CPU",
            value=lambda results: results.ratio(_ONE, "cpu", of="httpx + pydantic"),
            at_least=5,
        ),
    ),
    serve=serve,
    drawn=("cpu",),
)
