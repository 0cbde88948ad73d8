"""fan-in: ten thousand tasks each look up the file of one invoice at the same moment.

The server takes 10 ms to answer, for any number of IDs. Contestants that send one request per ID have 100 in flight;
those that batch IDs have at most 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from benchmarks.canned_vendor import URLS_PATH, canned_vendor
from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal, Served
from benchmarks.spending import spending

_TOKEN = {"accessToken": "token"}
_IN_FLIGHT_SINGLY = 100
_IN_FLIGHT_BATCHED = 8
_BATCH = 100


class LookUp(NamedTuple):
    """How to look up an invoice ID, and how to get the URL from the answer."""

    ask: Callable[[str], Awaitable[Any]]
    url_of: Callable[[Any], str | None] = str


@dataclass(frozen=True)
class Load:
    """The number of look-ups, and the seconds until the server answers."""

    look_ups: int
    latency: float


@asynccontextmanager
async def aiohttp_singly(base_url: str) -> AsyncIterator[LookUp]:
    """One request per ID; the connector limits them to 100 at once."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=_IN_FLIGHT_SINGLY)
    async with aiohttp.ClientSession(base_url, connector=connector, raise_for_status=True) as http:

        async def look_up(invoice_id: str) -> str:
            async with http.post(URLS_PATH, params=_TOKEN, json={"invoiceId": [invoice_id]}) as reply:
                return str((await reply.json())["items"][0]["url"])

        yield LookUp(look_up)


@asynccontextmanager
async def httpx_singly(base_url: str) -> AsyncIterator[LookUp]:
    """One request per ID; a semaphore limits them to 100 at once, since a long queue makes the pool of httpx slow."""
    import httpx

    limits = httpx.Limits(max_connections=_IN_FLIGHT_SINGLY, max_keepalive_connections=_IN_FLIGHT_SINGLY)
    in_flight = asyncio.Semaphore(_IN_FLIGHT_SINGLY)
    async with httpx.AsyncClient(base_url=base_url, limits=limits, timeout=60) as http:

        async def look_up(invoice_id: str) -> str:
            async with in_flight:
                reply = await http.post(URLS_PATH, params=_TOKEN, json={"invoiceId": [invoice_id]})
            return str(reply.raise_for_status().json()["items"][0]["url"])

        yield LookUp(look_up)


@asynccontextmanager
async def dataloader(base_url: str) -> AsyncIterator[LookUp]:
    """A hundred IDs per request; the connector limits requests to 8 at once."""
    import aiohttp
    from aiodataloader import DataLoader

    connector = aiohttp.TCPConnector(limit=_IN_FLIGHT_BATCHED)
    async with aiohttp.ClientSession(base_url, connector=connector, raise_for_status=True) as http:

        async def load(invoice_ids: list[str]) -> list[str | None]:
            async with http.post(URLS_PATH, params=_TOKEN, json={"invoiceId": invoice_ids}) as reply:
                found = {item["id"]: item["url"] for item in (await reply.json())["items"]}
            return [found.get(invoice_id) for invoice_id in invoice_ids]

        loader: Any = DataLoader(load, max_batch_size=_BATCH)
        yield LookUp(loader.load)


@asynccontextmanager
async def ours(base_url: str) -> AsyncIterator[LookUp]:
    """The session, with 8 requests in flight instead of its 4."""
    from ekb_async import AppCredentials, EkbSession, SessionConfig

    keys = AppCredentials(app_key="key", app_security="security")
    config = SessionConfig(batch_size=_BATCH, batch_in_flight=_IN_FLIGHT_BATCHED)
    async with EkbSession(keys, base_url=base_url, config=config) as ekb:
        yield LookUp(ekb.invoice_url, attrgetter("url"))


async def _measure(load: Load, opened: AbstractAsyncContextManager[LookUp]) -> Figures:
    wanted = [f"corp:031001900204:{n:08d}" for n in range(load.look_ups)]
    async with opened as look_up:
        # Late imports and the first connection are not measured.
        await _caller(look_up, "corp:031001900204:first")
        with spending() as spent:
            found = await asyncio.gather(*[_caller(look_up, each) for each in wanted])
    if not all(url and each in url for each, url in zip(wanted, found, strict=True)):
        raise ValueError("a look-up got another one's answer")
    return {"cpu": spent.cpu * 1000, "wall": spent.wall * 1000}


async def _caller(look_up: LookUp, invoice_id: str) -> str | None:
    """Make one look-up; each runs in a task of its own, whatever kind of awaitable it is."""
    return look_up.url_of(await look_up.ask(invoice_id))


def _contestant(name: str, opened: Callable[[str], AbstractAsyncContextManager[LookUp]]) -> Contestant[Load]:
    return Contestant(name, lambda load, base_url: asyncio.run(_measure(load, opened(base_url))))


@asynccontextmanager
async def serve(load: Load) -> AsyncIterator[Served]:
    async with canned_vendor(load.latency) as served:

        def report() -> Figures:
            figures = served.report()
            return figures | {"requests": figures["requests"] - 1}  # the look-up before measuring began

        yield Served(served.base_url, report)


BENCHMARK = Benchmark(
    name="fan-in",
    title="10,000 look-ups of single IDs at the same moment",
    figures=(
        Figure("wall", "time, ms", 0),
        Figure("cpu", "CPU, ms", 0),
        Figure("requests", "requests", 0),
        Figure("in_flight", "in flight at most", 0),
    ),
    cases=(Case("look-ups", Load(look_ups=10_000, latency=0.01), Load(look_ups=200, latency=0.01), rounds=3),),
    contestants=(
        _contestant("ekb_async", ours),
        _contestant("aiodataloader", dataloader),
        _contestant("aiohttp", aiohttp_singly),
        _contestant("httpx", httpx_singly),
    ),
    goals=(
        Goal(
            says="at most 8 requests in flight",
            value=lambda results: results.ours("look-ups", "in_flight"),
            at_most=8,
        ),
        Goal(
            says="aiohttp makes at least 100 times as many requests",
            value=lambda results: results.ratio("look-ups", "requests", of="aiohttp"),
            at_least=100,
        ),
        Goal(
            says="aiohttp takes at least 10 times the CPU",
            value=lambda results: results.ratio("look-ups", "cpu", of="aiohttp"),
            at_least=10,
        ),
        Goal(
            says="aiohttp takes at least 5 times as long",
            value=lambda results: results.ratio("look-ups", "wall", of="aiohttp"),
            at_least=5,
        ),
        Goal(
            says="less CPU than aiodataloader: theirs by ours",
            value=lambda results: results.ratio("look-ups", "cpu", of="aiodataloader"),
            at_least=1,
        ),
    ),
    serve=serve,
    drawn=("wall", "cpu", "requests"),
)
