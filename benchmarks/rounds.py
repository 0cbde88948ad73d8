"""Running a benchmark: rounds of fresh processes, one contestant after the other."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.contest import Benchmark, Case, Contestant, Figures
from benchmarks.results import Results

_ROOT = Path(__file__).parent.parent
_QUICK_AT_ONCE = 3
_PATIENCE = 10.0


class RunFailedError(Exception):
    """A process of a benchmark ended without its figures."""


async def run_rounds(benchmark: Benchmark[Any], *, quick: bool, note: Callable[[str], None]) -> Results:
    """All rounds of a benchmark, or a single one if `quick`, and then several contestants at a time.

    Raises `RunFailedError`.
    """
    results = Results(benchmark)
    pairs = len(benchmark.cases) * len(benchmark.contestants)
    free = asyncio.Semaphore(pairs if benchmark.together else _QUICK_AT_ONCE if quick else 1)

    async def take_turn(turn: int, case: Case[Any], contestant: Contestant[Any]) -> None:
        async with free:
            note(f"{benchmark.name}, {case.name}, round {turn + 1}: {contestant.name}")
            figures = await _run(benchmark, case, contestant, "quick" if quick else "full")
            results.add(turn, case.name, contestant.name, figures)

    for turn in range(1 if quick else max(case.rounds for case in benchmark.cases)):
        try:
            async with asyncio.TaskGroup() as group:
                for case, contestant in benchmark.quick_pairs() if quick else benchmark.pairs(turn):
                    group.create_task(take_turn(turn, case, contestant))
        except* RunFailedError as failures:
            raise failures.exceptions[0] from None
    return results


async def _run(benchmark: Benchmark[Any], case: Case[Any], contestant: Contestant[Any], size: str) -> Figures:
    if benchmark.serve is None:
        return await _contest(benchmark, case, contestant, size, "")
    async with _process("serve", benchmark.name, case.name, size) as server:
        hello = await _line(server)
        figures = await _contest(benchmark, case, contestant, size, hello["base_url"])
        _end_input(server)
        seen: Figures = await _line(server)
        return figures | seen


async def _contest(
    benchmark: Benchmark[Any], case: Case[Any], contestant: Contestant[Any], size: str, base_url: str
) -> Figures:
    async with _process("contest", benchmark.name, case.name, contestant.name, size, base_url) as process:
        figures: Figures = await _line(process)
        return figures


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[Process]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.child", *arguments, stdin=PIPE, stdout=PIPE, env=environment
    )
    try:
        yield process
        _end_input(process)
        await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)


async def _end(process: Process) -> None:
    """Asks first, for a contestant may have processes of its own."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE)
    except TimeoutError:
        process.kill()
        await process.wait()


def _end_input(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()


async def _line(process: Process) -> Any:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RunFailedError("a process of the benchmark failed; its own words are above")
    return json.loads(line)
