"""The series of metrics: their names, units and attributes, the same for Prometheus and OpenTelemetry.

All are gauges, also what has been billed: removing rows and purging calls lowers it. No attribute has more values than
`limits` allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ekb_async.backlog.metrics.figures import BacklogMetrics

Attributes = dict[str, str]


class Sample(NamedTuple):
    """A value of a series, for one set of attributes."""

    value: float
    attributes: Attributes


class Series(NamedTuple):
    """A series: its name as in OpenTelemetry, its unit there, its description, and its values in some figures."""

    name: str
    unit: str
    description: str
    samples: Callable[[BacklogMetrics], Iterable[Sample]]

    @property
    def prometheus_name(self) -> str:
        """The name as in Prometheus, which is also what its collectors make of the one in OpenTelemetry."""
        return self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")


def _by(attribute: str, counts: Mapping[Any, float]) -> Iterable[Sample]:
    return [Sample(count, {attribute: name}) for name, count in counts.items()]


def _calls(figures: BacklogMetrics) -> Iterable[Sample]:
    for state, kinds in figures.calls.items():
        yield from (Sample(calls, {"state": state, "kind": kind}) for kind, calls in kinds.items())


def _of_tenants(field: str) -> Callable[[BacklogMetrics], Iterable[Sample]]:
    """Return a function that finds the values of a field. A tenant may be called "(rest)", but has another `rest`."""

    def samples(figures: BacklogMetrics) -> Iterable[Sample]:
        for each in figures.top:
            yield Sample(getattr(each, field), {"tenant": each.tenant, "rest": "false"})
        if figures.others.tenants:
            yield Sample(getattr(figures.others, field), {"tenant": "(rest)", "rest": "true"})

    return samples


def _alone(value: Callable[[BacklogMetrics], float | None]) -> Callable[[BacklogMetrics], Iterable[Sample]]:
    def samples(figures: BacklogMetrics) -> Iterable[Sample]:
        found = value(figures)
        return [] if found is None else [Sample(found, {})]

    return samples


SERIES = (
    Series("ekb.backlog.calls", "{call}", "Calls by state and kind.", _calls),
    Series(
        "ekb.backlog.rows", "{row}", "Rows by state; several may share a call.", lambda each: _by("state", each.rows)
    ),
    Series(
        "ekb.backlog.waiting_calls",
        "{call}",
        "Pending calls that are not made for now, by reason.",
        lambda each: _by("reason", each.waiting),
    ),
    Series(
        "ekb.backlog.oldest_pending_age",
        "s",
        "Time since the oldest pending call was added.",
        _alone(lambda each: each.oldest_pending),
    ),
    Series(
        "ekb.backlog.oldest_ready_age",
        "s",
        "Time since the oldest call was added that is ready to be made.",
        _alone(lambda each: each.oldest_ready),
    ),
    Series(
        "ekb.backlog.in_flight_calls",
        "{call}",
        "Billed calls that were sent and are not answered, by kind.",
        lambda each: _by("kind", each.in_flight),
    ),
    Series(
        "ekb.backlog.billed_attempts",
        "{attempt}",
        "How often billed calls were sent and their outcome recorded, by kind.",
        lambda each: _by("kind", each.billed_attempts),
    ),
    Series(
        "ekb.backlog.maybe_billed_attempts",
        "{attempt}",
        "How often the answer to a billed call was lost, so that it may have been billed without a result.",
        _alone(lambda each: each.maybe_billed),
    ),
    Series(
        "ekb.backlog.failed_calls",
        "{call}",
        "Failed calls by the class of their error.",
        lambda each: _by("error", each.failed),
    ),
    Series(
        "ekb.backlog.unconfirmed_calls",
        "{call}",
        "Failed calls whose outcome is unknown, so that a person has to decide.",
        _alone(lambda each: each.unconfirmed),
    ),
    Series(
        "ekb.backlog.runs",
        "{run}",
        "Registered runs and workers, by whether they are active or silent.",
        lambda each: _by("state", each.runs),
    ),
    Series(
        "ekb.backlog.run_silence",
        "s",
        "The longest time for which a registered run or worker was not seen.",
        _alone(lambda each: each.silence),
    ),
    Series(
        "ekb.backlog.tenants",
        "{tenant}",
        "Tenants by condition.",
        lambda each: _by("condition", each.tenants),
    ),
    Series(
        "ekb.backlog.spent_calls",
        "{call}",
        "Billed calls that were sent in the present day and month at UTC+8, as budgets count them.",
        lambda each: _by("period", each.spent),
    ),
    Series(
        "ekb.backlog.budget_calls",
        "{call}",
        "Billed calls that may be sent in a day and month for all tenants together.",
        lambda each: _by("period", each.budgets),
    ),
    Series(
        "ekb.backlog.tenant_pending_calls",
        "{call}",
        "Pending calls of the tenants with the most and the oldest, and of the rest together.",
        _of_tenants("pending"),
    ),
    Series(
        "ekb.backlog.tenant_waiting_calls",
        "{call}",
        "Pending calls of these tenants that are not made for now.",
        _of_tenants("waiting"),
    ),
    Series(
        "ekb.backlog.tenant_oldest_ready_age",
        "s",
        "Time since the oldest call of these tenants was added that is ready to be made.",
        _of_tenants("oldest_ready"),
    ),
    Series(
        "ekb.backlog.read_duration",
        "s",
        "How long reading these figures took.",
        _alone(lambda each: each.read_seconds),
    ),
    Series(
        "ekb.backlog.read_timestamp",
        "s",
        "When these figures were read, in seconds since 1970.",
        _alone(lambda each: each.read_at.timestamp()),
    ),
)
