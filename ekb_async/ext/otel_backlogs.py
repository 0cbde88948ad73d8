"""Metrics of backlogs for OpenTelemetry; `otel` has the class, for those who have installed the extra.

A task reads the figures of a backlog, and exporters, which collect in threads of their own, get those that were read
last. While a backlog cannot be read, its last figures stay, with the time at which they were read. The instruments of
an application's meter provider exist once and serve all its backlogs.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable
from typing import Self
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

import ekb_async
from ekb_async.aio.tasks import cancel_and_wait, start_task
from ekb_async.backlog import Backlog, BacklogMetrics
from ekb_async.backlog.metrics.limits import LIMITS
from ekb_async.backlog.metrics.series import SERIES, Series
from ekb_async.redaction.masking import redact
from ekb_async.validation import checked_number, checked_whole

_log = logging.getLogger("ekb_async.otel")

_READABLE = "ekb.backlog.readable"


class BacklogTelemetry:
    """Reports the figures of a backlog, those of `Backlog.metrics`, during an `async with` block.

    They are read every `interval` seconds, or as seldom as reading a very large backlog takes a small share of the
    time. One process per backlog is enough: the figures are those of all runs and workers. `name` is the attribute
    `backlog` of all series, by default the name of the file or database. The meter provider is the global one unless
    given. Raises `ConfigError` for an interval or a number of tenants (`top`) out of range.
    """

    def __init__(
        self,
        backlog: Backlog,
        *,
        interval: float = 15.0,
        top: int = LIMITS.top,
        name: str | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.figures: BacklogMetrics | None = None
        """What was read last, None before the first time."""
        self.is_readable = True
        """Whether the last attempt to read was successful."""
        self.name = backlog.name if name is None else name
        """The attribute `backlog` of all series."""
        self._backlog = backlog
        self._interval = checked_number("interval", interval, above=0)
        self._top = checked_whole("top", top, most=LIMITS.most_top)
        self._provider = meter_provider
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._gauges = _gauges_of(self._provider or metrics.get_meter_provider())
        self._gauges.reported.add(self)
        self._task = start_task(self._read(), asyncio.get_running_loop(), name="ekb metrics")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gauges.reported.discard(self)
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _read(self) -> None:
        """Read again and again, until this is cancelled."""
        while True:
            pause = self._interval
            try:
                self.figures = await self._backlog.metrics(self._top)
            except Exception as error:  # noqa: BLE001 - reading has to go on after any error
                if self.is_readable:
                    reason = redact(f"{type(error).__name__}: {error}")
                    _log.warning("the figures of a backlog cannot be read: %s", reason)
                self.is_readable = False
            else:
                if not self.is_readable:
                    _log.info("the figures of a backlog can be read again")
                self.is_readable = True
                pause = max(pause, self.figures.read_seconds / LIMITS.reading_share)
            await asyncio.sleep(pause)


class _Gauges:
    """The instruments of a meter provider, and the backlogs that they report."""

    def __init__(self, provider: MeterProvider) -> None:
        self.reported: set[BacklogTelemetry] = set()
        meter = metrics.get_meter("ekb_async", ekb_async.__version__, provider)
        for series in SERIES:
            collect = functools.partial(self._collect, series)
            meter.create_observable_gauge(series.name, [collect], series.unit, series.description)
        meter.create_observable_gauge(
            _READABLE, [self._collect_readable], "1", "Whether the figures of the backlog could be read the last time."
        )

    def _collect(self, series: Series, _options: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(value, {"backlog": each.name, **attributes})
            for each in list(self.reported)
            if each.figures is not None
            for value, attributes in series.samples(each.figures)
        ]

    def _collect_readable(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(each.is_readable), {"backlog": each.name}) for each in list(self.reported)]


_made: WeakKeyDictionary[MeterProvider, _Gauges] = WeakKeyDictionary()


def _gauges_of(provider: MeterProvider) -> _Gauges:
    if provider not in _made:
        _made[provider] = _Gauges(provider)
    return _made[provider]
