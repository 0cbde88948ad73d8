"""A service with the metrics of its session for Prometheus: python monitored.py"""

import os
from collections.abc import AsyncIterator, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ekb_async import EkbSession, MachinePace

EKB = web.AppKey("ekb", EkbSession)
REGISTRY = web.AppKey("registry", CollectorRegistry)
COUNTERS = {"sent", "succeeded", "failed", "maybe_billed", "throttled", "keys", "requests"}


class SessionCollector(Collector):
    """The figures of a session, with the call as a label: `ekb_sent_total{call="ocr"} 17`."""

    def __init__(self, ekb: EkbSession) -> None:
        self._ekb = ekb

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for name, value in self._ekb.metrics().items():
            call, _, figure = name.rpartition(".")
            family = CounterMetricFamily if figure in COUNTERS else GaugeMetricFamily
            if figure not in families:
                families[figure] = family(f"ekb_{figure}", f"{figure} of a session of ekb_async", labels=["call"])
            families[figure].add_metric([call], value)
        yield from families.values()


async def ekb_session(app: web.Application) -> AsyncIterator[None]:
    async with EkbSession.from_env(pacer=MachinePace()) as app[EKB]:
        app[REGISTRY].register(SessionCollector(app[EKB]))
        yield


async def recognise(request: web.Request) -> web.Response:
    return web.json_response((await request.app[EKB].ocr(await request.text())).to_dict())


async def metrics(request: web.Request) -> web.Response:
    return web.Response(
        body=generate_latest(request.app[REGISTRY]), headers={"Content-Type": "text/plain; version=0.0.4"}
    )


app = web.Application()
app[REGISTRY] = CollectorRegistry()
app.cleanup_ctx.append(ekb_session)
app.add_routes([web.post("/ocr", recognise), web.get("/metrics", metrics)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
