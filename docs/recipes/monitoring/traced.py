"""Verify the invoices of a folder, with traces and metrics sent by OTLP: python traced.py BACKLOG FOLDER STAFF"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ekb_async import EkbSession, MachinePace
from ekb_async.backlog import Backlog
from ekb_async.ext.otel import BacklogTelemetry, Telemetry


@contextmanager
def exporting() -> Iterator[MeterProvider]:
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    figures = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(figures)
    try:
        yield figures
    finally:
        traces.shutdown()
        figures.shutdown()


async def verify(figures: MeterProvider, database: str, folder: str, staff_id: str) -> None:
    telemetry = Telemetry()  # one in a process, for all its sessions
    async with (
        Backlog.open(database) as backlog,
        BacklogTelemetry(backlog, interval=15),
        telemetry.instrument(EkbSession.from_env(pacer=MachinePace()), tenant="acme") as ekb,
    ):
        await backlog.add_folder(folder, staff_id=staff_id)
        with trace.get_tracer("invoices").start_as_current_span("verify a folder"):
            await backlog.run(ekb)
        await asyncio.to_thread(figures.force_flush)  # a backlog is reported as long as it is open


if __name__ == "__main__":
    with exporting() as figures:
        asyncio.run(verify(figures, *sys.argv[1:]))
