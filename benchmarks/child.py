"""The processes of a run: `contest NAME CASE CONTESTANT SIZE [URL]` and `serve NAME CASE SIZE`.

Each writes one line of JSON: a contestant its figures, a server its address, and what it saw when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from benchmarks.contest import Benchmark
from benchmarks.registry import BENCHMARKS


def main(role: str, name: str, case_name: str, *rest: str) -> None:
    benchmark = BENCHMARKS[name]
    case = next(each for each in benchmark.cases if each.name == case_name)
    if role == "serve":
        asyncio.run(_serve(benchmark, case.load(quick=rest[0] == "quick")))
        return
    contestant_name, size, base_url = rest
    contestant = next(each for each in benchmark.contestants if each.name == contestant_name)
    _tell(contestant.run(case.load(quick=size == "quick"), base_url))


async def _serve(benchmark: Benchmark[Any], load: object) -> None:
    if benchmark.serve is None:
        raise ValueError(f"{benchmark.name} has no server")
    async with benchmark.serve(load) as served:
        _tell({"base_url": served.base_url})
        await asyncio.to_thread(sys.stdin.buffer.read)
        _tell(served.report())


def _tell(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
