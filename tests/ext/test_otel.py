"""OpenTelemetry: the parents of spans, their attributes, and the secrets that they never contain."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from ekb_async import (
    AppCredentials,
    Attachment,
    ConfigError,
    EkbError,
    EkbSession,
    RecognitionError,
    SessionConfig,
)
from ekb_async.ext.otel import Telemetry
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply
from ekb_async.redaction.signed_urls import query_values
from ekb_async.sandbox import Fault, Sandbox
from ekb_async.sandbox.vendor.vendor import Vendor
from ekb_async.simulation import InMemoryTransport
from tests.conftest import FAST
from tests.support.elsewhere import send_to
from tests.support.raw_server import server

OCR_PATH = "/api/openapi/v2/invoice/processImageByFileUrl"
SECRET = "5ecret-of-the-app"
SIGNED = "https://files.example/a.png?Expires=1&OSSAccessKeyId=STS.key&Signature=5ignature%3D&token=t0ken"


class Exported:
    """Telemetry that exports into memory."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.providers = (tracers, MeterProvider([self._reader]))
        self.tracer = tracers.get_tracer("caller")
        self.telemetry = Telemetry(tracer_provider=tracers, meter_provider=self.providers[1])

    def session(self, box: Sandbox, tenant: str | None = None, **config: Any) -> EkbSession:
        settings = SessionConfig(**{**FAST, **config})
        session = EkbSession(box.credentials, base_url=box.base_url, config=settings)
        return self.telemetry.instrument(session, tenant=tenant)

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the spans that have ended, by a part of their names."""
        return [span for span in self._spans.get_finished_spans() if name in span.name]

    def points(self, metric: str) -> list[NumberDataPoint | HistogramDataPoint]:
        found = []
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                found += [point for each in scope.metrics if each.name == metric for point in each.data.data_points]
        return found  # type: ignore[return-value]  # no metric here is an exponential histogram

    def numbers(self, metric: str, **attributes: str) -> list[float]:
        """Return the values of a metric that have these attributes (`_` stands for a full stop)."""
        wanted = {name.replace("_", "."): value for name, value in attributes.items()}
        points = [point for point in self.points(metric) if wanted.items() <= (point.attributes or {}).items()]
        return [point.value for point in points if isinstance(point, NumberDataPoint)]

    def text(self) -> str:
        """Return everything that was exported, as one text."""
        data = self._reader.get_metrics_data()
        spans = [span.to_json() for span in self._spans.get_finished_spans()]
        return "\n".join([*spans, data.to_json() if data is not None else ""])


@pytest.fixture
def exported() -> Iterator[Exported]:
    made = Exported()
    yield made
    for provider in made.providers:
        provider.shutdown()


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def is_under(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return parent.context is not None and parent_of(span) == parent.context.span_id


async def test_a_job_is_a_child_of_the_submitting_span(exported: Exported) -> None:
    """Each job is a child of the span it was submitted in, and its attempt a child of the job, however long it waited
    and whatever else was queued; requests that prepare files for the queue have no parent."""
    async with Sandbox(ocr_rate=0) as box, exported.session(box, ocr_rate=50) as ekb:
        attachment = await ekb.upload(b"\x89PNG\r\n\x1a\n", "a.png")

        async def request(n: int) -> int:
            with exported.tracer.start_as_current_span(f"request {n}") as span:
                await ekb.ocr(attachment if n == 0 else f"https://files.example/{n}.png")
            return span.get_span_context().span_id

        callers = await asyncio.gather(*(request(n) for n in range(5)))
    jobs, attempts = exported.spans("ekb ocr"), exported.spans(f"POST {OCR_PATH}")
    assert sorted(map(parent_of, jobs), key=str) == sorted(callers, key=str)
    assert len(attempts) == 5
    for job in jobs:
        [attempt] = [each for each in attempts if is_under(each, job)]
        assert attempt.kind is SpanKind.CLIENT
        assert [attributes_of(job)[f"ekb.{name}"] for name in ("call", "state", "attempts")] == ["ocr", "done", 1]
        assert job.start_time is not None
        assert attempt.start_time is not None
        assert job.start_time <= attempt.start_time
    [staging] = exported.spans("attachment/downloadurls")
    assert parent_of(staging) is None


async def test_calls_without_a_queue(exported: Exported) -> None:
    """A call for one caller is a child of the caller's span; a request shared by many begins a trace."""
    async with Sandbox() as box, exported.session(box) as ekb:
        with exported.tracer.start_as_current_span("request") as caller:
            await ekb.flow_invoices(codes=["B1"])
            await asyncio.gather(ekb.invoice_url("c:1:1"), ekb.invoice_details("c:1:1"))
    [search] = exported.spans("flow/INVOICE/search")
    assert parent_of(search) == caller.get_span_context().span_id
    for name in ("auth/getAccessToken", "extension/INVOICE/url", "invoice/detailBatch"):
        [shared] = exported.spans(name)
        assert parent_of(shared) is None


async def test_an_attempt_by_the_conventions(exported: Exported) -> None:
    """Attempts have the attributes of the semantic conventions for HTTP clients, their durations too."""
    async with Sandbox(detail_batch=False) as box, exported.session(box, tenant="acme") as ekb:
        await ekb.invoice_details("c:1:1")
        port = int(box.base_url.rpartition(":")[2])
        url = f"{box.base_url}/api/openapi/v2/extension/INVOICE/object/invoice/c:1:1/detail"
    common = {
        "http.request.method": "POST",
        "url.template": "/api/openapi/v2/extension/INVOICE/object/invoice/{invoiceId}/detail",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
        "ekb.call": "invoice_details",
        "ekb.tenant": "acme",
    }
    [span] = exported.spans("/{invoiceId}/detail")
    assert attributes_of(span) == common | {"url.full": url}
    assert span.status.status_code is StatusCode.UNSET
    points = [point for point in exported.points("http.client.request.duration") if point.attributes == common]
    assert len(points) == 1
    assert isinstance(points[0], HistogramDataPoint)
    assert (points[0].count, max(points[0].explicit_bounds)) == (1, 60)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault.answer(429, "请求过于频繁", times=1), 429, "ThrottledError"),
        (Fault.error_in_200(times=1), 200, "ServerError"),
        (Fault.gateway_page(times=1), 502, "ServerError"),
        (Fault.answer(302, headers={"Location": "http://127.0.0.1:9/"}, times=1), 302, "ApiError"),
        (Fault.not_json(times=1), 200, "ResponseError"),
        (Fault.lost_answer(times=1), None, "EkbConnectionError"),
        (Fault.delay(0.5, times=1), None, "EkbTimeoutError"),
    ],
)
async def test_a_failed_attempt(exported: Exported, fault: Fault, status: int | None, kind: str) -> None:
    """A failed attempt has its error type, whatever the status; the next attempt is another child of the job."""
    async with Sandbox(ocr_rate=0) as box, exported.session(box, request_timeout=0.2) as ekb:
        await ekb.ocr("https://files.example/a.png")
        box.faults.append(fault)
        with suppress(EkbError):
            await ekb.ocr("https://files.example/b.png")
    failed, *_ = [span for span in exported.spans(OCR_PATH) if "error.type" in attributes_of(span)]
    assert attributes_of(failed)["error.type"] == f"ekb_async.errors.{kind}"
    assert attributes_of(failed).get("http.response.status_code") == status
    assert failed.status.status_code is StatusCode.ERROR
    job = exported.spans("ekb ocr")[-1]
    children = [span for span in exported.spans(OCR_PATH) if is_under(span, job)]
    assert len(children) == attributes_of(job)["ekb.attempts"]
    assert failed in children


async def test_a_failed_job(exported: Exported) -> None:
    """A failed job has the text of its error; a job that was never sent ends too, and has no attempt."""
    trouble = Fault.answer(400, "识别失败", calls="ocr", times=1)
    async with Sandbox(ocr_rate=0, faults=[trouble]) as box, exported.session(box, ocr_rate=1.0) as ekb:
        with pytest.raises(RecognitionError) as refused:
            await ekb.ocr("https://files.example/a.png")
        ekb.submit_ocr("https://files.example/b.png").cancel()
        ekb.submit_ocr("https://files.example/c.png")
    first, cancelled, closed = exported.spans("ekb ocr")
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, str(refused.value))
    assert attributes_of(first)["error.type"] == "ekb_async.errors.RecognitionError"
    assert (attributes_of(cancelled)["ekb.state"], cancelled.status.status_code) == ("cancelled", StatusCode.UNSET)
    assert (attributes_of(closed)["ekb.state"], attributes_of(closed)["ekb.attempts"]) == ("failed", 0)
    assert attributes_of(closed)["error.type"] == "ekb_async.errors.SessionClosedError"
    assert len(exported.spans(OCR_PATH)) == 1


async def test_a_download(exported: Exported, tmp_path: Path) -> None:
    """Each attempt to fetch a file is a span with its host and path, under the caller's span."""
    faults = [Fault.answer(503, calls="file", times=1), Fault.cut_off(calls="file", times=1)]
    async with Sandbox(faults=faults) as box, exported.session(box) as ekb:
        with exported.tracer.start_as_current_span("request") as caller:
            assert [each.error async for each in ekb.download_invoices(["c:1:1"], tmp_path)] == [None]
        base_url = box.base_url
    attempts = exported.spans("GET")
    assert [attributes_of(each).get("error.type") for each in attempts] == [
        "ekb_async.errors.ServerError",
        "ekb_async.errors.ResponseError",
        None,
    ]
    for attempt in attempts:
        assert parent_of(attempt) == caller.get_span_context().span_id
        assert attributes_of(attempt)["url.full"].startswith(f"{base_url}/files/")
        assert "?" not in attributes_of(attempt)["url.full"]


async def run_into_everything(ekb: EkbSession, box: Sandbox, directory: Path) -> list[str]:
    """Make calls of all kinds, and return the secrets in the vendor's answers."""
    links = await asyncio.gather(*(ekb.invoice_url(f"c:1:{n}") for n in range(10)), return_exceptions=True)
    attachments: list[Attachment | BaseException] = await asyncio.gather(
        *(ekb.upload(f"{n}".encode(), f"{n}.png") for n in range(5)), return_exceptions=True
    )
    known = [each for each in attachments if isinstance(each, Attachment)]
    work: list[Awaitable[object]] = [
        *(ekb.ocr(each) for each in known),
        *(ekb.ocr(f"{SIGNED}&n={n}") for n in range(20)),
        *(ekb.verify(f"{SIGNED}&n={n}", staff_id="c:s") for n in range(20)),
        ekb.invoice_details_many(["c:1:1"]),
        ekb.flow_invoices(codes=["B"]),
        ekb.download_urls(known),
    ]
    found = await asyncio.gather(*work, return_exceptions=True)
    box.revoke_tokens()
    await asyncio.gather(ekb.verify_by_id("c:1:1"), return_exceptions=True)
    async for _ in ekb.download_invoices([f"c:1:{n}" for n in range(5)], directory):
        pass
    urls = [link.url or "" for link in links if not isinstance(link, BaseException)]
    if isinstance(found[-1], dict):
        urls += [link.url for link in found[-1].values()]
    signatures = [value for url in urls for value in query_values(url) if not value.isdigit()]
    return [*signatures, *box.vendor.tokens.secrets]


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault.reset(rate=0.5)],
        [Fault.lost_answer(rate=0.5)],
        [Fault.cut_off(rate=0.5)],
        [Fault.gateway_page(rate=0.5)],
        [Fault.not_json(rate=0.5)],
        [Fault.delay(0.5, rate=0.3)],
        [Fault.answer(302, headers={"Location": SIGNED}, rate=0.5)],
        [Fault.answer(401, f"bad token {SECRET} in accessToken=ID01:zz {SIGNED}", rate=0.5)],
        [Fault.answer(400, f"cannot open {SIGNED}", calls=("ocr", "verify"))],
    ],
)
async def test_nothing_exported_contains_a_secret(
    exported: Exported, faults: list[Fault], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong, spans and metrics contain no token, secret, signature or complete query."""
    keys = AppCredentials(app_key="key", app_security=SECRET)
    config = SessionConfig(**{**FAST, "max_tries": 2, "request_timeout": 0.2})
    async with Sandbox(ocr_rate=0, verify_rate=0, app_key="key", app_security=SECRET, faults=faults) as box:
        session = EkbSession(keys, base_url=box.base_url, config=config)
        async with exported.telemetry.instrument(session, tenant="acme") as ekb:
            secrets = await run_into_everything(ekb, box, tmp_path)
    # Texts that quote a URL have this in place of its query.
    text = exported.text().replace("?***", "")
    assert len(exported.spans("ekb ocr")) >= 20
    for secret in (*secrets, SECRET, "5ignature", "t0ken", "STS.", "accessToken=ID", "?"):
        assert secret not in text, secret
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


async def test_a_redirected_download_shows_no_signature(
    exported: Exported, quick_box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the URL of a file nor the one it redirects to is recorded with its query."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    async with server(answer) as (there, _):

        async def redirect(_head: bytes, writer: asyncio.StreamWriter) -> None:
            location = f"{there}/b.pdf?Signature=5econd"
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())

        async with server(redirect) as (here, _), exported.session(quick_box) as ekb:
            send_to(quick_box, f"{here.replace('//', '//u5er:5irst@')}/a.pdf?Signature=5irst#5irst", monkeypatch)
            assert [each.error async for each in ekb.download_invoices(["c:1:1"], tmp_path)] == [None]
            [span] = exported.spans("GET")
            assert attributes_of(span)["url.full"] == f"{here}/a.pdf"
    assert "5irst" not in exported.text()
    assert "5econd" not in exported.text()


async def test_all_metrics_are_exported(exported: Exported) -> None:
    """Every number of `metrics()` is exported by an instrument, with its call as an attribute."""
    async with Sandbox(ocr_rate=0) as box, exported.session(box, ocr_rate=50) as ekb:
        await asyncio.gather(*(ekb.ocr(f"https://files.example/{n}.png") for n in range(3)), ekb.invoice_url("c:1:1"))
        for name, value in ekb.metrics().items():
            call, _, measure = name.partition(".")
            [number] = exported.numbers(f"ekb.{measure.removesuffix('_seconds')}", ekb_call=call)
            if measure != "wait_seconds":
                assert number == value, name


async def test_counters_outlive_sessions(exported: Exported, quick_box: Sandbox) -> None:
    """Sessions of one tenant are added up, closed ones included, and tenants are kept apart; a closed session is not
    kept in memory."""

    async def use(tenant: str) -> weakref.ref[EkbSession]:
        async with exported.session(quick_box, tenant) as ekb:
            await ekb.ocr("https://files.example/a.png")
        return weakref.ref(ekb)

    gone = [await use("acme"), await use("acme"), await use("other")]
    async with exported.session(quick_box, "acme") as ekb:
        await ekb.ocr("https://files.example/b.png")
        assert exported.numbers("ekb.sent", ekb_tenant="acme", ekb_call="ocr") == [3]
        assert exported.numbers("ekb.queued", ekb_tenant="acme", ekb_call="ocr") == [0]
        assert exported.numbers("ekb.queued", ekb_tenant="other") == []
    assert exported.numbers("ekb.sent", ekb_tenant="acme", ekb_call="ocr") == [3]
    assert exported.numbers("ekb.sent", ekb_tenant="other", ekb_call="ocr") == [1]
    gc.collect()
    assert [session() for session in gone] == [None, None, None]


@pytest.mark.slow
async def test_exporters_ask_from_threads(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    """Metrics are collected in a thread while calls are made and sessions come and go."""
    async with Sandbox(ocr_rate=0) as box:
        done = False

        def collect() -> list[float]:
            seen = []
            while not done:
                seen += exported.numbers("ekb.succeeded", ekb_call="ocr")
            return seen

        collecting = asyncio.create_task(asyncio.to_thread(collect))
        for _ in range(5):
            async with exported.session(box, max_running=50) as ekb:
                await asyncio.gather(*(ekb.ocr(f"https://files.example/{n}.png") for n in range(40)))
        done = True
        seen = await collecting
    assert seen == sorted(seen)
    assert exported.numbers("ekb.succeeded", ekb_call="ocr") == [200]
    assert not caplog.records


async def test_the_http_client_is_not_traced_again(exported: Exported) -> None:
    """Instrumentation of the HTTP client is suppressed, as it would export URLs with the token; that of callers stays
    active."""
    key = context._SUPPRESS_HTTP_INSTRUMENTATION_KEY
    suppressed = []

    class Watched(InMemoryTransport):
        async def send(
            self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
        ) -> Reply:
            suppressed.append(context.get_value(key))
            return await super().send(request, token=token, timeout=timeout, on_sent=on_sent)

    transport = Watched(vendor := Vendor())
    keys = AppCredentials(app_key=vendor.rules.app_key, app_security=vendor.rules.app_security)
    async with exported.telemetry.instrument(EkbSession(keys, transport=transport)) as ekb:
        await asyncio.gather(ekb.ocr("https://files.example/a.png"), ekb.flow_invoices(codes=["B"]))
    assert suppressed == [True, True, True]
    assert context.get_value(key) is None


async def test_only_an_unused_session_can_be_instrumented(exported: Exported, ekb: EkbSession) -> None:
    """A session in use is refused, since only a part of it could be reported."""
    with pytest.raises(ConfigError, match="used"):
        exported.telemetry.instrument(ekb)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry, importing the module raises an error that says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "ekb_async.ext.otel")
    with pytest.raises(ConfigError, match=r"ekb-async\[otel\]"):
        importlib.import_module("ekb_async.ext.otel")
