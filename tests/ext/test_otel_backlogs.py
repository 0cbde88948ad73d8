"""OpenTelemetry: the figures of backlogs, read in a task while the database comes and goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from ekb_async import ConfigError
from ekb_async.backlog import Backlog, Row
from ekb_async.backlog.metrics.series import SERIES
from ekb_async.ext.otel import BacklogTelemetry
from tests.support.backlog_stores import Location
from tests.support.fast_times import FAST_BACKLOG
from tests.support.postgres import Postgres
from tests.support.waiting import until


class Collected:
    """A meter provider whose metrics are collected in the test."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def points(self) -> dict[str, list[NumberDataPoint]]:
        data = self._reader.get_metrics_data()
        found: dict[str, list[NumberDataPoint]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
                assert metric.name not in found
                found[metric.name] = list(metric.data.data_points)  # type: ignore[arg-type]  # all are gauges
        return found

    def value(self, name: str, **attributes: str) -> float | None:
        """Return the value of the only series that has these attributes, None if there is none."""
        found = [
            each.value for each in self.points().get(name, []) if attributes.items() <= (each.attributes or {}).items()
        ]
        assert len(found) <= 1
        return found[0] if found else None


@pytest.fixture
def collected() -> Iterator[Collected]:
    made = Collected()
    yield made
    made.provider.shutdown()


async def add(backlog: Backlog, count: int, tenant: str = "") -> None:
    await backlog.add(
        Row(kind="ocr", file=f"https://f.example/{tenant}-{number}.png", tenant=tenant) for number in range(count)
    )


async def test_figures_that_change(place: Location, collected: Collected) -> None:
    """All series of the metrics are there, and follow the backlog; after the block nothing is reported."""
    async with Backlog.open(place) as backlog:
        await add(backlog, 2, "north")
        async with BacklogTelemetry(backlog, interval=0.05, meter_provider=collected.provider) as telemetry:

            async def has(count: int) -> bool:
                return collected.value("ekb.backlog.calls", state="pending", kind="ocr") == count

            await until(lambda: has(2))
            await add(backlog, 3, "south")
            await until(lambda: has(5))
            # Nothing has failed, no run was seen, and there is no budget.
            absent = {"ekb.backlog.failed_calls", "ekb.backlog.run_silence", "ekb.backlog.budget_calls"}
            points = collected.points()
            assert points.keys() == {each.name for each in SERIES} - absent | {"ekb.backlog.readable"}
            named = {str((each.attributes or {})["backlog"]) for found in points.values() for each in found}
            assert named == {backlog.name}
            assert collected.value("ekb.backlog.tenant_pending_calls", tenant="south", rest="false") == 3
            assert telemetry.is_readable
        assert collected.points() == {}


async def test_several_backlogs(tmp_path: Path, collected: Collected, caplog: pytest.LogCaptureFixture) -> None:
    """Those of one process share the instruments, one after the other and at once."""
    async with Backlog.open(tmp_path / "a.sqlite") as one, Backlog.open(tmp_path / "b.sqlite") as other:
        await add(one, 1)
        await add(other, 2)
        for _ in range(2):
            async with (
                BacklogTelemetry(one, meter_provider=collected.provider),
                BacklogTelemetry(other, meter_provider=collected.provider, name="payables"),
            ):

                async def has_both() -> bool:
                    values = (
                        collected.value("ekb.backlog.rows", state="pending", backlog=name)
                        for name in ("a.sqlite", "payables")
                    )
                    return tuple(values) == (1, 2)

                await until(has_both)
    assert not caplog.records


@pytest.mark.process
async def test_an_outage(own_postgres: Postgres, collected: Collected, caplog: pytest.LogCaptureFixture) -> None:
    """The last figures stay with their time, the outage is reported and logged once, and reading goes on after it."""
    caplog.set_level(logging.INFO, "ekb_async.otel")
    timing = FAST_BACKLOG.__class__(patience=0.05, setup_patience=20)
    async with Backlog.open(own_postgres.dsn, timing=timing) as backlog:
        await add(backlog, 2)
        async with BacklogTelemetry(backlog, interval=0.05, meter_provider=collected.provider):

            async def is_readable(wanted: int) -> bool:
                return collected.value("ekb.backlog.readable") == wanted and bool(collected.points())

            async def is_read() -> bool:
                return collected.value("ekb.backlog.rows", state="pending") == 2

            await until(is_read)
            await own_postgres.crash()
            await until(lambda: is_readable(0))
            read_at = collected.value("ekb.backlog.read_timestamp")
            assert await is_read()
            await own_postgres.start()
            await until(lambda: is_readable(1))
            later = collected.value("ekb.backlog.read_timestamp")
    assert read_at is not None
    assert later is not None
    assert later > read_at
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("the figures of a backlog cannot be read: EkbConnectionError: ")
    assert lines[1] == "the figures of a backlog can be read again"


async def test_ended_while_it_reads(database: str, collected: Collected) -> None:
    """Leaving the block does not wait for the database."""
    async with Backlog.open(database) as backlog:
        async with asyncio.timeout(20), BacklogTelemetry(backlog, meter_provider=collected.provider):
            await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "ekb metrics"]


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
async def test_a_wrong_interval(tmp_path: Path, interval: float) -> None:
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        with pytest.raises(ConfigError, match="interval must be a number above 0"):
            BacklogTelemetry(backlog, interval=interval)
