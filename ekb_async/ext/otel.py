"""Spans and metrics of sessions, and metrics of backlogs, for OpenTelemetry. Needs the extra `otel`.

A job is a span from its submission to its end, under the span that was current when it was submitted. Its attempts on
the network are spans under it, so the time before the first attempt is the time it waited. Requests that serve many
callers at once (for tokens, for many IDs, for files of the queue) have no parent: each begins a trace.

Attempts follow the semantic conventions for HTTP clients. Their URLs have no query, which would hold the token and
signatures. Other instrumentation of the HTTP client is suppressed meanwhile: it would record each request again, with
its whole URL.

Metrics are those of `EkbSession.metrics`, with the call as an attribute. Sessions that have all attributes in common
are added up, closed ones included, so that counters never fall; of a value that cannot be added up (a wait, a share)
the largest is reported. Exporters collect them in threads of their own.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from yarl import URL

import ekb_async
from ekb_async.client.hooks import Attempt, Hooks
from ekb_async.errors import ConfigError, EkbError
from ekb_async.protocol import endpoints
from ekb_async.queue.jobs import Job
from ekb_async.session.session import EkbSession

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, Context
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation
    from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise ConfigError(
        f'OpenTelemetry needs a library that is not installed ({error}): pip install "ekb-async[otel]"'
    ) from None

from ekb_async.ext.otel_backlogs import BacklogTelemetry

S = TypeVar("S", bound=EkbSession)

Attributes = dict[str, str | int]
Key = tuple[tuple[str, str | int], ...]
"""Attributes that sessions may have in common."""

__all__ = ["BacklogTelemetry", "Telemetry"]

_SHARED = frozenset(
    call.name
    for call in (
        *(endpoints.TOKEN, endpoints.REFRESH),
        *(endpoints.INVOICE_URLS, endpoints.DETAILS, endpoints.DETAILS_MANY),
        *(*endpoints.LEDGER.values(), endpoints.STAFF),
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
    "margin_seconds": _Measure("state", "s", "Time added between two starts against jitter.", "margin"),
    "refused_margin_seconds": _Measure(
        "state", "s", "The same when a call was last refused for its rate.", "refused_margin"
    ),
    "answer_deviation_seconds": _Measure(
        "state", "s", "How much successive answers differ in time.", "answer_deviation"
    ),
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
        attributes = {**_server(URL(session.base_url)), **tenant_attributes}
        begin = functools.partial(self._totals.add, session, attributes)
        session.observe(
            _SessionSpans(self._tracer, self._durations, session.base_url, attributes, tenant_attributes, begin)
        )
        return session


class _Exchange(NamedTuple):
    """An attempt in progress."""

    span: Span
    within: Context
    facts: Attributes
    began: float
    reset: Callable[[], None]
    """Restores the context from before the attempt."""


class _SessionSpans(Hooks):
    """The hooks that record the spans and durations of one session."""

    def __init__(
        self,
        tracer: Tracer,
        durations: Histogram,
        base_url: str,
        attributes: Attributes,
        tenant_attributes: Attributes,
        begin: Callable[[], None],
    ) -> None:
        self._tracer = tracer
        self._durations = durations
        self._base_url = base_url
        self._attributes = attributes
        self._tenant_attributes = tenant_attributes
        self._begin: Callable[[], None] | None = begin
        """Called with the first event; None after that."""
        self._jobs: dict[object, Span] = {}
        self._exchanges: dict[Attempt[Any], _Exchange] = {}

    def queued(self, job: Job[Any]) -> None:
        self._note_use()
        attributes = {**self._attributes, "ekb.call": job.call}
        self._jobs[job] = self._tracer.start_span(f"ekb {job.call}", attributes=attributes)

    def ended(self, job: Job[Any]) -> None:
        span = self._jobs.pop(job)
        span.set_attributes(
            {"ekb.state": job.state, "ekb.attempts": job.attempts, "ekb.maybe_billed": job.maybe_billed}
        )
        if (error := job.error) is not None:
            span.set_attribute("error.type", _type_name(error))
            # Only the texts of the package's own errors are masked.
            span.set_status(StatusCode.ERROR, str(error) if isinstance(error, EkbError) else None)
        span.end()

    def attempt_started(self, attempt: Attempt[Any]) -> None:
        self._note_use()
        facts: Attributes = {"ekb.call": attempt.call, **self._tenant_attributes}
        facts["http.request.method"] = attempt.method
        if attempt.path:
            facts["url.template"] = attempt.path.format("{invoiceId}")
        parent = Context() if attempt.call in _SHARED else context.get_current()
        if (job := self._jobs.get(attempt.job)) is not None:
            parent = trace.set_span_in_context(job, parent)
        full_url: Attributes = {}
        if (location := _without_secrets(attempt.url or f"{self._base_url}{attempt.address}")) is not None:
            facts |= _server(location)
            full_url = {"url.full": str(location)}
        name = f"{attempt.method} {facts.get('url.template', '')}".rstrip()
        span = self._tracer.start_span(name, parent, SpanKind.CLIENT, {**facts, **full_url})
        within = trace.set_span_in_context(span, parent)
        token = context.attach(context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, within))
        reset = functools.partial(context.detach, token)
        self._exchanges[attempt] = _Exchange(span, within, facts, time.monotonic(), reset)

    def attempt_ended(self, attempt: Attempt[Any]) -> None:
        span, within, facts, began, reset = self._exchanges.pop(attempt)
        reset()
        answer: Attributes = {} if attempt.status is None else {"http.response.status_code": attempt.status}
        if attempt.error is not None:
            answer["error.type"] = _type_name(attempt.error)
            span.set_status(StatusCode.ERROR)
        self._durations.record(time.monotonic() - began, {**facts, **answer}, within)
        span.set_attributes(answer)
        span.end()

    def _note_use(self) -> None:
        if self._begin is not None:
            self._begin()
            self._begin = None


class _Totals:
    """The metrics of all sessions, for exporters to collect."""

    def __init__(self, meter: Meter) -> None:
        self._lock = threading.Lock()
        self._live: dict[EkbSession, Key] = {}
        self._past: dict[Key, Counter[str]] = {}
        make: dict[str, Callable[..., object]] = {
            "counter": meter.create_observable_counter,
            "level": meter.create_observable_up_down_counter,
            "state": meter.create_observable_gauge,
        }
        for name, measure in _MEASURES.items():
            collect = functools.partial(self._collect, name, max if measure.kind == "state" else sum)
            make[measure.kind](f"ekb.{measure.name or name}", [collect], measure.unit, measure.description)

    def add(self, session: EkbSession, attributes: Attributes) -> None:
        with self._lock:
            self._retire_ended()
            self._live[session] = tuple(attributes.items())

    def _retire_ended(self) -> None:
        """Replace sessions that have ended by what they counted, so that counters never fall."""
        for session in [session for session in self._live if session.closed]:
            numbers = _numbers(session)
            if not any(n for name, n in numbers.items() if name.endswith((".queued", ".running"))):
                key = self._live.pop(session)
                counted = {name: n for name, n in numbers.items() if name.partition(".")[2] in _COUNTERS}
                self._past.setdefault(key, Counter()).update(counted)

    def _collect(
        self, measure: str, merged: Callable[[list[float]], float], _options: CallbackOptions
    ) -> list[Observation]:
        with self._lock:
            self._retire_ended()
            counted: list[tuple[Key, Mapping[str, float]]] = [(key, Counter(past)) for key, past in self._past.items()]
            live = list(self._live.items())
        counted += [(key, _numbers(session)) for session, key in live]
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


def _numbers(session: EkbSession) -> Mapping[str, float]:
    return session.metrics() if session.used else {}


def _type_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
