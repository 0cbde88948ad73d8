"""day: the work of a day at one request a second, on a clock that jumps.

80,000 files that the vendor has already are queued at once. A file's URL is valid for half an hour, a token for two
hours, and a call takes 3 s. The vendor is simulated by the sandbox's rules in memory, whose work is in both figures.
The peer is the minimum that gets through such a day: a loop that starts a task a second, without a queue to cancel
from, retries or any pace but its sleep, and with fixed intervals at which it renews URLs and tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures
from benchmarks.spending import spending

if TYPE_CHECKING:
    from ekb_async import AppCredentials, Attachment
    from ekb_async.simulation import InMemoryTransport

_AT_ONCE = 100
_INTERVAL = 1.01


@dataclass(frozen=True)
class Load:
    """The number of files to recognise."""

    jobs: int


async def session(transport: InMemoryTransport, keys: AppCredentials, files: list[Attachment]) -> int:
    """Queue all jobs at once."""
    from ekb_async import EkbSession, SessionConfig

    async with EkbSession(keys, config=SessionConfig(queue_size=len(files)), transport=transport) as ekb:
        jobs = [ekb.submit_ocr(file) for file in files]
        return sum([len((await job).invoices) > 0 for job in jobs])


async def bare_loop(transport: InMemoryTransport, keys: AppCredentials, files: list[Attachment]) -> int:
    """Start a task a second; fetch URLs for a hundred files at a time, and a token about every thousand seconds."""
    from ekb_async.protocol import endpoints

    async def token() -> str:
        request = endpoints.get_token(keys)
        reply = await transport.send(request, token=None, timeout=60, on_sent=_nothing)
        return request.endpoint.read(reply.body).access_token

    async def file_urls(part: list[Attachment], token: str) -> list[str]:
        request = endpoints.download_urls(part, 1800)
        reply = await transport.send(request, token=token, timeout=60, on_sent=_nothing)
        found = {each.id: each.url for each in request.endpoint.read(reply.body)}
        return [found[each.id] for each in part]

    async def recognise(url: str, token: str) -> bool:
        request = endpoints.ocr(url)
        reply = await transport.send(request, token=token, timeout=60, on_sent=_nothing)
        return reply.status == 200 and len(request.endpoint.read(reply.body).invoices) > 0

    tasks: list[asyncio.Task[bool]] = []
    current = ""
    for start in range(0, len(files), _AT_ONCE):
        if start % (10 * _AT_ONCE) == 0:
            current = await token()
        for url in await file_urls(files[start : start + _AT_ONCE], current):
            tasks.append(asyncio.create_task(recognise(url, current)))
            await asyncio.sleep(_INTERVAL)
    return sum(await asyncio.gather(*tasks))


def _nothing() -> None:
    pass


Work = Callable[["InMemoryTransport", "AppCredentials", "list[Attachment]"], Awaitable[int]]


def _contestant(name: str, work: Work) -> Contestant[Load]:
    def run(load: Load, _: str) -> Figures:
        from ekb_async import AppCredentials
        from ekb_async.sandbox.vendor.vendor import Vendor
        from ekb_async.simulation import InMemoryTransport, VirtualTimeLoop

        vendor = Vendor()
        keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
        files = [vendor.add_file(b"\x89PNG\r\n\x1a\n" + str(n).encode(), f"{n}.png") for n in range(load.jobs)]

        async def main() -> int:
            return await work(InMemoryTransport(vendor, latency=3.0), keys, files)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            with spending() as spent:
                recognised = runner.run(main())
            hours = runner.get_loop().time() / 3600
        return {"jobs": load.jobs / spent.wall, "hours": hours, "lost": load.jobs - recognised}

    return Contestant(name, run)


BENCHMARK = Benchmark(
    name="day",
    title="a simulated day of recognition",
    figures=(
        Figure("jobs", "simulated jobs per real second", 0),
        Figure("hours", "simulated hours"),
        Figure("lost", "calls lost", 0),
    ),
    cases=(Case("80,000 files", Load(jobs=80_000), Load(jobs=200), rounds=3),),
    contestants=(_contestant("ekb_async", session), _contestant("bare loop", bare_loop)),
    drawn=("jobs",),
)
