"""Spans and metrics of sessions for OpenTelemetry. Needs the extra `otel`.

A job is a span from its submission to its end, under the span that was current when it was submitted. Its attempts on
the network are spans under it, so the time before the first attempt is the time it waited. Requests that serve many
callers at once (for tokens, for many IDs, for files of the queue) have no parent: each begins a trace.

Attempts follow the semantic conventions for HTTP clients. Their URLs have no query, which would hold the token and
signatures, and only the type of an error is recorded, since its text is not masked yet at this point. The masked text
is on the job's span, as the session raises it. The vendor may send an error with status 200, so each reply is decoded
once more here to find its error type. Other instrumentation of the HTTP client is suppressed meanwhile: it would record
each request again, with its whole URL.

Metrics are those of `EkbSession.metrics`, with the call as an attribute. Sessions that have all attributes in common
are added up, closed ones included, so that counters never fall; of a value that cannot be added up (a wait, a share)
the largest is reported. Exporters collect them in threads of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from yarl import URL

import ekb_async
from ekb_async.client.transport import Reply, Transport
from ekb_async.errors import ConfigError, EkbError
from ekb_async.protocol import endpoints
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import read_reply
from ekb_async.queue.jobs import Job, JobState, Mark, Owner
from ekb_async.queue.paced import Order
from ekb_async.session.engine import Engine
from ekb_async.session.metrics import flat_metrics
from ekb_async.session.session import EkbSession

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, Context
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation
    from opentelemetry.trace import SpanKind, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise ConfigError(
        f'OpenTelemetry needs a library that is not installed ({error}): pip install "ekb-async[otel]"'
    ) from None

S = TypeVar("S", bound=EkbSession)
T = TypeVar("T")

Attributes = dict[str, str | int]
Key = tuple[tuple[str, str | int], ...]
"""Attributes that sessions may have in common."""

__all__ = ["Telemetry"]

_SHARED = frozenset(
    call.name
    for call in (
        *(endpoints.TOKEN, endpoints.REFRESH),
        *(endpoints.INVOICE_URLS, endpoints.DETAILS, endpoints.DETAILS_MANY),
    )
)
# A token takes milliseconds, a verification seconds, and an attempt may take a minute.
_DURATION_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 30, 60)


class _Measure(NamedTuple):
    """A number of `EkbSession.metrics` as an instrument: a count of events, of things present, or a state."""

    kind: Literal["counter", "level", "state"]
    unit: str
    description: str
    name: str = ""


_MEASURES = {
    "queued": _Measure("level", "{job}", "Jobs that wait for a slot."),
    "running": _Measure("level", "{request}", "Calls on the network now."),
    "sent": _Measure("counter", "{request}", "Attempts sent to the vendor."),
    "succeeded": _Measure("counter", "{job}", "Jobs that ended with a result."),
    "failed": _Measure("counter", "{job}", "Jobs that failed for good."),
    "maybe_billed": _Measure("counter", "{request}", "Attempts made again after an answer was lost."),
    "throttled": _Measure("counter", "{request}", "Attempts refused because of the rate limit."),
    "utilisation": _Measure("state", "1", "Share of the slots used since the first use."),
    "interval_seconds": _Measure("state", "s", "Time from one start to the next, margin included.", "interval"),
    "wait_seconds": _Measure("state", "s", "Estimated time until the next slot opens.", "wait"),
    "duration_seconds": _Measure("state", "s", "Duration of recent calls.", "duration"),
    "keys": _Measure("counter", "{id}", "IDs sent."),
    "requests": _Measure("counter", "{request}", "Requests that carried the IDs."),
    "mean_batch": _Measure("state", "{id}", "IDs per request."),
}
_COUNTERS = frozenset(name for name, measure in _MEASURES.items() if measure.kind == "counter")


class Telemetry:
    """Reports any number of sessions to OpenTelemetry; a process needs one.

    The providers are the global ones unless given.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        version = ekb_async.__version__
        self._tracer = trace.get_tracer("ekb_async", version, tracer_provider)
        meter = metrics.get_meter("ekb_async", version, meter_provider)
        self._durations = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS_SECONDS,
        )
        self._totals = _Totals(meter)

    def instrument(self, session: S, *, tenant: str | None = None) -> S:
        """Report a session from its first use until it is closed, and return it.

        `tenant` becomes the attribute `ekb.tenant` of all spans and metrics, beside the address of the platform. Raises
        `ConfigError` if the session has been used or closed already.
        """
        tenant_attributes: Attributes = {} if tenant is None else {"ekb.tenant": tenant}
        session.observe(_Observed(self._tracer, self._durations, self._totals, session.base_url, tenant_attributes))
        return session


class _Observed:
    """An observer of one session."""

    def __init__(
        self, tracer: Tracer, durations: Histogram, totals: _Totals, base_url: str, tenant_attributes: Attributes
    ) -> None:
        self.tracer = tracer
        self.durations = durations
        self.base_url = base_url
        self.tenant_attributes = tenant_attributes
        self.attributes = {**_server(URL(base_url)), **tenant_attributes}
        self._totals = totals
        self._engine: Engine | None = None

    def transport(self, inner: Transport) -> Transport:
        return _TracedTransport(inner, self)

    def opened(self, engine: Engine) -> None:
        self._engine = engine
        self._totals.add(engine, self.attributes)
        for call, queue in engine.paced.items():
            queue.job_type = functools.partial(_TracedJob, self, call)

    def closed(self) -> None:
        if self._engine is not None:
            self._totals.retire(self._engine)


class _TracedJob(Job[T]):
    """A job with a span, the parent of the spans of its attempts."""

    __slots__ = ("_span",)

    def __init__(
        self, observed: _Observed, call: str, owner: Owner, order: Order[T], key: tuple[int, int], mark: Mark | None
    ) -> None:
        super().__init__(owner, order, key, mark)
        self._span = observed.tracer.start_span(f"ekb {call}", attributes={**observed.attributes, "ekb.call": call})
        order.request = functools.partial(_request_within, trace.set_span_in_context(self._span), order.request)

    def _end(self, state: JobState) -> None:
        if not self.ended:
            self._span.set_attributes(
                {"ekb.state": state, "ekb.attempts": self.attempts, "ekb.maybe_billed": self.maybe_billed}
            )
            if self._error is not None:
                self._span.set_attribute("error.type", _type_name(self._error))
                # Only the texts of the session's own errors are masked.
                text = str(self._error) if isinstance(self._error, EkbError) else None
                self._span.set_status(StatusCode.ERROR, text)
            self._span.end()
        super()._end(state)


def _request_within(parent: Context, request: Callable[[str], Request[T]], url: str) -> Request[T]:
    # This runs in the task of the job, so the context need not be detached.
    context.attach(parent)
    return request(url)


class _Answer(msgspec.Struct):
    """How a request ended: the status, if there is one, and the type of the error, if there is one."""

    status: int | None = None
    error: str | None = None

    @property
    def attributes(self) -> Attributes:
        status: Attributes = {} if self.status is None else {"http.response.status_code": self.status}
        return status if self.error is None else {**status, "error.type": self.error}


class _TracedTransport:
    """A transport whose attempts are spans."""

    def __init__(self, inner: Transport, observed: _Observed) -> None:
        self._inner = inner
        self._observed = observed
        self.proxy = getattr(inner, "proxy", "")

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        call = request.endpoint
        path = call.path.format("{invoiceId}")
        facts: Attributes = {"http.request.method": "POST", "url.template": path, "ekb.call": call.name}
        parent = Context() if call.name in _SHARED else context.get_current()
        with self._exchange(f"POST {path}", facts, self._observed.base_url + request.path, parent) as answer:
            reply = await self._inner.send(request, token=token, timeout=timeout, on_sent=on_sent)
            answer.status = reply.status
            answer.error = _error_in(request, reply)
        return reply

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        facts: Attributes = {"http.request.method": "GET", "ekb.call": "download"}
        with self._exchange("GET", facts, url, context.get_current()) as answer:
            reply = await self._inner.download(url, timeout=timeout, write=write)
            answer.status = reply.status
            answer.error = None if reply.status == 200 else str(reply.status)
        return reply

    async def close(self) -> None:
        try:
            await self._inner.close()
        finally:
            self._observed.closed()

    @contextlib.contextmanager
    def _exchange(self, name: str, facts: Attributes, url: str, parent: Context) -> Iterator[_Answer]:
        """Record a span under that of `parent`, and a duration; the caller sets the status and error of the answer."""
        observed = self._observed
        facts = {**facts, **observed.tenant_attributes}
        full_url: Attributes = {}
        if (location := _without_secrets(url)) is not None:
            facts |= _server(location)
            full_url = {"url.full": str(location)}
        span = observed.tracer.start_span(name, parent, SpanKind.CLIENT, {**facts, **full_url})
        within = trace.set_span_in_context(span, parent)
        answer = _Answer()
        now = asyncio.get_running_loop().time
        began = now()
        token = context.attach(context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, within))
        try:
            yield answer
        except BaseException as error:
            answer.error = _type_name(error)
            raise
        finally:
            context.detach(token)
            observed.durations.record(now() - began, {**facts, **answer.attributes}, within)
            span.set_attributes(answer.attributes)
            if answer.error is not None:
                span.set_status(StatusCode.ERROR)
            span.end()


class _Totals:
    """The metrics of all sessions, for exporters to collect."""

    def __init__(self, meter: Meter) -> None:
        self._lock = threading.Lock()
        self._live: WeakKeyDictionary[Engine, Key] = WeakKeyDictionary()
        self._past: dict[Key, Counter[str]] = {}
        make: dict[str, Callable[..., object]] = {
            "counter": meter.create_observable_counter,
            "level": meter.create_observable_up_down_counter,
            "state": meter.create_observable_gauge,
        }
        for name, measure in _MEASURES.items():
            collect = functools.partial(self._collect, name, max if measure.kind == "state" else sum)
            make[measure.kind](f"ekb.{measure.name or name}", [collect], measure.unit, measure.description)

    def add(self, engine: Engine, attributes: Attributes) -> None:
        with self._lock:
            self._live[engine] = tuple(attributes.items())

    def retire(self, engine: Engine) -> None:
        """Remove a closed session; what it has counted stays."""
        counted = {name: n for name, n in flat_metrics(engine).items() if name.partition(".")[2] in _COUNTERS}
        with self._lock:
            if (key := self._live.pop(engine, None)) is not None:
                self._past.setdefault(key, Counter()).update(counted)

    def _collect(
        self, measure: str, merged: Callable[[list[float]], float], _options: CallbackOptions
    ) -> list[Observation]:
        with self._lock:
            counted: list[tuple[Key, Mapping[str, float]]] = [(key, Counter(past)) for key, past in self._past.items()]
            live = list(self._live.items())
        counted += [(key, flat_metrics(engine)) for engine, key in live]
        values: dict[tuple[Key, str], list[float]] = {}
        for key, numbers in counted:
            for name, value in numbers.items():
                call, _, what = name.partition(".")
                if what == measure:
                    values.setdefault((key, call), []).append(value)
        return [Observation(merged(each), {**dict(key), "ekb.call": call}) for (key, call), each in values.items()]


def _server(url: URL) -> Attributes:
    return {"server.address": url.host or "", "server.port": url.port or 0}


def _without_secrets(url: str) -> URL | None:
    """Return the URL without its secrets; None if no request could be sent to it."""
    try:
        location = URL(url, encoded=True)
        if location.scheme in {"http", "https"} and location.host and location.port:
            return location.with_user(None).with_query(None).with_fragment(None)
    except ValueError:
        pass
    return None


def _error_in(request: Request[object], reply: Reply) -> str | None:
    try:
        read_reply(request, reply.status, reply.headers, reply.body, problem=reply.problem)
    except EkbError as error:
        return _type_name(error)
    return None


def _type_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
