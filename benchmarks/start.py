"""start: from the start of a process to its end, for an import of the package and for commands that do little.

Each figure is the median of several processes, after one that writes what Python compiles. An empty interpreter shows
what starting Python takes, and a program with the same libraries for its command line, and nothing else, what those do.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.contest import Benchmark, Case, Contestant, Figure, Figures, Goal

_EMPTY = "empty interpreter"
_BARE = "Typer alone"
_MOST_MILLISECONDS = 150

_COMMAND = "from ekb_async.cli import main; main()"
_BARE_COMMAND = """
import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

@app.command()
def one(size: int = 1) -> None:
    "Do one thing."

@app.command()
def other(size: int = 1) -> None:
    "Do another thing."

app()
"""


@dataclass(frozen=True)
class Load:
    """Python code with its arguments, the arguments of a bare program, and how many processes are measured."""

    code: str
    arguments: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    processes: int = 7


def ours(load: Load) -> Figures:
    """Run the case's own code, with a small backlog at hand."""
    with _backlog() as directory:
        return _measure([load.code, *load.arguments], load.processes, directory)


def empty(load: Load) -> Figures:
    """Run nothing."""
    return _measure(["pass"], load.processes)


def bare(load: Load) -> Figures:
    """Run a program of two commands that only Typer is needed for."""
    return _measure([_BARE_COMMAND, *load.bare], load.processes)


@contextmanager
def _backlog() -> Iterator[Path]:
    from ekb_async.backlog import Backlog, Row

    async def fill(place: Path) -> None:
        async with Backlog.open(place) as backlog:
            await backlog.add([Row(kind="url", invoice_id=f"corp:1:{number}") for number in range(100)])

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(fill(Path(directory, "b.sqlite")))
        yield Path(directory)


def _measure(arguments: list[str], processes: int, directory: Path | None = None) -> Figures:
    cpu, wall = zip(*(_run(arguments, directory) for _ in range(processes + 1)), strict=True)
    return {"cpu": median(cpu[1:]) * 1e3, "wall": median(wall[1:]) * 1e3}


def _run(arguments: list[str], directory: Path | None) -> tuple[float, float]:
    """Run a process; return its seconds of CPU and of wall clock."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", *arguments],
        check=True,
        cwd=directory,
        env={**os.environ, "EKB_LANG": "en", "COLUMNS": "80"},
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def _case(name: str, code: str, *arguments: str, bare: tuple[str, ...] = ()) -> Case[Load]:
    return Case(name, Load(code, arguments, bare), Load(code, arguments, bare, processes=1), rounds=3)


def _goal(case: str) -> Goal:
    return Goal(
        says=f"{case}: at most {_MOST_MILLISECONDS} ms of CPU more than an empty interpreter",
        value=lambda results: results.ours(case, "cpu") - results.of(case, _EMPTY, "cpu"),
        at_most=_MOST_MILLISECONDS,
    )


_IMPORT, _SESSION = "import ekb_async", "from ekb_async import EkbSession"
_VERSION, _HELP, _GROUP, _STATUS = "ekb --version", "ekb --help", "ekb backlog --help", "ekb backlog status"

BENCHMARK = Benchmark(
    name="start",
    title="the start of a process",
    figures=(Figure("cpu", "CPU, ms", 0), Figure("wall", "wall clock, ms", 0)),
    cases=(
        _case(_IMPORT, _IMPORT),
        _case(_SESSION, _SESSION),
        _case(_VERSION, _COMMAND, "--version", bare=("one",)),
        _case(_HELP, _COMMAND, "--help", bare=("--help",)),
        _case(_GROUP, _COMMAND, "backlog", "--help", bare=("one", "--help")),
        _case(_STATUS, _COMMAND, "backlog", "status", "b.sqlite"),
    ),
    contestants=(
        Contestant("ekb_async", lambda load, _: ours(load)),
        Contestant(_EMPTY, lambda load, _: empty(load)),
        Contestant(_BARE, lambda load, _: bare(load), cases=(_VERSION, _HELP, _GROUP)),
    ),
    goals=tuple(map(_goal, (_IMPORT, _VERSION, _HELP, _GROUP))),
    drawn=("cpu",),
)
