"""All benchmarks by name, in the order in which they run."""

from __future__ import annotations

from typing import Any

from benchmarks import backlog, call, day, decode, export, fan_in, guard, hosts, pace, queue, start, trouble
from benchmarks.contest import Benchmark

BENCHMARKS: dict[str, Benchmark[Any]] = {
    each.BENCHMARK.name: each.BENCHMARK
    for each in (pace, guard, fan_in, call, decode, queue, backlog, export, day, hosts, start, trouble)
}
