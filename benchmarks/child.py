"""The processes of a run: `contest NAME CASE CONTESTANT [URL]`, `serve NAME CASE` and `quick NAME`.

Each writes lines of JSON. A contestant writes its figures; a server writes its address, and when its input ends, the
figures it counted. `quick` is a complete quick run, with a line for each of its pairs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import start_blocking_portal

from benchmarks.contest import Benchmark, Case, Contestant, Figures
from benchmarks.registry import BENCHMARKS


def main(role: str, name: str, *rest: str) -> None:
    benchmark = BENCHMARKS[name]
    if role == "quick":
        _run_quickly(benchmark)
        return
    case_name, *more = rest
    case = next(each for each in benchmark.cases if each.name == case_name)
    if role == "serve":
        asyncio.run(_serve(benchmark, case))
        return
    contestant_name, base_url = more
    _write(_contestant(benchmark, contestant_name).run(case.full, base_url))


def _contestant(benchmark: Benchmark[Any], name: str) -> Contestant[Any]:
    return next(each for each in benchmark.contestants if each.name == name)


async def _serve(benchmark: Benchmark[Any], case: Case[Any]) -> None:
    if benchmark.serve is None:
        raise ValueError(f"{benchmark.name} has no server")
    async with benchmark.serve(case.full) as served:
        _write({"base_url": served.base_url})
        await asyncio.to_thread(sys.stdin.buffer.read)
        _write(served.report())


def _run_quickly(benchmark: Benchmark[Any]) -> None:
    """Run all pairs in this process, so that common modules are imported once."""
    for case, contestant in benchmark.quick_pairs():
        with _serving(benchmark, case) as (base_url, report):
            figures = contestant.run(case.quick, base_url)
            _write(figures | report())


@contextmanager
def _serving(benchmark: Benchmark[Any], case: Case[Any]) -> Iterator[tuple[str, Callable[[], Figures]]]:
    if benchmark.serve is None:
        yield "", dict
        return
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(benchmark.serve(case.quick)) as served:
        yield served.base_url, lambda: portal.call(served.report)


def _write(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
