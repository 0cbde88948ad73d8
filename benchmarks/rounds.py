"""Run a benchmark: rounds of fresh processes, one contestant after the other."""

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
_STOP_SECONDS = 10.0


class RunFailedError(Exception):
    """A process of a benchmark ended without its figures."""


async def run_rounds(benchmark: Benchmark[Any], *, quick: bool, note: Callable[[str], None]) -> Results:
    """Run all rounds of a benchmark; if `quick`, a single one of small sizes, in one process.

    Raises `RunFailedError` if a process ends without its figures.
    """
    results = Results(benchmark)
    if quick:
        async with _process("quick", benchmark.name) as process:
            for case, contestant in benchmark.quick_pairs():
                note(f"{benchmark.name}, {case.name}: {contestant.name}")
                results.add(0, case.name, contestant.name, await _line(process))
        return results
    pairs = len(benchmark.cases) * len(benchmark.contestants)
    free = asyncio.Semaphore(pairs if benchmark.together else 1)

    async def run(round_number: int, case: Case[Any], contestant: Contestant[Any]) -> None:
        async with free:
            note(f"{benchmark.name}, {case.name}, round {round_number + 1}: {contestant.name}")
            results.add(round_number, case.name, contestant.name, await run_pair(benchmark, case, contestant))

    for round_number in range(max(case.rounds for case in benchmark.cases)):
        try:
            async with asyncio.TaskGroup() as group:
                for case, contestant in benchmark.pairs(round_number):
                    group.create_task(run(round_number, case, contestant))
        except* RunFailedError as failures:
            raise failures.exceptions[0] from None
    return results


async def run_pair(benchmark: Benchmark[Any], case: Case[Any], contestant: Contestant[Any]) -> Figures:
    """Run one contestant in a process of its own, beside that of its server if there is one, and return its figures.

    Raises `RunFailedError` if a process ends without its figures.
    """
    if benchmark.serve is None:
        return await _contest(benchmark, case, contestant, "")
    async with _process("serve", benchmark.name, case.name) as server:
        hello = await _line(server)
        figures = await _contest(benchmark, case, contestant, hello["base_url"])
        _end_input(server)
        counted: Figures = await _line(server)
        return figures | counted


async def _contest(benchmark: Benchmark[Any], case: Case[Any], contestant: Contestant[Any], base_url: str) -> Figures:
    async with _process("contest", benchmark.name, case.name, contestant.name, base_url) as process:
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
    """Terminate first, since a contestant may have processes of its own to end."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _end_input(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()


async def _line(process: Process) -> Any:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RunFailedError("a process of the benchmark failed; its output is above")
    return json.loads(line)
