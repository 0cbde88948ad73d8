"""Metrics as text for Prometheus, read by the parser of its Python library."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ekb_async.backlog import Backlog, BacklogMetrics, Row
from ekb_async.backlog.metrics.exposition import exposition
from ekb_async.backlog.metrics.series import SERIES

ODD = ('a "quoted" one', "back\\slash", "back\\nslash", "(rest)", "上海分公司", "{brace=}", "a,b", "x" * 300, "")


def parsed(text: bytes) -> dict[str, Metric]:
    """Return the series by name. The text must be valid: no series comes twice, each has its help and type."""
    families = list(text_string_to_metric_families(text.decode()))
    assert len(families) == len({each.name for each in families}) == len(SERIES)
    samples = [(each.name, frozenset(each.labels.items())) for family in families for each in family.samples]
    assert len(samples) == len(set(samples))
    assert text.endswith(b"\n")
    for family in families:
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        assert {each.name for each in family.samples} <= {family.name}
    return {each.name: each for each in families}


def values(family: Metric, label: str) -> dict[str, float]:
    return {each.labels[label]: each.value for each in family.samples}


async def odd_figures(directory: Path) -> BacklogMetrics:
    async with Backlog.open(directory / 'b "1\\.sqlite') as backlog:
        await backlog.add(
            Row(kind="ocr", file=f"https://f.example/{number}-{tenant[:9]}.png", tenant=tenant)
            for number, tenant in enumerate(ODD)
        )
        return await backlog.metrics(top=len(ODD) - 1)


async def test_names_of_all_kinds(tmp_path: Path) -> None:
    """Each value is read back as it was, whatever characters the names have."""
    figures = await odd_figures(tmp_path)
    page = parsed(exposition(figures))
    tenants = page["ekb_backlog_tenant_pending_calls"]
    assert {each.labels["backlog"] for family in page.values() for each in family.samples} == {'b "1\\.sqlite'}
    shown = [each.labels["tenant"] for each in tenants.samples if each.labels["rest"] == "false"]
    assert sorted(shown) == sorted(each.tenant for each in figures.top)
    assert values(page["ekb_backlog_calls"], "state") == {"pending": len(ODD), "running": 0, "done": 0, "failed": 0}


async def test_the_rest_is_no_tenant(tmp_path: Path) -> None:
    """A tenant that is called as the rest of them has a series of its own."""
    figures = await odd_figures(tmp_path)
    named = msgspec.structs.replace(figures.top[0], tenant="(rest)", pending=5)
    page = parsed(exposition(msgspec.structs.replace(figures, top=(named,))))
    found = {each.labels["rest"]: each.value for each in page["ekb_backlog_tenant_pending_calls"].samples}
    assert found == {"false": 5, "true": 1}


async def test_another_name(tmp_path: Path) -> None:
    """Several backlogs of one name can be told apart."""
    page = parsed(exposition(await odd_figures(tmp_path), "payables"))
    assert values(page["ekb_backlog_runs"], "backlog").keys() == {"payables"}


def test_names_by_the_conventions() -> None:
    """Names are those that collectors make of OpenTelemetry's, with the unit at the end."""
    for series in SERIES:
        assert re.fullmatch(r"ekb\.backlog(\.[a-z]+(_[a-z]+)*)+", series.name)
        assert series.prometheus_name.endswith("_seconds") == (series.unit == "s")
        assert not series.prometheus_name.endswith(("_total", "_count", "_sum", "_bucket"))


def series_count(figures: BacklogMetrics) -> int:
    samples: Iterable[object] = (sample for series in SERIES for sample in series.samples(figures))
    return len(list(samples))


async def test_few_series(tmp_path: Path) -> None:
    """The number of series does not grow with the tenants, the errors or the calls."""
    async with Backlog.open(tmp_path / "b.sqlite") as backlog:
        await backlog.add(
            Row(kind="ocr", file=f"https://f.example/{number}.png", tenant=f"t{number}") for number in range(300)
        )
        figures = await backlog.metrics()
    assert series_count(figures) < 100
