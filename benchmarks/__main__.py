"""The command; see the package."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from benchmarks import trouble
from benchmarks.contest import Benchmark
from benchmarks.machine import missing_peers, this_machine
from benchmarks.plots import draw
from benchmarks.registry import BENCHMARKS
from benchmarks.results import Report
from benchmarks.rounds import RunFailedError, run_rounds
from benchmarks.table import show
from benchmarks.trouble.load import ENGINES, SECONDS, TROUBLES, Trouble
from benchmarks.trouble.ways import WAYS

_FILE_WIDTH = 120


def main(arguments: list[str] | None = None) -> int:
    """Run the named benchmarks, or all; return 0 if all have run, even if a goal is missed."""
    options = options_of(arguments)
    missing = missing_peers()
    if options.plot is not None and find_spec("matplotlib") is None:
        missing.append("matplotlib")
    if missing:
        sys.stderr.write(f"not installed: {', '.join(missing)}; run: pip install -e '.[bench]'\n")
        return 2
    try:
        report = asyncio.run(_measure(_chosen(options), quick=options.quick))
    except RunFailedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    if options.plot is not None:
        options.plot.mkdir(parents=True, exist_ok=True)
        for result in report.benchmarks:
            draw(result, options.plot, caption=f"{report.machine.processor}, Python {report.machine.python}")
    return 0


def _chosen(options: argparse.Namespace) -> list[Benchmark[Any]]:
    """Return the benchmarks to run."""
    # In the environment, since the processes of the benchmark need it too.
    for name, chosen in ((SECONDS, options.seconds), (TROUBLES, options.trouble), (ENGINES, options.engine)):
        if chosen is not None:
            os.environ[name] = " ".join(map(str, chosen if isinstance(chosen, list) else [chosen]))
    part = trouble.benchmark()
    return [part if name == part.name else BENCHMARKS[name] for name in options.names]


async def _measure(benchmarks: list[Benchmark[Any]], *, quick: bool) -> Report:
    console, progress = Console(), Console(stderr=True)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    machine = this_machine()
    console.print(str(machine), highlight=False, soft_wrap=True)
    console.print("Medians of the rounds, ± half their range, × the ratio to ours within a round.\n", highlight=False)
    results = []
    for benchmark in benchmarks:
        with progress.status(benchmark.name) as status:
            measured = await run_rounds(benchmark, quick=quick, note=status.update)
        results.append(measured.summary())
        show(console, results[-1], quick=quick)
    return Report(machine, quick, results)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line; without names, all benchmarks are selected."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The package beside its alternatives.")
    parser.add_argument(
        "names",
        nargs="*",
        default=[name for name, benchmark in BENCHMARKS.items() if not benchmark.only_if_named],
        metavar="NAME",
        help=f"of {', '.join(BENCHMARKS)}; all but trouble if none is given",
    )
    parser.add_argument("--quick", action="store_true", help="use small sizes, which only show that everything runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw each benchmark as a PNG in this directory")
    part = parser.add_argument_group("trouble", "Run a part of this benchmark; each option may be repeated.")
    part.add_argument("--engine", action="append", choices=WAYS, help="what makes the calls")
    part.add_argument("--trouble", action="append", type=Trouble, choices=list(Trouble), help="what happens meanwhile")
    part.add_argument("--seconds", type=float, metavar="N", help="how long it happens; by default 90")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
